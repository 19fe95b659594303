"""What shape a decoder's pictures have on a screen: pixel aspect, mirroring and rotation, from what the file says."""

import math
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame

from pipeline.record import Record

#: A pixel longer than this many times its other side is damage, and is taken for square. Standards go up to 3.
MAX_PIXEL_ASPECT = 4


class Geometry(Record, frozen=True, kw_only=True):
    """The shape of a video: that of its first picture. Later pictures are made to fit it."""

    width: int
    """Pixels a line that the decoder gives, after its own cropping."""
    height: int
    """Lines that the decoder gives."""
    pixel_aspect: tuple[int, int] = (1, 1)
    """Width : height of a pixel, before turning."""
    rotation_deg: int = 0
    """How far a player turns the picture, clockwise: 0, 90, 180 or 270."""
    mirrored: bool = False
    """Whether it swaps left and right, before turning."""

    @property
    def square_size(self) -> tuple[int, int]:
        """(width, height) in square pixels, before turning: the lines as they are, their length times the aspect,
        rounded half up."""
        across, down = self.pixel_aspect
        return max(1, (2 * self.width * across + down) // (2 * down)), self.height

    @property
    def shown_size(self) -> tuple[int, int]:
        """(width, height) of the RGB that is handed out."""
        width, height = self.square_size
        return (height, width) if self.rotation_deg % 180 else (width, height)


def sane_aspect(across: int, down: int) -> tuple[int, int]:
    """A pixel aspect that pictures can be scaled by: (1, 1) where it is unknown, zero or absurd."""
    if across <= 0 or down <= 0 or not 1 / MAX_PIXEL_ASPECT <= across / down <= MAX_PIXEL_ASPECT:
        return 1, 1
    shared = math.gcd(across, down)
    return across // shared, down // shared


def orientation(matrix: Sequence[int]) -> tuple[int, bool]:
    """(rotation_deg, mirrored) nearest to a display matrix: nine numbers, row by row (ISO/IEC 14496-12, 6.2.2).

    With x to the right and y down, it moves (1, 0) to (a, b) and (0, 1) to (c, d). The rotation is the nearest to it
    (polar decomposition), the quarter turn the nearest to that; 45 degrees go on to 90. A matrix that is all zeros in
    these four turns nothing.
    """
    a, b, _, c, d = (float(value) for value in matrix[:5])
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    angle = math.degrees(math.atan2(b - c, a + d))
    return math.floor(angle / 90 + 0.5) % 4 * 90, mirrored


def orientation_of(frame: VideoFrame) -> tuple[int, bool]:
    """(rotation_deg, mirrored) that a picture carries: FFmpeg hands out one display matrix, whether the container has
    it, a message in the bitstream or Exif."""
    data = side_data(frame, Type.DISPLAYMATRIX)
    return (0, False) if len(data) < 36 else orientation(np.frombuffer(data, "<i4", count=9).tolist())


def side_data(frame: VideoFrame, kind: Type) -> bytes:
    """What FFmpeg attached to a picture under `kind`; empty where there is nothing."""
    attached = cast(Iterable[SideData], frame.side_data)
    return next((bytes(item) for item in attached if item.type is kind), b"")


def upright(rgb: np.ndarray, geometry: Geometry) -> np.ndarray:
    """[H, W, 3] as decoded -> mirrored and turned as a player would; a view."""
    if geometry.mirrored:
        rgb = rgb[:, ::-1]
    return np.rot90(rgb, -(geometry.rotation_deg // 90) % 4) if geometry.rotation_deg else rgb
