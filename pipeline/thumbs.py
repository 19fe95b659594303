"""The tiny picture in which shots are found."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

#: (width, height) of a thumbnail.
THUMB_SIZE = (48, 27)


def thumb(frame: VideoFrame) -> np.ndarray:
    """uint8 [27, 48, 3] RGB, area-averaged from the decoder's own picture."""
    width, height = THUMB_SIZE
    return frame.reformat(width=width, height=height, format="rgb24", interpolation=Interpolation.AREA).to_ndarray()
