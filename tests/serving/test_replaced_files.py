"""A file of a model that is replaced in place: new jobs get the new one, and who has the old one ends with it."""

import asyncio
import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models import heads
from models.base import Score
from models.catalog import load
from models.head_card import HeadCard
from models.heads import Layer
from models.stamps import changed, stamp
from pipeline.sandbox.client import Sandbox
from serving import toolkits as toolkits_module
from serving.graph.engine import EngineReplica
from serving.settings import DEFAULTS
from serving.toolkits import LocalToolkits
from tests.serving.graph.asking import described, swapped


def write(file: Path, seed: int) -> str:
    """A head on the bundled model, as `train-head --out` writes it; gives the space of its scores."""
    info = load("bundled", "cpu", "float32").model.info
    weight = np.random.default_rng(seed).standard_normal((1, info.dim)).astype(np.float32)
    card = HeadCard(name="goals", encoder="bundled", space=info.space, dim=info.dim, labels=(Score("goal"),))
    return heads.save(file, [Layer(weight, np.zeros(1, np.float32))], card).info.space


def test_new_jobs_get_the_new_one_and_old_ones_end_with_theirs(tmp_path, monkeypatch):
    monkeypatch.setattr(toolkits_module, "CHECK_S", 0.05)
    file = tmp_path / "goals.safetensors"
    named = tmp_path / "models.yaml"
    named.write_text(json.dumps({"models": {"goals": {"source": f"head:{file}"}}}))
    jobs = msgspec.structs.replace(DEFAULTS.jobs, models="bundled", models_file=str(named), model_ttl_s=0)

    async def main(sandbox):
        made = LocalToolkits(msgspec.structs.replace(DEFAULTS, jobs=jobs), sandbox)
        first = write(file, 1)
        old = await made.get("bundled", ("goals",))
        assert old.added["goals"].space == first
        assert (await made.get("bundled", ("goals",))).engine is old.engine
        second = write(file, 2)
        new = await made.get("bundled", ("goals",))
        assert (new.added["goals"].space, old.added["goals"].space) == (second, first)
        assert new.encoder is old.encoder, "what did not change is there once"
        await old.check()
        assert [report.space for report in made.reports() if report.name == "goals"] == [second]
        threads = old.engine._batchers["goals"]._threads
        del old
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0.01)
        # Where it is gone there is nothing to go over to.
        file.unlink()
        assert (await made.get("bundled", ("goals",))).engine is new.engine
        assert await made.close()

    with Sandbox(DEFAULTS.worker) as sandbox:
        asyncio.run(asyncio.wait_for(main(sandbox), 120))


@pytest.mark.parametrize("more", [{}, {"linger_s": 5.0}], ids=["the-same", "another-setting"])
def test_an_engine_that_is_deployed_again_goes_over_to_it(more, tmp_path):
    file = tmp_path / "goals.safetensors"
    config = {"models": {"bundled": {"dtype": "float32"}, "goals": {"source": f"head:{file}"}}}

    async def main():
        first = write(file, 1)
        engine = EngineReplica("default", "one")
        try:
            await engine.reconfigure(config)
            await engine.reconfigure(config)
            assert spaces(described(engine)) == [first]
            encoder = engine._generations.current.models.networks.loaded["bundled"].model
            second = write(file, 2)
            found = await swapped(engine, config | more)
            assert found.failure is None
            assert spaces(found)[0] == second
            assert engine._generations.current.models.networks.loaded["bundled"].model is encoder
        finally:
            await engine.close()

    asyncio.run(asyncio.wait_for(main(), 120))


def spaces(description) -> list[str]:
    """Of the heads, newest first."""
    return [one.info.space for found in description.generations for one in found.models if one.name == "goals"]


def test_which_files_stand_behind_a_name(tmp_path):
    for name in ("x.safetensors", "labels.txt", "open_clip_config.json"):
        (tmp_path / name).write_text("1")
    labels = {"labels": str(tmp_path / "labels.txt")}
    sources = {
        f"head:{tmp_path}/x.safetensors": {},
        f"ViT-B-32@{tmp_path}/x.safetensors": {},
        f"local-dir:{tmp_path}": {},
        f"classifier:resnet18@{tmp_path}/x.safetensors": labels,
        "classifier:resnet18/random": labels,
    }
    before = [stamp(source, options) for source, options in sources.items()]
    assert [len(one) for one in before] == [1, 1, 2, 2, 1]
    for name in ("x.safetensors", "labels.txt"):
        os.utime(tmp_path / name, ns=(1, 1))
    assert all(changed(*pair) for pair in zip(before, [stamp(*one) for one in sources.items()], strict=True))
    (tmp_path / "x.safetensors").unlink()
    assert not changed(before[0], stamp(f"head:{tmp_path}/x.safetensors", {}))
    for source in ("bundled", "ViT-B-32/openai", "package.module:Class", "greenery"):
        assert stamp(source, {}) == ()
