"""Pairs are the same from either side, and lay stretches of one on the other."""

import pytest

from pipeline.copies import Shared
from pipeline.tracks import Aligned
from serving.copies.pairs import Found, Stretch, alike, relation, within

#: 10 to 30 of the first is 0 to 10 of the second, twice as fast.
FAST = Stretch(
    first_start_s=10.0,
    first_end_s=30.0,
    second_start_s=0.0,
    second_end_s=10.0,
    speed=2.0,
    likeness=0.9,
    moments=8.0,
)


def test_a_pair_is_the_same_from_either_side():
    line = Aligned(10.0, 30.0, 0.0, 10.0, speed=2.0, offset_s=-5.0, score=0.9, moments=8.0)
    shared = Shared(video=0, stretches=(line,), share=0.4, share_of_other=1.0)
    here = Found(video_id="vid_2", shared=shared).of("vid_1")
    assert (here.first_id, here.second_id, here.first_share, here.second_share) == ("vid_1", "vid_2", 0.4, 1.0)
    assert here.stretches == (FAST,)
    there = Found(video_id="vid_1", shared=shared).of("vid_2")
    assert (there.first_id, there.second_id, there.first_share, there.second_share) == ("vid_1", "vid_2", 1.0, 0.4)
    assert there.stretches == (FAST.turned,)
    assert there.turned.stretches == here.stretches
    assert FAST.turned.speed == 0.5


@pytest.mark.parametrize(
    ("shares", "expected"),
    [((0.9, 0.8), "same"), ((0.8, 0.3), "first_in_second"), ((0.3, 0.8), "second_in_first"), ((0.7, 0.7), "overlap")],
)
def test_which_is_contained_in_which(shares, expected):
    assert relation(*shares) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((10, 20), (0, 5), True),
        ((10, 20), (1, 6), True),
        ((10, 20), (3, 8), False),
        ((10, 20), (0, 10), True),
        ((10, 14), (0, 10), False),
        ((40, 50), (15, 20), False),
    ],
)
def test_stretches_that_show_the_same(first, second, expected):
    assert alike(first, second, [FAST]) is expected
    assert alike(second, first, [FAST.turned]) is expected
    assert not alike(first, second, [])


def test_a_stretch_that_the_other_video_shows():
    assert within((0.0, 10.0), [FAST])
    assert within((5.0, 15.0), [FAST])
    assert not within((6.0, 15.0), [FAST])
    assert not within((12.0, 15.0), [FAST])
    assert not within((12.0, 12.0), [FAST])
    assert within((20.0, 30.0), [FAST.turned])
