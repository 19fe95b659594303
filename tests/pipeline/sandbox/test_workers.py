"""Workers through the door that the product uses: media and decoder, on real videos, with real crashes."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path
from types import NoneType

import numpy as np
import psutil
import pytest

from pipeline.decode.pyav import PyAVDecoder
from pipeline.dispatch import gather
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.errors import DecoderCrashed, DecodeTimeout, LimitExceeded, UnsupportedContainer
from pipeline.limits import InputLimits, WorkerLimits
from pipeline.media import LocalMedia
from pipeline.plans import plan
from pipeline.sampling import choose
from pipeline.sandbox import wire
from pipeline.sandbox.client import Sandbox, Worker
from pipeline.sandbox.decoder import MAX_SPARE, SandboxedDecoder
from pipeline.sandbox.media import SandboxedMedia
from pipeline.sandbox.protocol import Inspect
from pipeline.spec import Sampling
from pipeline.synthesis import Encoding, write_video
from tests.pipeline.conftest import CASES
from tests.pipeline.test_engine import MeanColour


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as made:
        yield made


@pytest.fixture
def decoder(sandbox):
    made = SandboxedDecoder(sandbox)
    yield made
    made.close()


@pytest.mark.parametrize(
    "name", ["h264-open-cfr", "hevc-open-vfr", "vp9-cfr", "av1-cfr", "mpeg4-avi-cfr", "prores-cfr"]
)
def test_the_same_as_in_this_process(video, sandbox, decoder, name):
    assert name in CASES
    path = video(name)
    here, there = LocalMedia(path), SandboxedMedia(path, sandbox)
    seen, told = here.inspect(), there.inspect()
    assert told.info == seen.info
    assert told.cut_off == seen.cut_off
    for column in ("pts", "size", "keyframe", "entry", "disposable", "shown"):
        np.testing.assert_array_equal(getattr(told.index, column), getattr(seen.index, column))
    plans = plan(seen.index, choose(seen.index, Sampling(fps=6)), max_wanted=4)
    reference = PyAVDecoder()
    for ours, theirs in zip(
        here.clips(seen.index, plans, glimpse=True), there.clips(seen.index, plans, glimpse=True), strict=True
    ):
        one, other = reference.decode(ours), decoder.decode(theirs)
        assert other.rows == one.rows
        np.testing.assert_array_equal(other.frames.pixels, one.frames.pixels)
        np.testing.assert_array_equal(other.frames.pts_s, one.frames.pts_s)
        assert one.strip is not None
        assert other.strip is not None
        np.testing.assert_array_equal(other.strip.thumbs, one.strip.thumbs)


def test_pictures_outlive_the_worker_that_made_them(video, sandbox, decoder):
    media = SandboxedMedia(video("h264-gop12-cfr"), sandbox)
    index = media.inspect().index
    clips = list(media.clips(index, plan(index, index.display_order[:20], max_wanted=10)))
    first = decoder.decode(clips[0]).frames.pixels
    kept = first.copy()
    for clip in clips[1:]:
        decoder.decode(clip)
    decoder.close()
    np.testing.assert_array_equal(first, kept)


def test_times_do_not_hold_on_to_thumbnails(video, sandbox, decoder):
    media = SandboxedMedia(video("h264-gop12-cfr"), sandbox)
    index = media.inspect().index
    for clip in media.clips(index, plan(index, index.display_order[:3]), glimpse=True):
        decoded = decoder.decode(clip)
        assert decoded.strip is not None
        assert len(decoded.strip) > 0
        assert decoded.frames.pts_s.base is None


def test_a_refusal_keeps_its_type(sandbox, tmp_path):
    text = tmp_path / "a.mp4"
    text.write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    with pytest.raises(UnsupportedContainer, match=r"a.mp4: text"):
        SandboxedMedia(text, sandbox).inspect()
    with pytest.raises(UnsupportedContainer):
        SandboxedMedia(text, sandbox).check()


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (InputLimits(max_pixels=96 * 96), "pixels"),
        (InputLimits(max_packets=10), "more than 10 pictures"),
        (InputLimits(max_duration_s=1.0), "s long"),
        (InputLimits(max_expansion=2.0), "times as large"),
    ],
)
def test_limits(video, sandbox, limits, says):
    with pytest.raises(LimitExceeded, match=says):
        SandboxedMedia(video("h264-gop12-cfr"), sandbox, limits).inspect()


def _gathered(path, sandbox, decoder, meddle=lambda output: None):
    async def everything():
        media = SandboxedMedia(path, sandbox)
        index = media.inspect().index
        engine = LocalEngine({"mean": MeanColour()}, decoder, EngineOptions(decode_threads=2))

        async def each(output):
            meddle(output)

        try:
            rows = choose(index, Sampling(fps=10))
            return rows, await gather(media, index, plan(index, rows, max_wanted=3), engine, each=each)
        finally:
            engine.close()

    return asyncio.run(everything())


@pytest.mark.parametrize(("case", "part"), [("h264-gop12-cfr", 0), ("h264-gop250-cfr", 2)])
def test_what_a_worker_had_that_was_killed_is_done_again(video, sandbox, case, part):
    killed = []

    class Murderous(SandboxedDecoder):
        def _ask(self, worker: Worker, clip, began):
            if not killed and clip.part == part:
                killed.append(worker.pid)
                os.kill(worker.pid, signal.SIGKILL)
            return super()._ask(worker, clip, began)

    decoder = Murderous(sandbox)
    _, gathered = _gathered(video(case), sandbox, decoder)
    decoder.close()
    assert killed
    assert gathered.lost == ()
    decoder = SandboxedDecoder(sandbox)
    rows, undisturbed = _gathered(video(case), sandbox, decoder)
    decoder.close()
    assert len(undisturbed.pts_s) == len(rows)
    np.testing.assert_array_equal(gathered.pts_s, undisturbed.pts_s)
    np.testing.assert_array_equal(gathered.arrays["mean"], undisturbed.arrays["mean"])


def test_what_kills_every_worker_is_given_up(video, sandbox):
    class Deadly(SandboxedDecoder):
        asked = 0

        def _ask(self, worker: Worker, clip, began):
            if clip.chain == 1:
                self.asked += 1
                os.kill(worker.pid, signal.SIGKILL)
            return super()._ask(worker, clip, began)

    decoder = Deadly(sandbox)
    rows, gathered = _gathered(video("h264-gop12-cfr"), sandbox, decoder)
    decoder.close()
    assert len(gathered.lost) >= 1
    assert all("ended" in reason for reason in gathered.lost)
    assert len(gathered.pts_s) + len(gathered.missing) == len(rows)
    # Three times as it was planned, and three times from an earlier entry point, where its rows are another chain.
    assert decoder.asked <= 6


def test_a_worker_that_hangs_is_ended_in_time(video, sandbox):
    slow = Sandbox(WorkerLimits(clip_s=0.5))
    try:
        media = SandboxedMedia(video("h264-gop12-cfr"), slow)
        index = media.inspect().index
        (clip,) = media.clips(index, plan(index, index.display_order[:2]))

        class Stopping(SandboxedDecoder):
            def _ask(self, worker: Worker, clip, began):
                os.kill(worker.pid, signal.SIGSTOP)
                return super()._ask(worker, clip, began)

        decoder = Stopping(slow)
        began = time.monotonic()
        with pytest.raises(DecodeTimeout, match=r"0.5 s"):
            decoder.decode(clip)
        assert time.monotonic() - began < 20
    finally:
        slow.close()


def test_workers_end_with_their_sandbox_and_leave_no_files(video):
    with Sandbox() as made:
        worker = made.worker()
        pid = worker.pid
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            SandboxedMedia(video("h264-gop12-cfr"), made).inspect()
        assert len(os.listdir("/proc/self/fd")) <= before + 1
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_the_sandbox_starts_anew_when_its_process_is_gone(video):
    with Sandbox() as made:
        made.worker().kill()
        assert made._zygote is not None
        made._zygote.kill()
        made._zygote.wait()
        assert SandboxedMedia(video("h264-gop12-cfr"), made).inspect().info.codec == "h264"


@pytest.mark.parametrize("noise", [b"", b"\x02" + (1 << 40).to_bytes(8, "little"), b"\xff" * 200])
def test_nonsense_from_a_worker_is_a_typed_error(noise):
    ours, theirs = socket.socketpair()
    theirs.sendall(noise)
    theirs.close()
    with pytest.raises(wire.Broken):
        wire.Channel(ours).receive(1.0)


def test_a_crash_says_so(sandbox, video):
    worker = sandbox.worker()
    os.kill(worker.pid, signal.SIGKILL)
    with open(video("h264-gop12-cfr"), "rb") as file, pytest.raises(DecoderCrashed):
        worker.ask(Inspect(name="x", size_bytes=1, limits=InputLimits()), NoneType, (file.fileno(),), timeout_s=5)
    assert not worker.alive


def test_pictures_of_8k_fit_into_a_worker(sandbox, decoder, tmp_path):
    frames = (np.full((4320, 7680, 3), 40 * number, np.uint8) for number in range(4))
    path = write_video(tmp_path / "8k.mp4", frames, fps=4, encoding=Encoding(options={"preset": "ultrafast"}))
    media = SandboxedMedia(path, sandbox)
    index = media.inspect().index
    clips = list(media.clips(index, plan(index, index.display_order)))
    assert [len(clip.wanted) for clip in clips] == [2, 2]
    levels = [int(picture[0, 0, 0]) for clip in clips for picture in decoder.decode(clip).frames.pixels]
    np.testing.assert_allclose(levels, [0, 40, 80, 120], atol=3)


def test_a_worker_serves_one_video_however_often_it_is_read_and_no_other(video, sandbox):
    seen: dict[int, set[str]] = {}

    class Watched(SandboxedDecoder):
        def _ask(self, worker: Worker, clip, began):
            seen.setdefault(worker.pid, set()).add(clip.owner)
            return super()._ask(worker, clip, began)

    decoder = Watched(sandbox)
    path = video("h264-gop12-cfr")
    for media in (SandboxedMedia(path, sandbox), SandboxedMedia(path, sandbox)):
        index = media.inspect().index
        for _ in range(3):
            for clip in media.clips(index, plan(index, index.display_order[::12])):
                decoder.decode(clip)
    decoder.close()
    assert len(seen) == 2
    assert all(len(owners) == 1 for owners in seen.values())


def test_workers_of_videos_that_are_done_make_room(video, sandbox, decoder):
    path = video("h264-gop12-cfr")
    sandbox.isolation()  # whatever workers come from is there now
    before = len(psutil.Process().children(recursive=True))
    for _ in range(6):
        media = SandboxedMedia(path, sandbox)
        index = media.inspect().index
        for clip in media.clips(index, plan(index, index.display_order[::12])):
            decoder.decode(clip)
    until_s = time.monotonic() + 20
    while len(psutil.Process().children(recursive=True)) - before > MAX_SPARE and time.monotonic() < until_s:
        time.sleep(0.02)
    assert len(psutil.Process().children(recursive=True)) - before <= MAX_SPARE


def test_the_dead_are_buried_and_their_work_is_counted(video):
    others = set(psutil.Process().children())
    with Sandbox() as sandbox:
        media = SandboxedMedia(video("h264-gop12-cfr"), sandbox)
        media.inspect()
        (zygote,) = set(psutil.Process().children()) - others
        for _ in range(20):
            media.inspect()
        until_s = time.monotonic() + 20
        while zygote.children() and time.monotonic() < until_s:
            time.sleep(0.02)
        assert zygote.children() == []
        spent = zygote.cpu_times()
        assert spent.children_user + spent.children_system > 0
