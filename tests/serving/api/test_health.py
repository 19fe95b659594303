"""Ready or not, and which models there are, over HTTP."""

import asyncio
import http.server
import socket
import threading

import msgspec
import pytest

from serving import checking, readiness
from serving.db import migrate
from serving.storage.store import Store
from serving.workers import Presence
from tests.serving.api.test_front_door import _problem
from tests.serving.jobs.conftest import run
from tests.serving.jobs.test_workers import FAILED, LOADING, READY
from tests.serving.sealing import store_at

__all__ = ["run"]


async def _worker(api, *models, name="wrk_1") -> None:
    presence = Presence(
        api.world.database, name, slots=2, busy=lambda: 0, models=lambda: models, changed=asyncio.Event()
    )
    await presence.beat()


def test_the_api_is_ready_before_any_engine_is(call, monkeypatch):
    monkeypatch.setattr(checking, "TRUSTED_S", 0.0)

    async def body(api):
        async def ready(**params) -> tuple[int, dict]:
            answer = await api.nobody.get("/readyz", params=params)
            return answer.status_code, answer.json()["checks"]

        everything = {"database": "ok", "migrations": "ok", "store": "ok", "keys": "ok"}
        assert await ready(part="api") == (200, everything)
        status, checks = await ready()
        assert (status, checks["engine"].startswith("no worker was heard of")) == (503, True)
        await _worker(api, LOADING)
        assert await ready() == (503, everything | {"engine": "a worker is loading auto"})
        await _worker(api, FAILED)
        status, checks = await ready()
        assert (status, "holds no numbers" in checks["engine"]) == (503, True)
        await _worker(api, READY)
        assert await ready() == (200, everything | {"engine": "ok"})
        await api.world.change("UPDATE worker SET seen_at = now() - interval '16 s'")
        assert (await ready())[0] == 503
        assert await ready(part="api") == (200, everything)
        _problem(await api.nobody.get("/readyz", params={"part": "most"}), 400, "invalid_request")

    call(body)


def test_models_are_told_with_what_workers_say(call):
    async def body(api):
        async def models() -> dict:
            return {model["name"]: model for model in (await api.a.get("/v1/models")).json()}

        assert {name: model["state"] for name, model in (await models()).items()} == {
            "auto": "not_loaded",
            "bundled": "not_loaded",
        }
        await _worker(api, LOADING, FAILED)
        assert {name: model["state"] for name, model in (await models()).items()} == {
            "auto": "loading",
            "bundled": "unavailable",
        }
        await _worker(api, READY, name="wrk_2")
        bundled = (await models())["bundled"]
        assert (bundled["state"], bundled["loaded"]) == ("ready", 1)
        first, second = bundled["workers"]
        assert (first["worker_id"], first["state"]) == ("wrk_1", "unavailable")
        assert "no numbers" in first["error"]
        assert (second["state"], second["space"], second["dim"], second["device"]) == ("ready", "s", 64, "cpu")
        assert second["checked_at"] > second["loaded_at"]
        stale = msgspec.structs.replace(READY, checked_ago_s=200.0)
        await _worker(api, stale, name="wrk_2")
        assert (await models())["bundled"]["state"] == "unavailable"
        assert (await api.a.get("/v1/models/bundled")).json()["name"] == "bundled"
        _problem(await api.a.get("/v1/models/ViT-B-32/openai"), 404, "not_found")
        _problem(await api.a.get("/v1/models/ViT-B-32%2Fopenai"), 404, "not_found")

    call(body)


def test_who_started_it_is_told_when_it_is_ready(call, capsys, monkeypatch):
    monkeypatch.setattr(readiness, "PATIENCE_S", 0.0)
    monkeypatch.setattr(readiness, "EVERY_S", 0.02)
    told = ""

    async def body(api):
        nonlocal told
        ending = threading.Event()
        telling = asyncio.create_task(asyncio.to_thread(readiness.announce_ready, api.address, ending))

        async def heard(text: str) -> None:
            nonlocal told
            while text not in told:
                told += capsys.readouterr().out
                await asyncio.sleep(0.01)

        await asyncio.wait_for(heard("no worker was heard of"), 20)
        await _worker(api, LOADING)
        await asyncio.wait_for(heard("waiting   a worker is loading auto\n"), 20)
        await _worker(api, READY)
        await asyncio.wait_for(heard("ready     "), 20)
        await telling
        # Nor does it keep anybody who leaves before that.
        await api.world.change("DELETE FROM worker")
        telling = asyncio.create_task(asyncio.to_thread(readiness.announce_ready, api.address, ending))
        ending.set()
        await asyncio.wait_for(telling, 20)

    call(body)
    assert told.count("loading") == 1


@pytest.mark.parametrize("body", [b"<html>busy</html>", b"[]", b'{"checks": 1}', b'{"checks": {"a": 1}}', b""])
def test_an_answer_of_somebody_else_is_no_end_of_waiting(body):
    """A proxy stands before it."""

    class Busy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Busy) as there:
        threading.Thread(target=there.handle_request, daemon=True).start()
        assert "status 503" in (readiness._missing(f"http://127.0.0.1:{there.server_port}") or "")


def test_an_answer_that_is_no_http_is_none():
    with socket.create_server(("127.0.0.1", 0)) as there:

        def answer() -> None:
            connection, _ = there.accept()
            connection.recv(1 << 16)
            connection.sendall(b"220 mail.example.com\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        assert readiness._missing(f"http://127.0.0.1:{there.getsockname()[1]}") == ""


def test_strangers_hear_that_something_is_wrong_and_not_what(call, monkeypatch, caplog):
    monkeypatch.setattr(checking, "TRUSTED_S", 0.0)

    async def body(api):
        async def told() -> dict:
            # As through a proxy of this machine: from anywhere.
            answer = await api.nobody.get("/readyz", headers={"X-Forwarded-For": "203.0.113.1"})
            assert answer.status_code == 503
            return answer.json()["checks"]

        await _worker(api, FAILED)
        everything = {"database": "ok", "migrations": "ok", "store": "ok", "keys": "ok"}
        assert await told() == everything | {"engine": "no job can be done just now"}
        await api.world.change("UPDATE alembic_version SET version_num = 'older'")
        assert await told() == everything | {"migrations": "not up to date"}
        assert "older" in (await api.nobody.get("/readyz")).json()["checks"]["migrations"]

    call(body)
    assert "holds no numbers" in caplog.text
    assert "older" in caplog.text


def test_one_look_a_second_answers_everybody(run, tmp_path):
    async def body(world):
        looks = 0

        class Counted(Store):
            async def ready(self) -> None:
                nonlocal looks
                looks += 1
                await super().ready()

        checks = checking.Checks(world.database, Counted(tmp_path, store_at(tmp_path).keyring))
        found = await asyncio.gather(*(checks.found() for _ in range(50)))
        assert (looks, len({id(one) for one in found})) == (1, 1)
        assert await checks.found() is found[0]
        # Who leaves takes nobody along.
        checks._latest = None
        first, second = asyncio.create_task(checks.found()), asyncio.create_task(checks.found())
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).parts["store"] == "ok"
        assert looks == 2

    run(body)


def test_the_revision_that_is_needed_is_read_once():
    assert migrate.head() == migrate.head()
    assert migrate.head.cache_info().misses == 1
