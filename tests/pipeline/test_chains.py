"""Chains of parts whose decoder is lost: run again whole, or given up, but never with a hole in the middle."""

import asyncio

import numpy as np
import pytest

from pipeline.decode.pyav import PyAVDecoder
from pipeline.dispatch import gather
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.errors import DecoderCrashed, DecoderStateLost, DecodeTimeout
from pipeline.media import LocalMedia
from pipeline.packets import read_index
from pipeline.plans import plan
from tests.pipeline.test_engine import MeanColour


class Losing:
    """An engine whose decoders are lost whenever `lose` says so of (part, how often it was run)."""

    def __init__(self, lose) -> None:
        self._lose = lose
        self._decoder = PyAVDecoder()
        self._engine = LocalEngine({"mean": MeanColour()}, self._decoder, EngineOptions(decode_threads=2))
        self.runs: dict[int, int] = {}
        self.strips: dict[int, int] = {}

    async def run(self, clip):
        times = self.runs[clip.part] = self.runs.get(clip.part, 0) + 1
        error = self._lose(clip.part, times)
        if error is not None:
            self._decoder._parked.pop((clip.job, clip.chain), None)
            raise error
        return await self._engine.run(clip)

    async def check(self):
        await self._engine.check()

    def close(self):
        self._engine.close()


def run(path, lose):
    """(engine, rows wanted, gathered, parts and strips as they were told)."""

    async def everything():
        index = read_index(path)
        rows = index.display_order[:240:2]
        engine = Losing(lose)
        told = []

        async def each(output):
            told.append((output.part, None if output.strip is None else len(output.strip)))

        try:
            plans = plan(index, rows, max_wanted=20)
            assert [planned.part for planned in plans] == list(range(6)), "one chain of six parts"
            gathered = await gather(LocalMedia(path), index, plans, engine, each=each, glimpse=True)
            return engine, rows, gathered, told
        finally:
            engine.close()

    return asyncio.run(everything())


def lost(part, at, error, *, times=1):
    """Loses `part` the first `times` times that it is run."""
    return lambda now, count: error("it is gone") if now == part and count in range(at, at + times) else None


@pytest.fixture(scope="module")
def path(video):
    return video("h264-gop250-cfr")


@pytest.fixture(scope="module")
def undisturbed(path):
    return run(path, lambda part, times: None)


@pytest.mark.parametrize(
    ("lose", "most"),
    [
        (lost(0, 1, DecoderCrashed), 2),
        (lost(3, 1, DecoderCrashed, times=2), 3),
        (lost(5, 1, DecoderStateLost), 2),
        (lost(3, 1, DecoderStateLost, times=3), 4),
        (lambda part, times: DecoderStateLost("gone") if part in (2, 4) and times == 1 else None, 3),
    ],
    ids=["first", "middle", "last", "three-times", "two-parts"],
)
def test_a_chain_is_run_again_up_to_where_it_was(path, undisturbed, lose, most):
    engine, rows, gathered, told = run(path, lose)
    _, _, whole, told_then = undisturbed
    assert len(whole.pts_s) == len(rows)
    assert gathered.lost == ()
    assert told == told_then, "each part was told once, with all its thumbnails"
    np.testing.assert_array_equal(gathered.pts_s, whole.pts_s)
    np.testing.assert_array_equal(gathered.arrays["mean"], whole.arrays["mean"])
    assert max(engine.runs.values()) == most


@pytest.mark.parametrize(
    ("lose", "runs"),
    [
        (lost(2, 1, DecoderCrashed, times=3), {0: 3, 1: 3, 2: 3}),
        (lost(2, 1, DecodeTimeout), {0: 1, 1: 1, 2: 1}),
        (lost(2, 1, DecoderStateLost, times=4), {0: 4, 1: 4, 2: 4}),
    ],
    ids=["crashes-again", "hangs", "is-lost-each-time"],
)
def test_a_chain_that_cannot_be_had_is_given_up_whole(path, lose, runs, monkeypatch):
    # What is asked for in the end, from an earlier entry point, is a chain of its own.
    monkeypatch.setattr("pipeline.dispatch.plan", lambda index, missing: ())
    engine, rows, gathered, told = run(path, lose)
    assert engine.runs == runs, "and no later part was tried"
    assert len(gathered.lost) == 4
    assert sorted(part for part, _ in told) == list(range(6))
    assert len(gathered.pts_s) + len(gathered.missing) == len(rows)
    assert len(gathered.pts_s) > 0


def test_an_error_that_is_no_loss_ends_the_request(path):
    with pytest.raises(ValueError, match="it is gone"):
        run(path, lost(1, 1, ValueError))
