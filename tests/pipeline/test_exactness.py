"""Wanted frames out of sparse Clips are those of a sequential decode of the file, to the bit, at the packet's time."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.container import open_video
from pipeline.cutting import cut
from pipeline.decode.color import to_rgb
from pipeline.decode.pyav import PyAVDecoder
from pipeline.packets import PacketIndex, read_index
from pipeline.plans import needed, plan
from pipeline.sampling import choose
from pipeline.sealed.files import SealedFile
from pipeline.sealed.form import KEY_BYTES, What
from pipeline.sealed.reading import Reader as SealedReader
from pipeline.sealed.sealing import Sealer
from pipeline.spec import Sampling
from tests.pipeline.conftest import CASES


def sequential(path: Path) -> list[tuple[int, np.ndarray]]:
    """(pts, RGB) of every picture that a plain decode of the whole file shows, in the order in which it shows them."""
    with open_video(path) as (container, stream):
        stream.thread_count = 1
        return [(frame.pts, to_rgb(frame)) for frame in container.decode(stream)]


def sparse(path: Path, index: PacketIndex, wanted: np.ndarray, **limits: int) -> dict[int, tuple[float, np.ndarray]]:
    """row -> (time, RGB) of the wanted rows, decoded from Clips."""
    decoder = PyAVDecoder()
    found = {}
    for clip in cut(path, index, plan(index, wanted, **limits)):
        decoded = decoder.decode(clip)
        assert np.all(np.diff(decoded.frames.pts_s) >= 0)
        for row, time_s, pixels in zip(decoded.rows, decoded.frames.pts_s, decoded.frames.pixels, strict=True):
            assert row not in found, "a frame came out twice"
            found[row] = (float(time_s), pixels)
    return found


@pytest.mark.parametrize("case", CASES)
def test_every_wanted_frame_is_that_of_a_sequential_decode(case, video):
    path = video(case)
    index = read_index(path)
    shown = sequential(path)
    order = index.display_order
    reference = {int(row): pixels for row, (_, pixels) in zip(order, shown, strict=True)}
    # FFmpeg gives packed pictures the times of their packets, which run against the order in which it shows them.
    if case != "packed-b":
        assert [int(index.pts[row]) for row in order] == [pts for pts, _ in shown]

    rng = np.random.default_rng(7)
    requests = [
        choose(index, Sampling(fps=1)),
        choose(index, Sampling(fps=4)),
        choose(index, Sampling(policy="keyframes", fps=30)),
        choose(index, Sampling(policy="snap", fps=2, tolerance_s=0.3)),
        *[rng.choice(order, size, replace=False) for size in (1, 1, 1, 2, 5, 20)],
        order,
    ]
    for number, wanted in enumerate(requests):
        limits = {"max_wanted": (16, 3, 10_000)[number % 3], "max_bytes": (1 << 25, 20_000)[number % 2]}
        found = sparse(path, index, wanted, **limits)
        assert set(found) == set(wanted.tolist())
        for row, (time_s, pixels) in found.items():
            assert time_s == pytest.approx(float((int(index.pts[row]) - index.origin) * index.time_base), abs=1e-9)
            np.testing.assert_array_equal(pixels, reference[row])


@pytest.mark.parametrize("case", ["h264-gop12-cfr", "hevc-open-cfr", "mpeg2-ts-cfr", "mjpeg-cfr"])
def test_sparse_clips_hold_far_fewer_packets(case, video):
    index = read_index(video(case))
    wanted = choose(index, Sampling(fps=1))
    assert needed(index, wanted).sum() < 0.4 * len(index)


def test_times_start_at_zero_and_frames_keep_their_distance(video):
    index = read_index(video("h264-gop60-vfr"))
    times_s = index.times_s[index.display_order]
    assert times_s[0] == 0.0
    assert np.diff(times_s).max() == pytest.approx(1 + 1 / 30, abs=0.08)


def test_parts_of_a_long_chain_hold_bounded_work(video):
    index = read_index(video("h264-gop250-cfr"))
    plans = plan(index, index.display_order, max_wanted=10)
    assert max(len(p.wanted) for p in plans) <= 10
    assert [p.last for p in plans].count(True) == len({p.chain for p in plans})


def test_a_clip_survives_a_border(video):
    import msgspec

    from pipeline.clips import Clip

    path = video("h264-open-cfr")
    index = read_index(path)
    clips = list(cut(path, index, plan(index, choose(index, Sampling(fps=2)))))
    for clip in clips:
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(clip), type=Clip)
        here, there = PyAVDecoder().decode(clip), PyAVDecoder().decode(again)
        np.testing.assert_array_equal(here.frames.pixels, there.frames.pixels)


def test_asking_from_an_earlier_entry_gives_the_same_frames(video):
    path = video("hevc-open-cfr")
    index = read_index(path)
    wanted = choose(index, Sampling(fps=3))
    from pipeline.dispatch import _with_earlier_entries

    earlier = _with_earlier_entries(index, wanted)
    assert earlier.entry.sum() < index.entry.sum()
    direct, detour = sparse(path, index, wanted), sparse(path, earlier, wanted)
    for row in wanted.tolist():
        np.testing.assert_array_equal(direct[row][1], detour[row][1])


@pytest.mark.parametrize(
    "case", ["h264-open-ts-vfr", "h264-gop12-cfr", "vp9-vfr", "mpeg4-avi-cfr", "packed-b", "edit-list"]
)
def test_jumping_into_a_file_gives_the_same_clips(case, video, monkeypatch):
    path = video(case)
    index = read_index(path)
    plans = plan(index, index.display_order[-40::7])
    read_through = [clip.packets for clip in cut(path, index, plans)]
    monkeypatch.setattr("pipeline.cutting._WORTH_A_JUMP", 10)
    assert [clip.packets for clip in cut(path, index, plans)] == read_through


@pytest.mark.parametrize(
    "case",
    ["h264-open-ts-vfr", "h264-gop12-cfr", "vp9-vfr", "mpeg4-avi-cfr", "packed-b", "edit-list", "h264-refresh-cfr"],
)
def test_jumping_over_what_is_not_needed_gives_the_same_clips(case, video, monkeypatch):
    path = video(case)
    index = read_index(path)
    plans = plan(index, index.display_order[::37], max_wanted=1)
    read_through = [clip.packets for clip in cut(path, index, plans)]
    monkeypatch.setattr("pipeline.cutting._WORTH_A_JUMP", 2)
    assert [clip.packets for clip in cut(path, index, plans)] == read_through
    monkeypatch.setattr("pipeline.cutting._WORTH_A_JUMP", 10**9)
    monkeypatch.setattr("pipeline.cutting._WORTH_A_JUMP_BYTES", 1000)
    assert [clip.packets for clip in cut(path, index, plans)] == read_through


def test_what_lies_between_is_not_read(video, monkeypatch, tmp_path):
    path = video("h264-gop12-cfr")
    index = read_index(path)
    wanted = np.flatnonzero(index.entry)[::5]
    sizes: list[int] = []
    read = SealedReader.read
    monkeypatch.setattr(SealedReader, "read", lambda self, at, length: sizes.append(length) or read(self, at, length))
    monkeypatch.setattr("pipeline.container._BUFFER_BYTES", 1 << 10)
    what, key = What("a", "videos/x", "video"), bytes(KEY_BYTES)
    sealer = Sealer(key, what)
    sealed = tmp_path / "sealed"
    sealed.write_bytes(sealer.feed(path.read_bytes()) + sealer.finish())
    told = []
    for worth in (10**9, 10):
        monkeypatch.setattr("pipeline.cutting._WORTH_A_JUMP", worth)
        sizes.clear()
        told.append([clip.packets for clip in cut(SealedFile(sealed, key, what), index, plan(index, wanted))])
        told.append(sum(sizes))
    assert told[0] == told[2]
    assert told[3] < 0.7 * told[1]
