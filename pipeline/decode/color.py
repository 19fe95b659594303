"""From a decoder's picture to upright SDR RGB in square pixels, in one place so that every caller gets the same bits.

What the file leaves open is decided so. An untagged matrix is BT.709 from 720 lines on and BT.601 below, BT.2020 where
light or primaries are those of HDR. An untagged range is limited for YUV (full for FFmpeg's yuvj formats), and full for
grey unless the codec's standard says otherwise. Transparent pictures lie on black.
"""

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, Interpolation

from pipeline.clips import CodecParameters
from pipeline.decode.deinterlace import MIN_HEIGHT, deinterlaced
from pipeline.decode.geometry import upright
from pipeline.decode.tonemap import Look, look_of, pixels_for, tone_mapped
from pipeline.errors import UnsupportedCodec

#: AVCOL_SPC_UNSPECIFIED
_UNSPECIFIED = 2

#: AVCOL_SPC: RGB, BT.709, unspecified, FCC, BT.470BG, SMPTE 170M, SMPTE 240M, BT.2020 with non-constant luminance. The
#: others (YCgCo, ICtCp, constant luminance, ...) are no 3 x 3 matrix on R'G'B', or none that FFmpeg converts.
_MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})

#: From this height on, untagged material is taken for BT.709, below for BT.601 (the rule of ITU-R BT.709/601 practice).
_HD_HEIGHT = 720

#: Codecs whose standards make limited range the default of grey pictures as well (H.264 E.2.1, H.265 E.3.1, AV1 5.5.2).
_LIMITED_GREY = frozenset({"h264", "hevc", "av1", "vvc"})


def refuse_unknown_matrix(frame: VideoFrame) -> None:
    """Raises UnsupportedCodec for a picture whose colours are coded in a way that nothing here converts."""
    if int(frame.colorspace) not in _MATRICES:
        raise UnsupportedCodec(
            f"its colours are coded by matrix {int(frame.colorspace)} of ITU-T H.273, which is not read here "
            "(BT.601, BT.709, BT.2020, FCC, SMPTE 240M and RGB are)"
        )


def to_rgb(frame: VideoFrame, codec: CodecParameters | None = None, size: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 [H, W, 3] RGB: deinterlaced, tone-mapped, scaled to square pixels, mirrored and turned.

    Args:
        codec: shape and light of the whole video; without it, the picture stands for itself, as it is coded.
        size: (width, height before turning) asks for a quick area scaling; otherwise the shape of the video is kept, by
            bicubic scaling where pixels are not square or the picture is not of the video's size.

    Raises:
        UnsupportedCodec: see `refuse_unknown_matrix`.
    """
    refuse_unknown_matrix(frame)
    look = look_of(frame, codec.peak_nits) if codec else look_of(frame)
    matrix = _matrix(frame, look)
    grey = _is_limited_grey(frame, codec)
    if frame.interlaced_frame and frame.height >= MIN_HEIGHT:
        frame = deinterlaced(frame)
    shape = size or (codec.geometry.square_size if codec else (frame.width, frame.height))
    scaled = shape != (frame.width, frame.height)
    how = Interpolation.AREA if size else Interpolation.BICUBIC if scaled else None
    transparent = _is_transparent(frame.format)
    target = pixels_for(shape[0]) if look else "rgba" if transparent else "rgb24"
    picture = frame.reformat(*shape, format=target, src_colorspace=matrix, interpolation=how, threads=1)
    if look:
        picture = tone_mapped(picture, look).reformat(format="rgb24", threads=1)
    rgb = np.asarray(picture.to_ndarray(), np.uint8)
    if transparent and not look:
        rgb = _on_black(rgb)
    if grey:
        rgb = _STRETCHED[rgb]
    return upright(rgb, codec.geometry) if codec else rgb


def _matrix(frame: VideoFrame, look: Look | None) -> int:
    matrix = int(frame.colorspace)
    if matrix != _UNSPECIFIED:
        return matrix
    if look and look.primaries == int(ColorPrimaries.BT2020):
        return Colorspace.BT2020
    return Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601


def _is_transparent(pixels: VideoFormat) -> bool:
    return pixels.has_palette or any(component.is_alpha for component in pixels.components)


def _is_limited_grey(frame: VideoFrame, codec: CodecParameters | None) -> bool:
    """FFmpeg's scaler takes all grey for full range, whatever its tag."""
    if len(frame.format.components) > 2 or frame.format.is_rgb or frame.format.has_palette:
        return False
    tagged = int(frame.color_range)
    if tagged == int(ColorRange.UNSPECIFIED):
        return codec is not None and codec.name in _LIMITED_GREY
    return tagged == int(ColorRange.MPEG)


#: 8-bit grey in limited range -> full range.
_STRETCHED = np.clip(np.round((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)


def _on_black(rgba: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 4], colours not multiplied by their alpha -> uint8 [H, W, 3]."""
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)
