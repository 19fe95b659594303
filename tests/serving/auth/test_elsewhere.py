"""What is felt at other processes, and what is left where one dies."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import make_url

from serving.db import failpoints
from tests.serving.auth import people
from tests.serving.auth.people import refused

ROOT = Path(__file__).parents[3]


class Processes:
    """Starts APIs in processes of their own, one after the other."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def _said(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    @asynccontextmanager
    async def another(self, url: str, point: str = ""):
        """A client of another process over the same database, which dies at this point."""
        port = await asyncio.to_thread(self._said, f"{make_url(url).database} {point}")
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=False) as client:
                yield client
        finally:
            code = await asyncio.to_thread(self._said, "end")
            assert (code == failpoints.EXIT) == bool(point), code


@pytest.fixture(scope="module")
def processes(server, tmp_path_factory) -> Iterator[Processes]:
    command = (sys.executable, "-m", "tests.serving.uploads.crashing", server, str(tmp_path_factory.mktemp("apis")))
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Processes(process)
        assert process.stdin is not None
        process.stdin.close()


async def _felt_s(client: httpx.AsyncClient, headers: dict[str, str], path: str, status: int) -> float:
    """Until when a path is still answered otherwise, seconds from now, to who never stops asking. What counts is when
    it was asked, not when it was answered, which on a busy machine is later."""
    began = time.monotonic()
    last_s = 0.0
    while True:
        asked = time.monotonic()
        if (await client.get(path, headers=headers)).status_code == status:
            return last_s
        last_s = asked - began
        assert last_s < 10
        await asyncio.sleep(0.01)


def test_it_is_felt_at_another_process_within_a_second(call, url, processes):
    async def felt(api, other: httpx.AsyncClient, what: str) -> None:
        client = await people.signed_in(api, role="admin")
        headers = {"Authorization": client.headers["Authorization"]}
        assert (await other.get("/v1/users", headers=headers)).status_code == 200
        if what == "ended":
            out = await api.nobody.post("/v1/auth/logout", json={"refresh_token": client.tokens["refresh_token"]})
            assert out.status_code == 204
        else:
            change = {"disabled": True} if what == "disabled" else {"role": "viewer"}
            assert (await api.a.patch(f"/v1/users/{client.user.id}", json=change)).status_code == 200
        assert await _felt_s(other, headers, "/v1/users", 403 if what == "demoted" else 401) < 1.0

    async def body(api):
        await people.made(api.world.database, role="admin")
        async with processes.another(url) as other:
            await asyncio.gather(*(felt(api, other, what) for what in ("disabled", "demoted", "ended")))

    call(body)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_dying_while_somebody_signs_in_leaves_them_free_to_sign_in(call, url, processes, moment):
    async def body(api):
        user = await people.made(api.world.database)
        async with processes.another(url, f"session.create:{moment}") as dying:
            with pytest.raises(httpx.TransportError):
                await people.sign_in(dying, user)
        assert len(await api.world.sql("SELECT 1 FROM session")) == (moment == "after")
        assert (await people.sign_in(api.nobody, user)).status_code == 200

    call(body)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_dying_during_a_refresh_keeps_the_old_token_or_ends_the_session(call, url, processes, moment):
    async def body(api):
        client = await people.signed_in(api)
        token = client.tokens["refresh_token"]
        async with processes.another(url, f"session.refresh:{moment}") as dying:
            with pytest.raises(httpx.TransportError):
                await people.refresh(dying, token)
        again = await people.refresh(api.nobody, token)
        if moment == "before":
            assert again.status_code == 200
        else:
            # Nobody can tell the one whose answer was lost from a thief.
            refused(again, 401, "unauthenticated")
        assert (await people.sign_in(api.nobody, client.user)).status_code == 200

    call(body)


def test_dying_while_a_stolen_token_is_found_out_is_no_way_around_it(call, url, processes):
    async def body(api):
        client = await people.signed_in(api)
        token = client.tokens["refresh_token"]
        newer = (await people.refresh(api.nobody, token)).json()["refresh_token"]
        async with processes.another(url, "session.reused:after") as dying:
            with pytest.raises(httpx.TransportError):
                await people.refresh(dying, token)
        refused(await people.refresh(api.nobody, newer), 401, "unauthenticated")

    call(body)
