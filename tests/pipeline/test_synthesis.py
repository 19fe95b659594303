"""Videos that are written for demos, tests and benchmarks."""

import os

from pipeline.synthesis import Encoding, write_video
from tests.formats.chart import moments


def test_an_encoder_does_not_keep_the_processor(tmp_path):
    encoding = Encoding("libsvtav1", gop=6, options={"preset": "12", "svtav1-params": "lp=1"})
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    write_video(tmp_path / "film.mp4", moments(6), fps=12, encoding=encoding)
    assert (os.sched_getscheduler(0), os.sched_getparam(0)) == before
