"""Storyboards: a video in small pictures, side by side on a few sheets, for whoever points at a time line."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.decode.base import Decoder
from pipeline.errors import CorruptVideo
from pipeline.media import Inspected, Media
from pipeline.moments import Moments
from pipeline.pictures import at_most, encoded, frames
from pipeline.report import VideoInfo

#: Tiles at most, whatever the length: an hour has one every 20 seconds.
MOST: Final = 180

#: Seconds that a tile may stand for; beyond, whole hours.
_STEPS_S: Final = (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600)

#: Longer side of a tile, pixels, tiles of a row, and rows of a sheet.
LONG_SIDE: Final = 160
COLUMNS, ROWS = 10, 6

#: Of the sheets' JPEG: about 4 kB a tile.
_QUALITY: Final = 70

#: What is where no frame could be decoded.
_GREY: Final = 64


@dataclass(frozen=True, slots=True)
class Layout:
    """What is where. Tile `n` stands for the time from `n * interval_s` on; tiles fill a sheet row by row."""

    duration_s: float
    interval_s: float
    tiles: int
    width: int
    """Of a tile, pixels; as is"""
    height: int

    @property
    def sheets(self) -> int:
        """How many there are."""
        return math.ceil(self.tiles / (COLUMNS * ROWS))

    def sheet_size(self, sheet: int) -> tuple[int, int]:
        """(width, height) of a sheet, pixels: the last one has no more rows, and a single row no more columns, than
        tiles need."""
        left = min(COLUMNS * ROWS, self.tiles - sheet * COLUMNS * ROWS)
        return min(left, COLUMNS) * self.width, math.ceil(left / COLUMNS) * self.height

    def place(self, tile: int) -> tuple[int, int, int]:
        """(sheet, x, y) of a tile's upper left corner, pixels."""
        sheet, within_sheet = divmod(tile, COLUMNS * ROWS)
        row, column = divmod(within_sheet, COLUMNS)
        return sheet, column * self.width, row * self.height

    def span(self, tile: int) -> tuple[float, float]:
        """(from, to) seconds that a tile stands for."""
        return tile * self.interval_s, min((tile + 1) * self.interval_s, self.duration_s)


def layout(info: VideoInfo) -> Layout:
    """The storyboard of a video: the shortest interval that keeps it within `MOST` tiles."""
    duration_s = info.duration_s
    hours = 3600 * max(1, math.ceil(duration_s / MOST / 3600))
    interval_s = next((step for step in _STEPS_S if duration_s <= step * MOST), hours)
    tiles = max(1, math.ceil(round(duration_s / interval_s, 6)))
    return Layout(duration_s, float(interval_s), tiles, *at_most(info, LONG_SIDE))


def tile_places(moments: Moments, shape: Layout) -> list[int]:
    """Places of the frames on the tiles: an entry point where one lies in a tile's time, for it costs one decoded frame
    and not a group of them; else the frame nearest to the middle."""
    found = []
    for tile in range(shape.tiles):
        low_s, high_s = shape.span(tile)
        found.append(moments.cheap((low_s + high_s) / 2, low_s, high_s))
    return found


def drawn(
    media: Media, decoder: Decoder, inspected: Inspected, moments: Moments, shape: Layout, until: float | None = None
) -> tuple[bytes, ...]:
    """The sheets, each a whole JPEG. A tile whose frame cannot be decoded is grey.

    Args:
        until: see `pictures.frames`.

    Raises:
        CorruptVideo: none can be.
        VideoError: as `pictures.frames`.
    """
    rows = moments.rows[tile_places(moments, shape)]
    tiles: dict[int, list[int]] = {}
    for tile, row in enumerate(rows.tolist()):
        tiles.setdefault(row, []).append(tile)
    sheets = [np.full((*shape.sheet_size(sheet)[::-1], 3), _GREY, np.uint8) for sheet in range(shape.sheets)]
    came = False
    size = (shape.width, shape.height)
    for row, pixels in frames(media, decoder, inspected.index, rows, size, until=until):
        came = True
        for tile in tiles[row]:
            sheet, x, y = shape.place(tile)
            sheets[sheet][y : y + shape.height, x : x + shape.width] = pixels
    if not came:
        raise CorruptVideo("no frame of its storyboard can be decoded")
    return tuple(encoded(sheet, "jpeg", _QUALITY) for sheet in sheets)
