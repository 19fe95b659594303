"""The short form of `drill_swaps`: a real server whose model is replaced while clients have jobs done."""

import asyncio
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest

from serving.jobs import submission
from serving.jobs.submission import JobRequest
from tests.serving.graph import making
from tests.serving.graph.drill_load import Failure, Posted
from tests.serving.graph.drill_server import film, serving
from tests.serving.graph.drill_swaps import MODEL, Plan
from tests.serving.graph.drill_swaps import run as drilled
from tests.serving.graph.drill_swaps_count import counted
from tests.serving.graph.drill_swaps_load import Crowd, Result, Vector
from tests.serving.graph.drill_swaps_seen import FAILED, Shown, Swap, Unready, trouble
from tests.serving.graph.drill_swaps_truth import Truth
from tests.serving.graph.test_drill import happened
from tests.serving.jobs.conftest import run, specs, url

__all__ = ["run", "url"]

#: When the model of these tests is replaced, by the clock of the database, and by `time.monotonic`.
NOON, SHOWN_AT = datetime(2026, 1, 1, 12, tzinfo=UTC), 10.0


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> tuple[Truth, list[str]]:
    """Of one short film, and the spaces of two models."""
    folder = tmp_path_factory.mktemp("truth")
    truth = Truth((film(folder, 0, pictures=24),))
    return truth, [truth.add(making.variant(folder / "models", number)).space for number in range(2)]


def test_broken_ones_come_in_between():
    assert list(Plan(4, ("a", "b")).kinds()) == ["good", "good", "a", "good", "good", "b"]
    assert list(Plan(2, ("a", "b", "c")).kinds()) == ["good", "a", "good", "b", "c"]
    assert Counter(Plan().kinds()) == {"good": 10} | dict.fromkeys(Plan().broken, 1)


def test_what_is_not_as_it_has_to_be_is_counted(run, truth):
    """Six jobs: by the old model though posted after the swap, by two models, with another model's vectors, by the old
    model in the new one's name, by one that was never deployed, and one that the old model began and ended. Only the
    last is as it has to be."""
    truth, (old, new) = truth

    async def test(world):
        reports = {space: await truth.report(space, 0) for space in (old, new)}
        (model,) = reports[new].models
        nobody = msgspec.structs.replace(model, space="0" * 16, version="0" * 12)
        features = msgspec.structs.replace(reports[new].features, embeddings=reports[old].features.embeddings)
        named = msgspec.structs.replace(reports[old].features.embeddings, space=new)
        forged = msgspec.structs.replace(
            reports[old],
            models=reports[new].models,
            features=msgspec.structs.replace(reports[old].features, embeddings=named),
            tags=tuple(
                msgspec.structs.replace(tag, source=msgspec.structs.replace(tag.source, version=new))
                for tag in reports[old].tags
            ),
        )
        found = [
            reports[old],
            msgspec.structs.replace(reports[new], models=(model, nobody)),
            msgspec.structs.replace(reports[new], features=features),
            forged,
            msgspec.structs.replace(reports[new], models=(nobody,)),
            reports[old],
        ]
        async with httpx.AsyncClient() as client:
            crowd = Crowd((client, client), truth.films, 1.0)
            for number, (spec, report) in enumerate(zip(specs(len(found)), found, strict=True)):
                made = await submission.submit(world.database, "a", [JobRequest(video_id="vid_a", spec=spec)])
                across = number == len(found) - 1
                job = Posted(made[0].job.id, 0, 0, SHOWN_AT + (-1 if across else 1), "succeeded", SHOWN_AT + 2)
                crowd.jobs.append(job)
                begun = NOON + timedelta(seconds=-1 if across else 1)
                crowd.results.append(Result(job, 0, begun, begun + timedelta(seconds=2), report, "computed"))
                await happened(world, job.id, 2, "succeeded")
            crowd.failures.append(Failure(15.0, "POST /v1/embeddings", "503"))
            vector = tuple(truth.models[old].model.embed_text(["a red circle"])[0].tolist())
            crowd.vectors += [Vector(1.0, old, vector), Vector(2.0, new, vector), Vector(3.0, "x", vector)]
            away = [Unready(shown(truth, old, 1), 1.0, until) for until in (4.0, 20.0)]
            left = ["something is left"]
            counts = await counted(crowd, [good(truth, old, new)], away, truth, world.database, left)
        assert (counts.jobs, counts.lost, counts.duplicated, counts.failed_requests) == (6, 0, 0, 1)
        # One by two models, and one of which nobody knows anything, differ, too.
        assert (counts.stale, counts.mistagged, counts.different) == (2, 3, 4)
        assert (counts.unready, counts.unready_worst_s) == (2, 19.0)
        (row,) = counts.swaps
        assert (row.under_way, row.ended_with_the_old, row.results) == (1, 1, 3)
        words = Counter(line.split(":")[0] for line in counts.wrong)
        assert words["something is left"] == 1
        assert words["not ready for 19.0 s"] == 1
        assert words["a text's vector"] == 2
        assert words["client 1 has no result"] == 1
        assert words["another report"] == 4
        assert words["the API"] == 1
        assert not [line for line in counts.wrong if line.startswith("swap ")]

    run(test)


def test_a_swap_that_is_as_it_has_to_be_is_no_trouble(truth):
    truth, (old, new) = truth
    for swap in (good(truth, old, new), broken(truth, old)):
        assert list(trouble(swap)) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"posted": 0}, "nobody waited"),
        ({"after": None}, "not over in time"),
        ({"traffic_s": None}, "not over in time"),
        ({"code": 1}, "ended with 1"),
        ({"after": {"state": "unavailable"}}, "unavailable"),
        ({"after": {"coming": "local-dir:x"}}, "local-dir:x"),
        ({"after": {"generation": 7}}, "should serve"),
        ({"after": {"space": "0" * 16}}, "should serve"),
        ({"after": {"version": "0" * 12}}, "should serve"),
        ({"told": "nothing"}, "models status"),
    ],
)
@pytest.mark.parametrize("kind", ["good", "broken"])
def test_a_swap_that_is_not_is_told(truth, kind, change, word):
    truth, (old, new) = truth
    swap = good(truth, old, new) if kind == "good" else broken(truth, old)
    assert [line for line in trouble(changed(swap, change)) if word in line]


@pytest.mark.parametrize("error", [None, "it has no file"])
def test_a_broken_one_whose_cause_is_not_shown_is_told(truth, error):
    truth, (old, _) = truth
    (line,) = trouble(changed(broken(truth, old), {"after": {"swap_error": error}, "told": f"{FAILED}{error}"}))
    assert line.startswith("its cause should speak of 'holds no numbers'")


def test_a_good_one_that_is_said_to_have_failed_is_told(truth):
    truth, (old, new) = truth
    swap = good(truth, old, new)
    assert [line for line in trouble(changed(swap, {"told": f"{swap.told} {FAILED}"})) if "models status" in line]
    assert "it is said to have failed: so" in trouble(changed(swap, {"after": {"swap_error": "so"}}))


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_models_are_replaced_while_clients_have_jobs_done():
    # Short, for sockets lie deep in it.
    with (
        tempfile.TemporaryDirectory(prefix="drill-") as folder,
        serving(Path(folder), period_s=0, model=MODEL) as server,
    ):
        plan = Plan(good=2, broken=("cut-off", "not-numbers"), clients=3)
        found = asyncio.run(drilled(plan, server, Path(folder)))
    assert found.wrong == []
    assert [row.kind for row in found.swaps] == ["good", "cut-off", "good", "not-numbers"]
    assert len(found.reports) == 3
    assert sum(found.reports.values()) == found.jobs
    assert (found.lost, found.failed_requests, found.mistagged, found.different, found.stale) == (0, 0, 0, 0, 0)
    assert found.requests > found.jobs > 0


def shown(truth: Truth, space: str, generation: int, error: str | None = None) -> Shown:
    version = truth.models[space].model.info.version
    return Shown("ready", version, space, generation, NOON, None, None, error)


def good(truth: Truth, old: str, new: str) -> Swap:
    after = shown(truth, new, 2)
    ends = {"deployed_s": 2.0, "shown_s": 4.0, "traffic_s": 5.0, "after": after, "told": after.version, "code": 0}
    return Swap("good", shown(truth, old, 1), SHOWN_AT - 4.0, 2, space=new, version=after.version, **ends)


def broken(truth: Truth, old: str) -> Swap:
    after = shown(truth, old, 1, "ValueError: an answer that holds no numbers")
    told = f"bundled at default: {FAILED}{after.swap_error}"
    ends = {"deployed_s": 2.0, "shown_s": 4.0, "traffic_s": 5.0, "after": after, "told": told, "code": 0}
    return Swap("not-numbers", shown(truth, old, 1), SHOWN_AT - 4.0, 2, says="holds no numbers", **ends)


def changed(swap: Swap, change: dict) -> Swap:
    """`after` of a dict: only those fields of it."""
    after = change.get("after")
    if isinstance(after, dict):
        change = change | {"after": msgspec.structs.replace(swap.after, **after)}
    return replace(swap, **change)
