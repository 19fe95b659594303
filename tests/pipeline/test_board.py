"""Which frames are meant by times, and how a storyboard is laid out."""

import numpy as np
import pytest
from msgspec.structs import replace

from pipeline import board
from pipeline.board import Layout
from pipeline.moments import Moments
from tests.serving.conftest import sample_report


def moments(times_s, clean=()) -> Moments:
    times = np.array(times_s, np.float64)
    return Moments(np.arange(len(times)) * 10, times, np.isin(np.arange(len(times)), clean))


@pytest.mark.parametrize(
    ("at_s", "place"), [(0, 0), (0.4, 0), (0.5, 0), (0.6, 1), (1.0, 1), (2.4, 1), (2.6, 2), (99, 2)]
)
def test_the_nearest_frame_begins_nearest(at_s, place):
    assert moments([0.0, 1.0, 4.0]).nearest(at_s) == place


def test_a_cheap_one_is_an_entry_point_within_bounds():
    some = moments(np.arange(0, 10, 0.5), clean=(0, 6, 12))
    assert some.cheap(3.9, 2.0, 6.0) == 6
    assert some.cheap(5.1, 0.0, float("inf")) == 12
    # Up to, not including, the end of them.
    assert some.cheap(5.0, 3.5, 6.0) == 10
    assert moments([0.0], clean=(0,)).cheap(7.0, 0.0, float("inf")) == 0


@pytest.mark.parametrize("duration_s", [0.04, 1.0, 9.99, 60.0, 180.0, 181.0, 3600.0, 86_400.0, 604_800.0, 5_000_000.0])
def test_every_moment_has_one_tile_and_tiles_lie_apart(duration_s):
    interval_s = next((step for step in board._STEPS_S if duration_s <= step * board.MOST), None)
    shape = layout(duration_s)
    assert 1 <= shape.tiles <= board.MOST
    assert interval_s is None or shape.interval_s == interval_s
    assert shape.span(0)[0] == 0.0
    assert shape.span(shape.tiles - 1)[1] == pytest.approx(duration_s)
    assert all(shape.span(n)[1] == pytest.approx(shape.span(n + 1)[0]) for n in range(shape.tiles - 1))
    taken = {sheet: np.zeros(shape.sheet_size(sheet)[::-1], int) for sheet in range(shape.sheets)}
    for tile in range(shape.tiles):
        sheet, x, y = shape.place(tile)
        taken[sheet][y : y + shape.height, x : x + shape.width] += 1
        assert taken[sheet][y + shape.height - 1, x + shape.width - 1] == 1
    assert all(sheet.max() == 1 for sheet in taken.values())


def layout(duration_s) -> Layout:
    return board.layout(replace(sample_report.__wrapped__().video, duration_s=duration_s))


def test_sheets_stay_small():
    shape = layout(86_400.0)
    assert shape.sheets <= 3
    assert max(shape.sheet_size(sheet) for sheet in range(shape.sheets)) <= (1600, 540)
