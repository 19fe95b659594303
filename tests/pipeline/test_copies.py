"""Copies in a library: which videos are looked at, what is said of them, and which belong together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import copies
from pipeline.copies import Hits
from pipeline.tracks import Scale, Track
from tests.pipeline.test_aligning import DIM, SCALE, film, still, track, unit

COUNT = 30


@pytest.fixture(scope="module")
def library() -> list[Track]:
    """Thirty films; 7 is shown by 20 after an intro, part of 8 by 21, and 22 is a still picture."""
    tracks = [track(film(seed), 0, 60) for seed in range(COUNT)]
    tracks[20] = track(film(7), 0, 60, intro=film(900), intro_s=12, noise=0.2)
    tracks[21] = track(film(8), 20, 45, speed=1.03)
    tracks[22] = still(5)
    return tracks


def hits_of(number: int, library: list[Track], neighbours: int = 8) -> Hits:
    """The nearest neighbours of a video's samples in the rest of the library, exactly."""
    owner = np.repeat(np.arange(len(library)), [len(one.pts_s) for one in library])
    similarity = library[number].vectors @ np.concatenate([one.vectors for one in library]).T
    similarity[:, owner == number] = -1.0
    best = np.argsort(-similarity, axis=1)[:, :neighbours]
    times_s = np.concatenate([one.pts_s for one in library])[best.ravel()]
    rows = np.repeat(np.arange(len(best)), neighbours)
    return Hits(rows, owner[best.ravel()], times_s, np.take_along_axis(similarity, best, axis=1).ravel())


def found(number: int, library: list[Track]) -> tuple[copies.Shared, ...]:
    return copies.find(library[number], hits_of(number, library), library.__getitem__, scale=SCALE)


def test_copies_are_found_from_either_side_and_nothing_else(library):
    partners = {number: [one.video for one in found(number, library)] for number in range(COUNT)}
    assert {number: others for number, others in partners.items() if others} == {7: [20], 20: [7], 8: [21], 21: [8]}


def test_how_much_of_each_video_is_shared(library):
    (whole,) = found(7, library)
    assert whole.share == pytest.approx(1.0, abs=0.05)
    assert whole.share_of_other == pytest.approx(60 / 72, abs=0.05)
    assert whole.whole
    (part,) = found(8, library)
    assert part.share == pytest.approx(25 / 60, abs=0.06)
    assert part.share_of_other == pytest.approx(1.0, abs=0.1)
    assert part.stretches[0].speed == pytest.approx(1.03, abs=0.03)


def test_only_videos_whose_hits_lie_on_a_line_are_looked_at(library):
    looked_at = []

    def load(number: int) -> Track:
        looked_at.append(number)
        return library[number]

    copies.find(library[7], hits_of(7, library), load, scale=SCALE)
    assert looked_at[0] == 20
    assert len(looked_at) <= 3
    assert copies.candidates(library[7], hits_of(7, library), scale=SCALE, most=0) == ()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_order_of_hits_changes_nothing(library, seed):
    hits = hits_of(20, library)
    order = np.random.default_rng(seed).permutation(len(hits.query))
    mixed = Hits(hits.query[order], hits.video[order], hits.pts_s[order], hits.similarity[order])
    one, other = (copies.candidates(library[20], some, scale=SCALE) for some in (hits, mixed))
    assert [a.video for a in one] == [b.video for b in other]
    np.testing.assert_allclose([a.votes for a in one], [b.votes for b in other])


def test_numbers_of_videos_need_not_be_dense(library):
    hits = hits_of(7, library)
    far = Hits(hits.query, hits.video * 1_000_000_007, hits.pts_s, hits.similarity)
    assert copies.candidates(library[7], far, scale=SCALE)[0].video == 20 * 1_000_000_007


def test_a_picture_that_is_everywhere_is_no_candidate():
    query = still(5, 50)
    rows = np.repeat(np.arange(50), 4)
    hits = Hits(rows, np.tile(np.arange(4), 50), rows.astype(np.float64), np.ones(200))
    assert copies.candidates(query, hits, scale=SCALE) == ()


def test_no_hits_no_candidates():
    nothing = np.empty(0)
    hits = Hits(nothing.astype(int), nothing.astype(int), nothing, nothing)
    assert copies.find(still(1), hits, lambda number: still(number), scale=SCALE) == ()
    with pytest.raises(ValueError, match="do not fit"):
        Hits(np.zeros(2, int), np.zeros(1, int), np.zeros(2), np.zeros(2))


def test_groups_of_near_duplicates():
    assert copies.groups(7, [(4, 2), (5, 6), (2, 0)]).tolist() == [0, -1, 0, -1, 0, 5, 5]
    assert copies.groups(3, []).tolist() == [-1, -1, -1]
    assert copies.groups(0, []).tolist() == []


def test_the_scale_of_a_space_is_measured_on_pairs_of_different_videos():
    rng = np.random.default_rng(1)
    common = 2.0 * unit(rng.standard_normal((1, DIM)))
    vectors = unit(common + unit(rng.standard_normal((2000, DIM))))
    # Ten samples of a video are all but the same: what they say of each other does not count.
    videos = np.repeat(np.arange(200), 10)
    vectors = vectors[videos * 10]
    scale = copies.measured_scale(vectors, videos)
    apart = vectors[::10] @ vectors[::10].T
    assert scale.unrelated == pytest.approx(np.quantile(apart[np.triu_indices(200, 1)], copies.UNRELATED), abs=0.01)
    assert scale.unrelated < scale.same < 1.0
    assert scale(np.array([scale.unrelated, scale.same, 1.0, -1.0])).tolist() == [0.0, 1.0, 1.0, -1.0]


def test_a_small_library_says_nothing_of_a_space():
    assert copies.measured_scale(np.eye(4, dtype=np.float32), np.zeros(4, int)) is None
    assert isinstance(copies.measured_scale(np.eye(400, dtype=np.float32), np.arange(400)), Scale)
