"""Models that look on besides, as jobs and the command line get them: by names, in this process and in the graph."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest

from models import trial
from models.base import Needs
from models.catalog import load
from pipeline.analyze import analyze
from pipeline.errors import InvalidSettings, InvalidSpec, ModelUnavailable
from pipeline.rescore import rescore
from pipeline.sandbox.client import Sandbox
from pipeline.spec import AnalysisSpec, SegmentSpec, check
from pipeline.synthesis import Encoding, write_video
from pipeline.toolkit import EMBEDDING
from serving.beside import all_added
from serving.graph.args import ModelConfig
from serving.graph.engine import EngineReplica
from serving.local import local_toolkit
from serving.models_bench_measure import Measured
from serving.models_info import card_of
from serving.named_models import allowed, load_any, named_models
from serving.settings import DEFAULTS
from serving.toolkits import LocalToolkits
from tests.serving.beside_models import Turned
from tests.serving.commands import here
from tests.serving.graph.handles import Handle
from tests.serving.graph.reports import same, toolkits
from tests.serving.test_cli import scene

MODELS = "tests.serving.beside_models"


def entries(space: str) -> dict:
    """What a file of models, or a Serve YAML, says."""
    return {
        "light": {"source": f"{MODELS}:Brightness", "options": {"threshold": 0.7, "name": "brightness-2"}},
        "sees": {"source": f"{MODELS}:Sees", "options": {"space": space}},
        "stranger": {"source": f"{MODELS}:Sees", "options": {"space": "another"}},
        "poor": {"source": f"{MODELS}:Poor", "options": {"how": "raises", "above": 0.52, "fps": 5.0}},
    }


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Ten seconds: five of a bright scene, five of a darker one."""
    frames = (scene(0 if n < 50 else 1, n / 10) // (1 if n < 50 else 3) for n in range(100))
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", frames, fps=10, encoding=Encoding(gop=20))


@pytest.fixture(scope="module")
def space() -> str:
    return load("bundled", "cpu").model.info.space


@asynccontextmanager
async def local(models, tmp_path):
    """Models of this process."""
    file = tmp_path / "models.yaml"
    file.write_text(json.dumps({"models": models}))
    jobs = msgspec.structs.replace(DEFAULTS.jobs, models="bundled", models_file=str(file))
    with Sandbox(DEFAULTS.worker) as sandbox:
        made = LocalToolkits(msgspec.structs.replace(DEFAULTS, jobs=jobs), sandbox)
        yield made
        assert await made.close()


@asynccontextmanager
async def graph(models, tmp_path):
    """An engine behind a handle."""
    engine = EngineReplica("default", "one")
    try:
        # A head that no model here has vectors for would keep the others from being loaded.
        await engine.reconfigure({"models": {"bundled": {}, **{k: v for k, v in models.items() if k != "stranger"}}})
        async with toolkits(Handle({"one": engine})) as made:
            yield made
    finally:
        await engine.close()


@pytest.mark.parametrize("kind", [local, graph])
def test_a_job_has_several_models_on_one_decode(kind, film, space, tmp_path):
    weights = {"motion": 1.0, "light": 3.0}
    spec = AnalysisSpec(
        model="bundled",
        models=("light", "sees", "poor"),
        segments=SegmentSpec(weights=weights, max_segments=1, max_s=4),
    )

    async def main():
        async with kind(entries(space), tmp_path) as made:
            toolkit = await made.get("bundled", spec.models)
            report = await analyze(film, check(spec), toolkit)
            plain = await analyze(film, AnalysisSpec(model="bundled"), await made.get("bundled"))
            with pytest.raises(ModelUnavailable, match="no_such"):
                await made.get("bundled", ("no_such",))
            with pytest.raises(ModelUnavailable, match="cannot be what an analysis is made with"):
                await made.get("light")
            return report, plain, {one.name: one for one in made.reports()}

    report, plain, said = asyncio.run(main())
    assert [one.asked for one in report.models] == ["bundled", "light", "sees", "poor"]
    bundled, light, sees, _ = report.models
    assert (bundled.kind, light.kind, light.name, light.needs_space) == ("embedding", "scores", "brightness-2", None)
    assert (sees.needs_space, sees.space != bundled.space) == (space, True)
    tags = {tag.label: tag for tag in report.tags if tag.source.version == light.space}
    assert set(tags) == {"bright", "dark", "light"}
    assert tags["bright"].ranges[0].start_s == 0.0
    assert tags["bright"].ranges[0].end_s == pytest.approx(5.0, abs=0.6)
    assert tags["dark"].ranges[0].start_s == pytest.approx(5.0, abs=0.6)
    assert [tag.label for tag in report.tags if tag.source.version == sees.space] == ["first axis"]
    # A segment is where the signal that weighs most is high.
    assert report.segments[0].end_s <= 5.5
    assert report.segments[0].signals["light"] > 0.5
    codes = [notice.code for notice in report.warnings]
    assert codes.count("model_failed") == 1
    assert "model_needs_more" in codes
    # All else is as without them.
    assert plain.features.embeddings == report.features.embeddings
    assert plain.shots == report.shots
    assert said["light"].kind == "scores"
    assert said["bundled"].kind == "embedding"
    # It can be scored again, by the same signal.
    again = rescore(report, SegmentSpec(weights={"light": 1.0}, max_segments=1, max_s=4))
    assert again.segments[0].signals.keys() == {"light"}
    with pytest.raises(InvalidSpec, match="unknown signal light"):
        rescore(plain, SegmentSpec(weights={"light": 1.0}))


def test_both_give_the_same(film, space, tmp_path):
    spec = AnalysisSpec(model="bundled", models=("light", "sees"))

    async def report_of(kind):
        async with kind(entries(space), tmp_path) as made:
            return await analyze(film, spec, await made.get("bundled", spec.models))

    same(asyncio.run(report_of(graph)), asyncio.run(report_of(local)))


@pytest.mark.parametrize("kind", [local, graph])
@pytest.mark.parametrize("asked", [("deep", "turned", "colour"), ("colour", "turned", "deep")])
def test_heads_read_others_however_a_job_and_a_file_name_them(kind, asked, film, tmp_path):
    each = {
        "deep": {"source": f"{MODELS}:Sees", "options": {"space": "turned"}},
        "turned": {"source": f"{MODELS}:Turned"},
        "colour": {"source": f"{MODELS}:Vectors"},
    }

    async def main():
        async with kind({name: each[name] for name in asked}, tmp_path) as made:
            spec = AnalysisSpec(model="bundled", models=asked)
            return await analyze(film, spec, await made.get("bundled", asked))

    report = asyncio.run(main())
    assert "model_failed" not in [notice.code for notice in report.warnings]
    assert "first axis" in [tag.label for tag in report.tags]


def test_one_that_runs_elsewhere_than_it_was_asked_to_is_told(monkeypatch):
    monkeypatch.setattr(trial, "require_sound", lambda *_: None)
    config = ModelConfig(source=f"{MODELS}:OnAGpu", device="cpu")
    loaded = load_any(config, "mine")
    assert [(one.code, one.message) for one in loaded.notices] == [
        ("other_device", "mine was to run on cpu and runs on cuda:0, as it says of itself.")
    ]
    card = card_of(Measured("mine", loaded, 0.0, None, None))
    assert (card.device, card.placed) == ("cuda:0", "so it says of itself")
    assert load_any(ModelConfig(source=f"{MODELS}:Brightness", device="cpu"), "mine").notices == ()


def test_too_little_memory_for_a_batch_is_told_once_it_shows():
    with local_toolkit("bundled") as toolkit:
        assert toolkit.later() == ()
        toolkit.engine._batchers[EMBEDDING]._batch_size = 4
        (notice,) = toolkit.later()
    assert notice.code == "smaller_batches"
    assert notice.message.startswith("bundled finds too little memory for 32 frames at once, and is given 4")


def test_heads_that_read_each_other_are_refused():
    model, other = Turned(), Turned()
    other.info = replace(model.info, space="vectors", needs=Needs("turned"))
    with pytest.raises(ModelUnavailable, match="made of its own"):
        all_added({"one": model, "two": other}, "encoder", replace(model.info, space="another", needs=Needs()))


def test_a_head_is_run_on_its_own_space_alone(space, tmp_path):
    async def main():
        async with local(entries(space), tmp_path) as made:
            with pytest.raises(
                ModelUnavailable, match=f"reads vectors of the space another, not of bundled \\({space}\\)"
            ):
                await made.get("bundled", ("stranger",))

    asyncio.run(main())


def test_an_engine_with_a_head_for_nobody_is_not_taken_over(space):
    async def main():
        engine = EngineReplica("default", "one")
        try:
            with pytest.raises(ModelUnavailable, match="reads vectors of the space another"):
                await engine.reconfigure({"models": {"bundled": {}, "stranger": entries(space)["stranger"]}})
        finally:
            await engine.close()

    asyncio.run(main())


def test_a_model_that_several_jobs_share_is_there_once(space, tmp_path):
    async def main():
        async with local(entries(space), tmp_path) as made:
            one = await made.get("bundled")
            two = await made.get("bundled", ("light",))
            assert one.engine is not two.engine
            assert one.encoder is two.encoder

    asyncio.run(main())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("models: {a: {sauce: x}}", "there is no sauce; is source meant?"),
        ("- a", "holds no mapping"),
        ("models: {", "cannot be read"),
        ("models: {}", "models"),
        ("models: {motion: {source: bundled}}", "motion is the name of a signal"),
    ],
)
def test_a_file_of_models_that_cannot_be_is_refused_with_the_place(content, told, tmp_path):
    file = tmp_path / "models.yaml"
    file.write_text(content)
    jobs = msgspec.structs.replace(DEFAULTS.jobs, models_file=str(file))
    with pytest.raises(InvalidSettings, match=told) as refused:
        named_models(msgspec.structs.replace(DEFAULTS, jobs=jobs))
    assert "\n" not in str(refused.value)
    assert str(file) in str(refused.value)


def test_jobs_may_ask_for_all_that_is_named(space, tmp_path):
    file = tmp_path / "models.yaml"
    file.write_text(json.dumps({"models": entries(space)}))
    jobs = msgspec.structs.replace(DEFAULTS.jobs, models="auto,bundled", models_file=str(file))
    assert allowed(msgspec.structs.replace(DEFAULTS, jobs=jobs))[:3] == ("auto", "bundled", "light")


@pytest.mark.parametrize(
    ("spec", "pointer", "told"),
    [
        (AnalysisSpec(models=("",)), "/models/0", "1 to 1000 characters"),
        (AnalysisSpec(models=("a", "a")), "/models/1", "occurs twice"),
        (AnalysisSpec(model="a", models=("a",)), "/models/0", "the model itself"),
        (AnalysisSpec(models=("a", "quality")), "/models/1", "name of a signal"),
        (AnalysisSpec(models=tuple(map(str, range(17)))), "/models", "at most 16"),
        (AnalysisSpec(models=("a",), segments=SegmentSpec(weights={"b": 1.0})), "/segments/weights", "known: .*, a"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_its_place(spec, pointer, told):
    with pytest.raises(InvalidSpec, match=told) as refused:
        check(spec)
    assert refused.value.pointer == pointer


def test_the_command_line_has_them_by_name_and_by_class(film, space, tmp_path):
    file = tmp_path / "models.yaml"
    file.write_text(json.dumps({"models": entries(space)}))
    out = tmp_path / "report.json"
    done = here(
        "analyze", film, "--model", "bundled", "--with", "light", "--with", f"{MODELS}:Brightness", "--weights",
        "light=2", "--reuse", "--json", out, AUTOMATIONS_JOBS__MODELS_FILE=file,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert [model["name"] for model in report["models"]] == ["bundled", "brightness-2", "brightness"]
    assert report["decode"]["frames_reused"] > 0
    assert "light" in report["features"]["signals"]
    assert any(notice["code"] == "signal_without_weight" for notice in report["warnings"])
    refused = here("analyze", film, "--model", "bundled", "--with", "no_such_package.models:Thing")
    assert refused.returncode == 2
    assert "there is no module no_such_package" in refused.stderr


def test_the_file_that_comes_with_the_project_can_be_used():
    jobs = msgspec.structs.replace(DEFAULTS.jobs, models_file="configs/models.yaml")
    assert list(named_models(msgspec.structs.replace(DEFAULTS, jobs=jobs))) == ["small"]
