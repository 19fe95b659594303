"""Short videos for timing decoders: the pictures of `benchmarks.corpus.job`, in more codecs and lengths of groups."""

from dataclasses import replace

from benchmarks.corpus import job
from benchmarks.corpus.job import JobVideo
from pipeline.synthesis import Encoding

_AV1 = Encoding("libsvtav1", gop=120, options={"preset": "10", "crf": "38", "svtav1-params": "lp=2"})
_MPEG4 = Encoding("mpeg4", gop=60, b_frames=2, bit_rate_bps=2_500_000)


def _shortened(name: str, duration_s: int, seed: int) -> JobVideo:
    video = next(video for video in job.VIDEOS if video.name == name)
    return replace(video, name=f"{name}-{duration_s}s", duration_s=duration_s, seed=seed)


VIDEOS: tuple[JobVideo, ...] = (
    _shortened("h264-720p-gop30", 10, 21),
    _shortened("h264-720p-gop250", 10, 22),
    _shortened("h264-1080p-gop60", 6, 23),
    JobVideo("h264-360p-gop120", 360, 30, 12, replace(job.VIDEOS[0].encoding, gop=120), seed=24),
    _shortened("hevc-720p-gop60", 10, 25),
    _shortened("vp9-720p-gop128", 10, 26),
    JobVideo("av1-720p-gop120", 720, 30, 10, _AV1, seed=27),
    JobVideo("mpeg4-480p-gop60", 480, 30, 12, _MPEG4, suffix=".avi", seed=28),
)

#: For `--quick` and the tests.
QUICK: tuple[JobVideo, ...] = job.QUICK
