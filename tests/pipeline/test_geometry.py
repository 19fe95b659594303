"""Display matrices and pixel aspects, in numbers."""

import itertools
import math

import numpy as np
import pytest

from pipeline.decode.geometry import Geometry, orientation, sane_aspect, upright

ONE = 1 << 16


def matrix(degrees: float, mirrored: bool) -> list[int]:
    """Mirror left and right, then turn clockwise: where (1, 0) and (0, 1) go, x to the right and y down."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    first = -1 if mirrored else 1
    return [round(v * ONE) for v in (first * cosine, first * sine, 0, -sine, cosine, 0, 0, 0, 1 << 14)]


@pytest.mark.parametrize(("degrees", "mirrored"), itertools.product((0, 90, 180, 270), (False, True)))
@pytest.mark.parametrize("off", [-44, -1, 0, 1, 44])
def test_the_nearest_of_eight_is_taken(degrees, mirrored, off):
    assert orientation(matrix(degrees + off, mirrored)) == (degrees, mirrored)


def test_scale_and_place_do_not_matter():
    turned = [3 * value for value in matrix(90, True)[:6]] + [640 * ONE, -3, 1 << 30]
    assert orientation(turned) == (90, True)
    assert orientation([0] * 9) == (0, False)


def test_upright_moves_pixels_as_the_matrix_says():
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[0, 0] = 1
    for degrees, mirrored in itertools.product((0, 90, 180, 270), (False, True)):
        a, b, _, c, d = (value / ONE for value in matrix(degrees, mirrored)[:5])
        # The corner at the lower left of both axes, from the middle of the picture.
        x, y = -a - c, -b - d
        shown = upright(picture, Geometry(width=6, height=4, rotation_deg=degrees, mirrored=mirrored))
        row, column = np.argwhere(shown[..., 0])[0]
        assert (row == 0) == (y < 0)
        assert (column == 0) == (x < 0)


@pytest.mark.parametrize(
    ("aspect", "size"), [((1, 1), (160, 96)), ((2, 1), (320, 96)), ((16, 11), (233, 96)), ((1, 320), (1, 96))]
)
def test_lines_are_stretched_and_rounded_half_up(aspect, size):
    assert Geometry(width=160, height=96, pixel_aspect=aspect).shown_size == size
    assert Geometry(width=160, height=96, pixel_aspect=aspect, rotation_deg=270).shown_size == size[::-1]


def test_half_a_pixel_counts_as_one():
    assert Geometry(width=5, height=3, pixel_aspect=(1, 2)).square_size == (3, 3)


@pytest.mark.parametrize(
    ("given", "sane"),
    [((64, 45), (64, 45)), ((32, 22), (16, 11)), ((0, 1), (1, 1)), ((1, 0), (1, 1)), ((5, 1), (1, 1))],
)
def test_absurd_aspects_are_square(given, sane):
    assert sane_aspect(*given) == sane
