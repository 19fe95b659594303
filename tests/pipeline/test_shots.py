"""Shots: from strips whose truth is known to boundaries, and from boundaries to shots."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import shots
from pipeline.cutting import cut
from pipeline.decode.pyav import PyAVDecoder
from pipeline.dispatch import join_strips
from pipeline.frames import Strip
from pipeline.packets import PacketIndex, read_index
from pipeline.plans import plan
from pipeline.sampling import choose
from pipeline.shots import Boundary
from pipeline.spec import Sampling
from pipeline.synthesis import Encoding, write_video
from pipeline.thumbs import thumb
from tests.pipeline.indexes import CODEC

FPS = 25
H, W = 27, 48


def scene(seed: int, h: int = H, w: int = 3 * W) -> np.ndarray:
    """float32 [h, w, 3] in 0..255: soft random texture, wide enough to pan over."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((h, w, 3))
    for cells in (3, 9, 27):
        rough = rng.uniform(0, 255, (cells, cells * w // h + 1, 3))
        picture += np.kron(rough, np.ones((h // cells + 1, h // cells + 1, 1)))[:h, :w] / 3
    return picture


def view(picture: np.ndarray, x: int = 0) -> np.ndarray:
    return picture[:, x : x + W]


def strip(pictures: list[np.ndarray], fps: float = FPS) -> Strip:
    thumbs = np.clip(np.stack(pictures), 0, 255).astype(np.uint8)
    return Strip(np.arange(len(pictures)) / fps, thumbs)


def seen(pictures: list[np.ndarray]) -> shots.Seen:
    return shots.Seen(strip(pictures))


A, B = scene(1), scene(2)


def found(pictures: list[np.ndarray]) -> list[tuple[str, float]]:
    return [(b.kind, round(b.time_s, 2)) for b in shots.boundaries(seen(pictures))]


def test_cut_is_placed_on_its_frame():
    assert found([view(A)] * 30 + [view(B)] * 30) == [("cut", 30 / FPS)]


def test_cuts_half_a_second_apart():
    pictures = [view(A)] * 30 + [view(B)] * 12 + [view(scene(3))] * 30
    assert found(pictures) == [("cut", 30 / FPS), ("cut", 42 / FPS)]


def test_cut_between_dark_pictures():
    assert found([view(A) * 0.12] * 30 + [view(B) * 0.12] * 30) == [("cut", 30 / FPS)]


@pytest.mark.parametrize("length", [10, 25, 40])
def test_dissolve_is_placed_at_its_middle(length):
    ramp = [(1 - a) * view(A) + a * view(B) for a in (np.arange(length) + 0.5) / length]
    (boundary,) = shots.boundaries(seen([view(A)] * 40 + ramp + [view(B)] * 40))
    assert boundary.kind == "dissolve"
    assert boundary.time_s == pytest.approx((40 + length / 2) / FPS, abs=0.15)
    assert boundary.length_s == pytest.approx(length / FPS, abs=0.3)


@pytest.mark.parametrize("level", [0, 255])
def test_fade_through_one_colour(level):
    down = [level + a * (view(A) - level) for a in np.linspace(1, 0, 12)]
    up = [level + a * (view(B) - level) for a in np.linspace(0, 1, 12)]
    (boundary,) = shots.boundaries(seen([view(A)] * 40 + down + up + [view(B)] * 40))
    assert boundary.kind == "fade"
    assert boundary.time_s == pytest.approx(52 / FPS, abs=0.15)


def test_fading_in_and_out_is_no_boundary():
    ramp = [view(A) * a for a in np.linspace(0, 1, 20)]
    assert found(ramp + [view(A)] * 50 + ramp[::-1]) == []


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_flash_is_no_boundary(frames):
    bright = view(A) + 0.8 * (255 - view(A))
    assert found([view(A)] * 30 + [bright] * frames + [view(A)] * 30) == []


@pytest.mark.parametrize("pixels_a_frame", [0.5, 1.0])
def test_pan_is_no_boundary(pixels_a_frame):
    assert found([view(A, int(pixels_a_frame * i)) for i in range(60)]) == []


@pytest.mark.parametrize("ramp", [1, 10])
def test_exposure_change_is_no_boundary(ramp):
    gains = np.concatenate([np.ones(30), np.linspace(1, 0.55, ramp), np.full(30, 0.55)])
    assert found([view(A) * gain for gain in gains]) == []


def test_caption_that_pops_up_is_no_boundary():
    captioned = view(A).copy()
    captioned[22:25, 3:28] = 240
    assert found([view(A)] * 30 + [captioned] * 30) == []


def test_thumbnails_at_irregular_times():
    pictures = [view(A)] * 30 + [view(B)] * 30
    rng = np.random.default_rng(5)
    keep = np.sort(rng.choice(60, 40, replace=False))
    whole = strip(pictures)
    thin = Strip(whole.pts_s[keep], whole.thumbs[keep])
    (boundary,) = shots.boundaries(shots.Seen(thin))
    assert boundary.time_s == whole.pts_s[keep[keep >= 30][0]]


def test_too_short_to_say():
    assert shots.boundaries(seen([view(A)])) == ()
    assert shots.boundaries(shots.Seen(Strip(np.empty(0), np.empty((0, H, W, 3), np.uint8)))) == ()


boundary_lists = st.lists(
    st.builds(
        Boundary,
        time_s=st.floats(-5, 120),
        kind=st.sampled_from(["cut", "dissolve", "fade"]),
        length_s=st.floats(0, 3),
        score=st.floats(0, 1),
    ),
    max_size=30,
).map(tuple)


@given(boundary_lists, st.floats(0.01, 100))
@settings(max_examples=200, deadline=None)
def test_shots_cover_the_video_without_gaps(boundaries, duration_s):
    result = shots.shots(boundaries, duration_s)
    assert result[0].start_s == 0
    assert result[0].transition == "start"
    assert result[-1].end_s == duration_s
    assert all(one.end_s == following.start_s for one, following in pairwise(result))
    assert all(one.start_s < one.end_s for one in result)
    assert all(one.transition != "start" for one in result[1:])


def packet_index(size: list[int], keyframes: set[int], disposable: set[int] = frozenset()) -> PacketIndex:
    n = len(size)
    key = np.array([i in keyframes for i in range(n)])
    return PacketIndex(
        pts=np.arange(n),
        size=np.array(size, np.int32),
        keyframe=key,
        entry=key,
        disposable=np.array([i in disposable for i in range(n)]),
        shown=np.ones(n, bool),
        packed=False,
        time_base=Fraction(1, FPS),
        origin=0,
        end=n,
        codec=CODEC,
    )


def test_suspects_are_large_packets_and_irregular_keyframes():
    size = [100] * 120
    size[77] = 900
    index = packet_index(size, {0, 25, 50, 61, 75, 100})
    assert shots.suspects(index).tolist() == [61, 75, 77]


def test_even_packets_are_no_suspects():
    assert shots.suspects(packet_index([100, 40, 60, 40] * 30, set(range(0, 120, 24)))).tolist() == []


def test_what_is_known_of_a_pair_stays_known_until_something_comes_between():
    rng = np.random.default_rng(3)
    whole = strip([view(scene(int(seed))) for seed in rng.integers(0, 5, 40)])
    early, late = rng.permutation(40)[:25], rng.permutation(40)[:25]
    parts = [Strip(whole.pts_s[np.sort(k)], whole.thumbs[np.sort(k)]) for k in (early, late)]
    grown = shots.Seen(parts[0])
    for known in (grown.plain, grown.changes(np.arange(24)), grown.slides(np.arange(24))):
        assert np.isfinite(known).all()
    grown = grown.joined(parts[1])
    afresh = shots.Seen(join_strips(parts) or parts[0])
    pairs = np.arange(len(afresh) - 1)
    np.testing.assert_array_equal(grown.times_s, afresh.times_s)
    for name in ("changes", "shares", "slides"):
        np.testing.assert_allclose(getattr(grown, name)(pairs), getattr(afresh, name)(pairs), rtol=1e-5)
    np.testing.assert_allclose(grown.plain, afresh.plain, rtol=1e-5)
    np.testing.assert_array_equal(
        grown.since(0.5).changes(pairs[:3]), grown.changes(pairs[:3] + len(grown) - len(grown.since(0.5)))
    )


def test_nothing_more_is_asked_for_where_nothing_changed():
    index = packet_index([100] * 100, {0, 25, 50, 75})
    still = Strip(np.arange(4.0), np.stack([view(A).astype(np.uint8)] * 4))
    assert len(shots.Hints(index).more_rows(shots.Seen(still), 0)) == 0


@pytest.mark.parametrize(
    ("encoding", "suffix"),
    [
        (Encoding("libx264", gop=25, options={"preset": "veryfast"}), ".mp4"),
        (Encoding("libx264", gop=250, options={"preset": "veryfast", "sc_threshold": "0"}), ".mp4"),
        (Encoding("mpeg4", gop=12, b_frames=2, bit_rate_bps=800_000), ".avi"),
    ],
)
def test_real_file(tmp_path, encoding, suffix):
    big = [np.kron(scene(seed, 27, 48), np.ones((6, 6, 1))) for seed in (1, 2, 3)]
    ramp = [(1 - a) * big[1] + a * big[2] for a in (np.arange(20) + 0.5) / 20]
    pictures = [big[0]] * 60 + [big[1]] * 50 + ramp + [big[2]] * 50
    path = write_video(
        tmp_path / f"a{suffix}", (np.clip(p, 0, 255).astype(np.uint8) for p in pictures), fps=FPS, encoding=encoding
    )
    index, decoder = read_index(path), PyAVDecoder()

    def glimpse(rows: np.ndarray) -> Strip:
        clips = cut(path, index, plan(index, rows), pixels=False, glimpse=True)
        out = join_strips([strip for clip in clips if (strip := decoder.decode(clip).strip) is not None])
        assert out is not None
        return out

    wanted = choose(index, Sampling())
    coarse = glimpse(np.concatenate([wanted, shots.Hints(index).first_rows(wanted)]))
    _, second, third = shots.find(index, coarse, glimpse)
    assert (second.transition, third.transition) == ("cut", "dissolve")
    assert second.start_s == pytest.approx(60 / FPS, abs=1e-3)
    assert third.start_s == pytest.approx(120 / FPS, abs=0.2)
    assert third.transition_s == pytest.approx(0.8, abs=0.3)


def test_thumb_is_an_average():
    import av

    pixels = np.zeros((270, 480, 3), np.uint8)
    pixels[::2] = 200
    small = thumb(av.VideoFrame.from_ndarray(pixels, format="rgb24"))
    assert small.shape == (27, 48, 3)
    assert abs(int(small.mean()) - 100) <= 3
