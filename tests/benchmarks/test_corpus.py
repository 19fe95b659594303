"""The generated videos are what their names say."""

from dataclasses import replace
from itertools import pairwise

import av
import numpy as np

from benchmarks.corpus import job, long
from pipeline.synthesis import Encoding, write_video

TINY = replace(job.WARM_UP, height=90, duration_s=2)


def test_frames_follow_from_the_seed_and_move():
    first, again = list(job.frames(TINY)), list(job.frames(TINY))
    assert len(first) == TINY.duration_s * TINY.fps
    assert first[0].shape == (90, 160, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(np.abs(a.astype(int) - b).mean() > 1 for a, b in pairwise(first))
    assert not np.array_equal(first[0], next(job.frames(replace(TINY, seed=99))))


def test_a_video_is_written_once(tmp_path):
    (path,) = job.written([TINY], tmp_path)
    before = path.stat().st_mtime_ns
    assert job.written([TINY], tmp_path) == [path]
    assert path.stat().st_mtime_ns == before
    assert [other.name for other in tmp_path.iterdir()] == [path.name]


def test_names_and_seeds_are_unique():
    videos = (*job.VIDEOS, *job.QUICK, job.WARM_UP)
    assert len({video.name for video in videos}) == len({video.seed for video in videos}) == len(videos)


def test_repeating_packets_makes_a_whole_file(tmp_path):
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 255, (50, 32, 64, 3), dtype=np.uint8)
    tone = np.sin(np.arange(2 * 48_000) / 20).astype(np.float32)
    one = write_video(tmp_path / "one.mp4", pictures, fps=25, encoding=Encoding(gop=10, b_frames=2), audio=tone)
    path = long.repeat(one, 3, tmp_path / "three.mp4", length_s=2)
    with av.open(str(path)) as container:
        times_s = [frame.time for frame in container.decode(video=0)]
    assert np.allclose(np.diff(times_s), 1 / 25, atol=1e-3)
    assert len(times_s) == 150
    with av.open(str(path)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert abs(samples / 48_000 - 6) < 0.2
