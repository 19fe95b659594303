"""Models of engines, as workers say they are: over the API, and as the command line shows them."""

import asyncio
from contextlib import nullcontext

import msgspec
import pytest
from typer.testing import CliRunner

from serving import checking, models_cli
from serving.answers import ModelSeen
from serving.models_cli import engines_of, lines
from serving.workers import ModelReport, Presence
from tests.serving.api.conftest import call, url

__all__ = ["call", "url"]


def report(name: str, engine: str | None, **more) -> ModelReport:
    """Of a model that is ready, and was just checked."""
    fields = {
        "state": "ready",
        "stands_for": f"net-{engine}",
        "version": "v1",
        "space": f"space-{engine}",
        "dim": 4,
        "device": "cpu",
        "dtype": "float32",
        "loaded_ago_s": 60.0,
        "checked_ago_s": 1.0,
        "error": None,
    }
    return ModelReport(name=name, engine=engine, **(fields | more))


CANARY = (
    report("auto", "default", generation=3, share=0.9, replicas=2, swap_error="no weights"),
    report("auto", "canary", generation=1, share=0.1, replicas=1, coming="net-2"),
    report("big", "canary", state="failed", error="no engine answers", checked_ago_s=None),
)


#: What is known of a model that was not loaded yet.
NOTHING = dict.fromkeys(("stands_for", "version", "space", "dim", "device", "dtype", "loaded_ago_s", "checked_ago_s"))


async def says(api, worker: str, models: tuple[ModelReport, ...]) -> None:
    presence = Presence(
        api.world.database, worker, slots=2, busy=lambda: 0, models=lambda: models, changed=asyncio.Event()
    )
    await presence.beat()


def test_each_engine_that_has_a_model_is_told(call):
    async def test(api) -> None:
        await says(api, "wrk_1", CANARY)
        await says(api, "wrk_2", CANARY)
        auto, big = (await api.a.get("/v1/models")).json()
        assert (auto["name"], auto["state"], auto["loaded"]) == ("auto", "ready", 2)
        assert [(one["worker_id"], one["engine"], one["share"]) for one in auto["workers"]] == [
            ("wrk_1", "default", 0.9),
            ("wrk_1", "canary", 0.1),
            ("wrk_2", "default", 0.9),
            ("wrk_2", "canary", 0.1),
        ]
        first, second = auto["workers"][:2]
        assert (first["generation"], first["replicas"], first["swap_error"]) == (3, 2, "no weights")
        assert (second["coming"], second["swap_error"]) == ("net-2", None)
        assert (big["name"], big["state"], big["loaded"]) == ("big", "unavailable", 0)
        assert (await api.a.get("/v1/models/big")).json() == big
        # The settings' own names are those of workers that have models themselves; here are none.
        assert (await api.a.get("/v1/models/bundled")).status_code == 404

    call(test)


def test_a_model_whose_engine_starts_when_it_is_needed_is_asleep_until_then(call, monkeypatch):
    monkeypatch.setattr(checking, "TRUSTED_S", 0.0)
    rare = report("rare", "rare", state="asleep", replicas=None, **NOTHING)

    async def test(api) -> None:
        async def told() -> dict:
            return (await api.a.get("/v1/models/rare")).json()

        await says(api, "wrk_1", (rare,))
        await says(api, "wrk_2", (rare,))
        found = await told()
        assert (found["state"], found["loaded"]) == ("asleep", 0)
        assert [(one["state"], one["error"], one["engine"]) for one in found["workers"]] == [
            ("asleep", None, "rare")
        ] * 2
        assert (await api.nobody.get("/readyz")).status_code == 200
        # Who has a job there knows more of it.
        await says(api, "wrk_2", (report("rare", "rare", state="loading", replicas=0, **NOTHING),))
        assert (await told())["state"] == "loading"
        assert (await api.nobody.get("/readyz")).status_code == 200
        await says(
            api, "wrk_2", (report("rare", "rare", state="failed", replicas=0, **NOTHING | {"error": "no card"}),)
        )
        assert (await told())["state"] == "unavailable"
        assert (await api.nobody.get("/readyz")).status_code == 503

    call(test)


@pytest.mark.parametrize("more", [(), (report("auto", None),)], ids=["nobody is there", "a worker of another kind"])
def test_names_of_the_settings_count_where_workers_may_have_models_themselves(call, more):
    async def test(api) -> None:
        if more:
            await says(api, "wrk_1", CANARY)
            await says(api, "wrk_2", more)
        names = [model["name"] for model in (await api.a.get("/v1/models")).json()]
        assert names == ["auto", "bundled", *(["big"] if more else [])]

    call(test)


def seen(*workers: dict, state: str = "ready") -> ModelSeen:
    """As the command line has it."""
    plain = dict.fromkeys(("stands_for", "version", "space", "device", "dtype", "checked_at", "error"))
    return msgspec.convert(
        {"name": "auto", "state": state, "workers": [plain | one for one in workers]}, ModelSeen, strict=False
    )


def test_of_what_several_workers_say_of_an_engine_the_best_and_newest_counts():
    at = "2026-11-26T01:0{}:00Z"
    model = seen(
        {"worker_id": "1", "state": "ready", "engine": "default", "checked_at": at.format(1), "generation": 1},
        {"worker_id": "2", "state": "ready", "engine": "default", "checked_at": at.format(2), "generation": 2},
        {"worker_id": "3", "state": "unavailable", "engine": "default", "checked_at": at.format(3), "error": "cut off"},
        {"worker_id": "3", "state": "unavailable", "engine": "canary", "error": "cut off"},
        {"worker_id": "4", "state": "asleep", "engine": "canary"},
        {"worker_id": "4", "state": "asleep", "engine": "rare"},
    )
    assert [(one.engine, one.state, one.generation) for one in engines_of(model)] == [
        ("canary", "unavailable", None),
        ("default", "ready", 2),
        ("rare", "asleep", None),
    ]


@pytest.mark.parametrize(("state", "code"), [("ready", 0), ("asleep", 0), ("loading", 1), ("unavailable", 1)])
def test_the_command_fails_where_a_model_neither_computes_nor_is_started_when_it_is_needed(monkeypatch, state, code):
    class Client:
        def models(self) -> tuple[ModelSeen, ...]:
            return seen(), seen({"worker_id": "1", "state": state, "engine": "rare"}, state=state)

    monkeypatch.setattr(models_cli, "connected", lambda server, key: nullcontext(Client()))
    result = CliRunner().invoke(models_cli.models, ["status"])
    assert result.exit_code == code
    assert f"rare    {state}" in result.stdout


def test_what_goes_wrong_is_a_line_of_its_own():
    model = seen(
        {"worker_id": "1", "state": "ready", "engine": "default", "swap_error": "no weights", "coming": "net-2"},
        {"worker_id": "2", "state": "unavailable", "engine": None, "error": "out of memory"},
    )
    assert list(lines((model,))) == [
        "auto at a worker: out of memory",
        "auto at default: net-2 is being loaded to replace it",
        "auto at default: what was to replace it failed: no weights",
    ]
