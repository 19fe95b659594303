"""A replica of an engine, in this process: real Clips, real models, real files of weights that are broken."""

import asyncio
import os
import signal
import threading
import time
from dataclasses import replace

import msgspec
import numpy as np
import psutil
import pytest

from models import catalog
from pipeline.analyze import analyze
from pipeline.decode.base import COUNTERS
from pipeline.errors import (
    CheckFailed,
    DecoderCrashed,
    DecoderStateLost,
    EngineFault,
    ModelReplaced,
    ModelUnavailable,
    UnsupportedCodec,
)
from pipeline.spec import AnalysisSpec, Sampling
from pipeline.toolkit import EMBEDDING, STATS
from serving.graph import messages, replica
from serving.graph.engine import EngineReplica
from serving.graph.golden import golden_clip
from serving.graph.messages import Embedded, EmbedTexts, Ran, RunClip
from serving.local import local_toolkit
from tests.serving.graph import making
from tests.serving.graph.asking import PLAIN, asked, clips, described
from tests.serving.graph.handles import Handle
from tests.serving.graph.reports import same, toolkits


def test_a_clip_goes_in_and_small_arrays_come_out(engine_run, film):
    model = catalog.load("bundled", "cpu", "float32").model

    async def body(engine):
        clip = clips(film, slice(0, 12, 3), glimpse=True)[0]
        ran = await asked(engine, clip)
        assert ran.replica == "one"
        output = ran.output
        assert output.rows == clip.wanted
        assert set(output.arrays) == {EMBEDDING, STATS}
        assert output.strip is not None
        assert output.decoder == "pyav"
        from pipeline.decode.pyav import PyAVDecoder

        decoded = PyAVDecoder().decode(clip)
        np.testing.assert_allclose(output.arrays[EMBEDDING], model.run(decoded.frames.pixels), atol=1e-5)
        handled = described(engine).handled
        assert (handled.requests, handled.refused, handled.frames, handled.frames_shipped) == (1, 0, 4, 0)
        assert handled.bytes_in > sum(map(len, clip.packets))
        # Two models' rows and eleven thumbnails, and no picture of 46,080 bytes.
        assert handled.bytes_out < 12_000 + len(output.strip) * 27 * 48 * 3

    engine_run(body)


def test_a_report_through_a_replica_is_that_of_an_engine_here(engine_run, film):
    spec = AnalysisSpec(model="bundled", sampling=Sampling(fps=4.0))

    async def body(engine):
        async with toolkits(Handle({"one": engine})) as graph:
            report = await analyze(film, spec, await graph.get("bundled"))
        with local_toolkit("bundled") as local:
            expected = await analyze(film, spec, local)
        assert len(expected.shots) >= 3
        assert expected.segments
        same(report, expected)

    # As measurements choose it, here as there.
    engine_run(body, {**PLAIN, "models": {"bundled": {}}})


def test_models_under_several_names_are_loaded_once_and_decoded_for_once(engine_run, film, tmp_path):
    other = making.variant(tmp_path, 1)

    async def body(engine):
        models = {one.name: one for one in described(engine).generations[0].models}
        assert set(models) == {"a", "b", "c"}
        assert models["a"].info.identity == models["b"].info.identity != models["c"].info.identity
        loaded = engine._generations.current.models.networks.loaded
        assert loaded["a"].model is loaded["b"].model
        clip = clips(film, slice(0, 4))[0]
        before = COUNTERS.packets
        request = RunClip(clip=clip, model="c", identity=models["c"].info.identity)
        output = messages.answer(await engine.run(messages.encode(request)), Ran).output
        assert COUNTERS.packets - before == len(clip.packets)
        assert set(output.arrays) == {EMBEDDING, STATS}, "only the model that was asked for ran"
        expected = catalog.load(other, "cpu", "float32").model.run(
            engine._decoder.decode(msgspec.structs.replace(clip, job="again")).frames.pixels
        )
        np.testing.assert_allclose(output.arrays[EMBEDDING], expected, atol=1e-5)

    bundled = {"source": "bundled", "dtype": "float32"}
    engine_run(body, {**PLAIN, "models": {"a": bundled, "b": bundled, "c": {"source": other, "dtype": "float32"}}})


def test_refusals_are_answers(engine_run, film):
    async def body(engine):
        clip = clips(film)[0]
        identity = described(engine).generations[0].models[0].info.identity
        codec = msgspec.structs.replace(clip.codec, name="none-such")
        for error, request in (
            (ModelReplaced, RunClip(clip=clip, model="bundled", identity="another")),
            (ModelReplaced, RunClip(clip=clip, model="none", identity="another")),
            (
                UnsupportedCodec,
                RunClip(clip=msgspec.structs.replace(clip, codec=codec), model="bundled", identity=identity),
            ),
            (DecoderStateLost, RunClip(clip=msgspec.structs.replace(clip, part=3), model="bundled", identity=identity)),
            (ModelUnavailable, EmbedTexts(model="none", space=None, texts=("a dog",))),
            (ModelReplaced, EmbedTexts(model="bundled", space="another", texts=("a dog",))),
        ):
            method = engine.run if isinstance(request, RunClip) else engine.embed
            with pytest.raises(error):
                messages.answer(await method(messages.encode(request)), Ran | Embedded)
        with pytest.raises(EngineFault, match="not what was to come"):
            messages.answer(await engine.run(b"what another version of the program says"), Ran)
        assert described(engine).handled.refused == 7

    engine_run(body)


def test_a_fault_of_a_model_is_told_and_not_raised(engine_run, film, monkeypatch):
    async def body(engine):
        model = engine._generations.current.models.networks.loaded["bundled"].model

        def failing(frames):
            raise RuntimeError("CUDA error: device-side assert")

        monkeypatch.setattr(model, "encode", failing)
        with pytest.raises(EngineFault, match="RuntimeError: CUDA error"):
            await asked(engine, clips(film)[0])
        with pytest.raises(CheckFailed, match="CUDA error"):
            await engine.check_health()
        assert described(engine).state == "failed"
        assert "CUDA error" in described(engine).error
        monkeypatch.undo()
        await engine.check_health()
        assert (described(engine).state, described(engine).error) == ("ready", None)

    engine_run(body)


def test_an_answer_that_holds_a_picture_does_not_leave(engine_run, film, monkeypatch):
    async def body(engine):
        models = engine._generations.current.models
        given = models.run

        async def with_picture(*asked):
            output = await given(*asked)
            return replace(
                output, arrays={**output.arrays, "pixels": np.zeros((len(output.rows), 96, 160, 3), np.uint8)}
            )

        monkeypatch.setattr(models, "run", with_picture)
        with pytest.raises(EngineFault, match="does not leave an engine"):
            await asked(engine, clips(film)[0])

    engine_run(body)


def test_texts_are_embedded_too(engine_run):
    async def body(engine):
        model = described(engine).generations[0].models[0]
        request = EmbedTexts(model="bundled", space=model.info.space, texts=("a red circle", "a blue square"))
        embedded = messages.answer(await engine.embed(messages.encode(request)), Embedded)
        assert embedded.space == model.info.space
        expected = catalog.load("bundled", "cpu", "float32").model.embed_text(list(request.texts))
        np.testing.assert_allclose(embedded.rows, expected, atol=1e-5)

    engine_run(body)


def test_a_decoding_process_that_is_killed_costs_its_clip_and_no_more(engine_run, film, monkeypatch):
    async def body(engine):
        ask = engine._decoder._ask

        def killing(worker, clip, began):
            os.kill(worker.pid, signal.SIGKILL)
            return ask(worker, clip, began)

        monkeypatch.setattr(engine._decoder, "_ask", killing)
        with pytest.raises(DecoderCrashed):
            await asked(engine, clips(film)[0])
        monkeypatch.undo()
        await asked(engine, clips(film)[0])

    engine_run(body)


def test_a_check_that_waits_behind_frames_is_no_failure_and_one_that_hangs_is(engine_run, film, monkeypatch):
    monkeypatch.setattr(replica, "CHECK_S", 1.5)
    batches = threading.Semaphore(0)

    async def body(engine):
        model = engine._generations.current.models.networks.loaded["bundled"].model
        encode = model.encode

        def one_at_a_time(frames):
            assert batches.acquire(timeout=60)
            return encode(frames)

        monkeypatch.setattr(model, "encode", one_at_a_time)
        work = [asyncio.create_task(asked(engine, clip)) for clip in clips(film, slice(0, 72, 9))]
        checked = asyncio.create_task(engine.check_health())
        await asyncio.sleep(0.1)
        batches.release()
        await checked
        assert described(engine).state == "ready"
        assert not all(one.done() for one in work), "the check was not waited for to the end"
        with pytest.raises(CheckFailed, match=r"no answer within 1.5 s"):
            await engine.check_health()
        assert described(engine).state == "failed"
        batches.release(100)
        await asyncio.gather(*work)
        await engine.check_health()
        assert described(engine).state == "ready"

    # As many as a Clip of the film has: each is a batch.
    engine_run(body, {**PLAIN, "batch_size": 2})


def test_its_processes_end_with_it(film):
    def children():
        return {one.pid for one in psutil.Process().children(recursive=True)}

    async def main():
        before = children()
        engine = EngineReplica("default", "one")
        await engine.reconfigure(PLAIN)
        await asked(engine, clips(film)[0])
        assert len(children() - before) >= 2
        await engine.close()
        until_s = time.monotonic() + 20
        while children() - before and time.monotonic() < until_s:
            await asyncio.sleep(0.05)
        assert children() - before == set()

    asyncio.run(main())


def test_the_golden_clip_is_whole():
    clip = golden_clip()
    assert (len(clip.wanted), clip.last, clip.codec.name) == (4, True, "h264")
    assert golden_clip() is clip
