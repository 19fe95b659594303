"""Models of an engine that are replaced: real files of weights, good and broken, and who is served by which."""

import asyncio
import gc
import weakref

import msgspec
import numpy as np
import pytest

from pipeline.errors import ModelUnavailable
from pipeline.toolkit import EMBEDDING
from serving.graph import messages
from serving.graph.args import InvalidGraph
from serving.graph.engine import EngineReplica
from serving.graph.messages import Embedded, EmbedTexts, Ran, RunClip
from serving.graph.text import TextReplica
from tests.serving.graph import making
from tests.serving.graph.asking import PLAIN, asked, clips, described, swapped, with_model


@pytest.mark.parametrize("way", making.BROKEN)
def test_a_broken_model_leaves_the_old_one_serving_and_says_why(engine_run, film, tmp_path, way):
    make, says = making.BROKEN[way]

    async def body(engine):
        clip = clips(film, slice(0, 4))[0]
        before = await asked(engine, clip)
        found = await swapped(engine, with_model(make(tmp_path)))
        assert found.state == "ready"
        assert found.failure is not None
        assert says in found.failure.error
        assert "bundled" in found.failure.error
        assert found.failure.wanted["bundled"].startswith("local-dir:")
        assert [one.number for one in found.generations] == [1]
        after = await asked(engine, msgspec.structs.replace(clip, job="after"))
        np.testing.assert_array_equal(after.output.arrays[EMBEDDING], before.output.arrays[EMBEDDING])
        await engine.check_health()

    engine_run(body)


@pytest.mark.parametrize("way", making.BROKEN)
def test_texts_stay_with_the_old_model_whatever_is_broken_of_the_new_one(tmp_path, way):
    """Also where its text tower is as good as ever: no engine takes such a model."""
    make, says = making.BROKEN[way]

    async def main():
        text = TextReplica("one")
        try:
            await text.reconfigure({"models": {"bundled": {"dtype": "float32"}}})
            found = await swapped(text, {"models": {"bundled": {"source": make(tmp_path), "dtype": "float32"}}})
            assert found.failure is not None
            assert says in found.failure.error
            assert "bundled" in found.failure.error
            assert [one.number for one in found.generations] == [1]
            request = messages.encode(EmbedTexts(model="bundled", space=None, texts=("a red circle",)))
            answer = messages.answer(await text.embed(request), Embedded)
            assert answer.space == found.generations[0].models[0].info.space
        finally:
            await text._generations.close()

    asyncio.run(main())


def test_a_broken_configuration_is_refused_and_changes_nothing(engine_run, film):
    async def body(engine):
        with pytest.raises(InvalidGraph, match=r"engine-default\.user_config"):
            await engine.reconfigure({"models": {}})
        await asked(engine, clips(film)[0])

    engine_run(body)


def test_the_first_models_are_waited_for(tmp_path):
    async def main():
        engine = EngineReplica("default", "one")
        try:
            with pytest.raises(ModelUnavailable, match="holds no numbers"):
                await engine.reconfigure(with_model(making.not_numbers(tmp_path)))
            assert described(engine).state == "loading"
        finally:
            await engine.close()

    asyncio.run(main())


def test_a_chain_goes_on_through_a_swap_with_the_model_that_it_began_with(engine_run, long_group, tmp_path):
    parts = clips(long_group)
    assert [clip.part for clip in parts] == list(range(7))

    async def body(engine):
        undisturbed = [await asked(engine, msgspec.structs.replace(part, job="undisturbed")) for part in parts]
        identity = described(engine).generations[0].models[0].info.identity
        rows = []
        for part in parts:
            if part.part == 3:
                found = await swapped(engine, with_model(making.variant(tmp_path, 1)))
                assert found.failure is None
                assert [one.number for one in found.generations] == [2, 1]
                assert found.generations[0].models[0].info.identity != identity
            request = messages.encode(RunClip(clip=part, model="bundled", identity=identity))
            rows.append(messages.answer(await engine.run(request), Ran).output)
        for output, expected in zip(rows, undisturbed, strict=True):
            assert output.rows == expected.output.rows
            np.testing.assert_array_equal(output.arrays[EMBEDDING], expected.output.arrays[EMBEDDING])

    engine_run(body)


def test_models_that_were_replaced_leave_their_memory(engine_run, film, tmp_path):
    async def body(engine):
        await asked(engine, clips(film)[0])
        model = weakref.ref(engine._generations.current.models.networks.loaded["bundled"].model)
        found = await swapped(engine, with_model(making.variant(tmp_path, 1), linger_s=0.0))
        assert found.failure is None
        async with asyncio.timeout(20):
            while model() is not None:
                await asyncio.sleep(0.05)
                gc.collect()
        assert [one.number for one in described(engine).generations] == [2]

    engine_run(body)


def test_what_stays_as_it_is_is_not_loaded_again(engine_run, film):
    async def body(engine):
        before = engine._generations.current.models.networks.loaded["bundled"].model
        found = await swapped(engine, {**PLAIN, "batch_size": 4})
        assert found.generations[0].number == 2
        assert engine._generations.current.models.networks.loaded["bundled"].model is before
        await asked(engine, clips(film)[0])
        async with asyncio.timeout(20):
            while len(described(engine).generations) > 1:
                await asyncio.sleep(0.02)

    engine_run(body)
