"""The engine: order, batching over videos, bounds, failures that reach their caller, lost frames that are counted."""

import asyncio
import threading

import numpy as np
import pytest

from models.base import FrameModel, ModelInfo
from pipeline.batching import Batcher
from pipeline.decode.pyav import PyAVDecoder
from pipeline.dispatch import gather
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.errors import CheckFailed
from pipeline.media import LocalMedia
from pipeline.packets import read_index
from pipeline.plans import plan
from pipeline.sampling import choose
from pipeline.spec import Sampling


class MeanColour(FrameModel):
    """A model small enough to check by hand; remembers the sizes of its batches."""

    def __init__(self) -> None:
        self.info = ModelInfo(
            name="mean", version="1", space="test", dim=3, kind="measurement", columns=("red", "green", "blue")
        )
        self.batches: list[int] = []

    def run(self, pixels):
        self.batches.append(len(pixels))
        return pixels.reshape(len(pixels), -1, 3).mean(axis=1).astype(np.float32)


class Broken(MeanColour):
    def run(self, pixels):
        raise RuntimeError("out of memory, say")


class Short(MeanColour):
    def run(self, pixels):
        return super().run(pixels)[1:]


def run(model, paths, fps=6.0, options=None):
    """One `Gathered` a path, all through one engine at the same time."""

    async def everything():
        engine = LocalEngine({"mean": model}, PyAVDecoder(), options or EngineOptions(decode_threads=2, batch_size=64))
        try:
            jobs = []
            for path in paths:
                index = read_index(path)
                rows = choose(index, Sampling(fps=fps))
                jobs.append(gather(LocalMedia(path), index, plan(index, rows, max_wanted=5), engine))
            return await asyncio.gather(*jobs)
        finally:
            engine.close()

    return asyncio.run(everything())


def test_results_belong_to_their_frames_whatever_order_clips_finish_in(video):
    path = video("h264-open-cfr")
    index = read_index(path)
    rows = choose(index, Sampling(fps=6))
    model = MeanColour()
    (gathered,) = run(model, [path])
    np.testing.assert_allclose(gathered.pts_s, index.times_s[rows])
    decoder = PyAVDecoder()
    from pipeline.cutting import cut

    reference = {}
    for clip in cut(path, index, plan(index, rows)):
        decoded = decoder.decode(clip)
        reference |= dict(zip(decoded.rows, MeanColour().run(decoded.frames.pixels), strict=True))
    np.testing.assert_array_equal(gathered.arrays["mean"], np.stack([reference[row] for row in rows.tolist()]))
    assert len(gathered.missing) == 0


def test_frames_of_several_videos_share_batches(video):
    gate = threading.Event()

    class Slow(MeanColour):
        def run(self, pixels):
            # The first batch waits until the others have gathered behind it.
            if not self.batches:
                gate.wait(2.0)
            return super().run(pixels)

    model = Slow()
    paths = [video("h264-open-cfr"), video("vp9-cfr"), video("mpeg4-avi-cfr")]
    options = EngineOptions(decode_threads=2, batch_size=64, clips_in_flight=12)
    one, two, three = run(model, paths, options=options)
    assert max(model.batches) > 5, "Clips hold at most 5 frames here, so a larger batch joins several"
    assert {len(one.pts_s), len(two.pts_s), len(three.pts_s)} == {30}


def test_long_groups_of_several_videos_side_by_side_stay_apart(video):
    """Chains of several parts keep a decoder's state between them; those of two videos must never be swapped."""
    paths = [video("h264-gop250-cfr"), video("h264-gop250-vfr"), video("h264-refresh-cfr")]
    options = EngineOptions(decode_threads=2, batch_size=8, clips_in_flight=6)
    together = run(MeanColour(), paths, fps=15, options=options)
    for path, side_by_side in zip(paths, together, strict=True):
        (alone,) = run(MeanColour(), [path], fps=15, options=options)
        np.testing.assert_array_equal(side_by_side.pts_s, alone.pts_s)
        np.testing.assert_array_equal(side_by_side.arrays["mean"], alone.arrays["mean"])


def test_an_engine_outlives_an_event_loop(video):
    path = video("h264-gop12-cfr")
    index = read_index(path)
    plans = plan(index, choose(index, Sampling(fps=10)), max_wanted=2)
    engine = LocalEngine({"mean": MeanColour()}, PyAVDecoder(), EngineOptions(decode_threads=2, clips_in_flight=1))
    try:
        for _ in range(2):
            assert len(asyncio.run(gather(LocalMedia(path), index, plans, engine)).pts_s) == 50
    finally:
        engine.close()


def test_a_part_without_the_parts_before_it_is_a_typed_error(video):
    from pipeline.cutting import cut
    from pipeline.errors import DecoderStateLost

    path = video("h264-gop250-cfr")
    index = read_index(path)
    clips = list(cut(path, index, plan(index, index.display_order, max_wanted=20)))
    with pytest.raises(DecoderStateLost):
        PyAVDecoder().decode(clips[1])


def test_a_change_of_size_in_mid_stream_is_counted_not_fatal(tmp_path):
    from pipeline.synthesis import Encoding, write_video

    big, small = tmp_path / "big.ts", tmp_path / "small.ts"
    noise = np.random.default_rng(0).integers(0, 256, (30, 96, 160, 3), dtype=np.uint8)
    write_video(big, noise, fps=30, encoding=Encoding(gop=60))
    write_video(small, noise[:, :48, :80], fps=30, encoding=Encoding(gop=60))
    both = tmp_path / "both.ts"
    both.write_bytes(big.read_bytes() + small.read_bytes())
    (gathered,) = run(MeanColour(), [both], fps=8)
    assert len(gathered.pts_s) > 0
    assert len(gathered.arrays["mean"]) == len(gathered.pts_s)


class Wrong(MeanColour):
    """Gives what is no answer."""

    def __init__(self, how) -> None:
        super().__init__()
        self._how = how

    def run(self, pixels):
        rows = super().run(pixels)
        return {"nan": rows * np.nan, "wide": np.hstack([rows, rows]), "double": rows.astype(np.float64)}[self._how]


@pytest.mark.parametrize(
    ("how", "says"), [("nan", "holds no numbers"), ("wide", r"shape \(\d, 6\)"), ("double", "float64, not float32")]
)
def test_what_is_no_answer_of_a_main_model_is_told_to_its_caller(video, how, says):
    with pytest.raises(CheckFailed, match=f"mean: .*{says}"):
        run(Wrong(how), [video("mjpeg-cfr")])


@pytest.mark.parametrize(("model", "says"), [(Broken(), "out of memory"), (Short(), "rows for")])
def test_a_model_that_fails_fails_its_caller(video, model, says):
    with pytest.raises((RuntimeError, ValueError), match=says):
        run(model, [video("mjpeg-cfr")])


def test_no_more_clips_are_decoded_than_allowed(video):
    now, most, lock = 0, 0, threading.Lock()

    class Watched(PyAVDecoder):
        def decode(self, clip):
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            try:
                return super().decode(clip)
            finally:
                with lock:
                    now -= 1

    async def everything():
        path = video("h264-gop12-cfr")
        index = read_index(path)
        engine = LocalEngine({"mean": MeanColour()}, Watched(), EngineOptions(decode_threads=8, clips_in_flight=2))
        try:
            rows = choose(index, Sampling(fps=30))
            return await gather(LocalMedia(path), index, plan(index, rows, max_wanted=3), engine)
        finally:
            engine.close()

    asyncio.run(everything())
    assert most <= 2


def test_a_frame_that_never_comes_out_is_missing_not_replaced(video):
    class Forgetful(PyAVDecoder):
        """Loses every picture in the second half of the video."""

        def decode(self, clip):
            from pipeline.frames import FrameBatch

            decoded = super().decode(clip)
            keep = decoded.frames.pts_s < 2.5
            rows = tuple(row for row, kept in zip(decoded.rows, keep, strict=True) if kept)
            frames = FrameBatch(decoded.frames.pixels[keep], decoded.frames.pts_s[keep])
            return type(decoded)(frames=frames, rows=rows, strip=None, decode_s=0.0)

    async def everything():
        path = video("h264-gop12-cfr")
        index = read_index(path)
        engine = LocalEngine({"mean": MeanColour()}, Forgetful(), EngineOptions(decode_threads=1))
        rows = choose(index, Sampling(fps=4))
        try:
            return index, rows, await gather(LocalMedia(path), index, plan(index, rows), engine)
        finally:
            engine.close()

    index, rows, gathered = asyncio.run(everything())
    assert len(gathered.missing) == len(rows) - len(gathered.pts_s) > 0
    assert (index.times_s[gathered.missing] >= 2.5).all()

    from pipeline.analyze import lost_ranges

    (lost,) = lost_ranges(index, rows, gathered.missing)
    assert lost.frames == len(gathered.missing)
    assert lost.start_s == pytest.approx(2.5)
    assert lost.end_s == pytest.approx(index.duration_s)


def test_a_request_that_is_given_up_leaves_nothing_under_way(video):
    async def everything():
        path = video("h264-gop12-cfr")
        index = read_index(path)
        engine = LocalEngine({"mean": MeanColour()}, PyAVDecoder(), EngineOptions(decode_threads=2))

        async def refuse(output):
            raise ValueError("enough")

        try:
            rows = choose(index, Sampling(fps=30))
            with pytest.raises(ValueError, match="enough"):
                await gather(LocalMedia(path), index, plan(index, rows, max_wanted=3), engine, each=refuse)
            return asyncio.all_tasks() - {asyncio.current_task()}
        finally:
            engine.close()

    assert asyncio.run(everything()) == set()


def test_batches_stay_within_their_size_and_lose_nothing():
    gate, sizes = threading.Event(), []

    def encode(frames):
        gate.wait(10.0)
        sizes.append(len(frames))
        return frames

    batcher = Batcher("test", encode, np.concatenate, batch_size=8, workers=1)
    parts = [np.full((count, 1), count, np.float32) for count in (3, 5, 5, 3, 12, 2, 7)]
    waiting = [batcher.submit(part, len(part)) for part in parts]
    gate.set()
    for part, future in zip(parts, waiting, strict=True):
        np.testing.assert_array_equal(future.result(10.0).array, part)
    batcher.close()
    assert sum(sizes) == 37
    assert max(sizes) <= 8, "also of what came as one"
