"""From a decoder's YUV to upright RGB, in one place so that every caller gets the same bits."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation

#: AVCOL_SPC_UNSPECIFIED
_UNSPECIFIED = 2

#: From this height on, untagged material is taken for BT.709, below for BT.601 (the rule of ITU-R BT.709/601 practice).
_HD_HEIGHT = 720


def to_rgb(frame: VideoFrame, rotation_deg: int = 0, size: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 [H, W, 3] RGB, turned clockwise by `rotation_deg`; `size` (width, height before turning) asks for a
    quick area scaling."""
    source = frame.colorspace
    if int(source) == _UNSPECIFIED:
        source = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
    width, height = size or (frame.width, frame.height)
    rgb = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=source,
        interpolation=Interpolation.AREA if size else None,
        threads=1,
    ).to_ndarray()
    return np.rot90(rgb, -(rotation_deg // 90) % 4) if rotation_deg else rgb
