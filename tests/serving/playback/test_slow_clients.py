"""A video's bytes over HTTP, to clients that are slow, leave, or may no longer."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing, suppress
from pathlib import Path

import httpx
import msgspec

from serving.api.sending import Pace
from serving.storage.store import Store
from tests.serving.api.conftest import SETTINGS, made_key, served
from tests.serving.jobs.conftest import World
from tests.serving.playback.conftest import content_of, uploaded, url_of
from tests.serving.sealing import store_at


class _Counted(Store):
    """Counts what is opened, bytes that are read, and readers that are at it."""

    opened_count = 0
    read_bytes = 0
    reading = 0

    async def read(self, what, key, start, stop) -> AsyncGenerator[bytes]:
        self.opened_count += 1
        self.reading += 1
        try:
            async with aclosing(super().read(what, key, start, stop)) as pieces:
                async for piece in pieces:
                    self.read_bytes += len(piece)
                    yield piece
        finally:
            self.reading -= 1


async def _until(holds, limit_s: float = 20.0) -> None:
    ends = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < ends
        await asyncio.sleep(0.02)


#: More than sockets and buffers ever hold on their way.
LARGE = 24 << 20


def _sending(url, tmp_path, body, **options) -> None:
    """Runs `async def body(client, store, connect)`; `connect()` asks for a large video, or a range of it and for
    more after it, and reads no more of it."""

    async def main() -> None:
        from serving.db.database import Database

        store = _Counted(tmp_path / "objects", store_at(tmp_path / "objects").keyring)
        settings = msgspec.structs.replace(SETTINGS, server=msgspec.structs.replace(SETTINGS.server, **options))
        database = Database(url)
        try:
            await World.made(database)
            headers = {"Authorization": f"Bearer {await made_key(database, 'a')}"}
            async with (
                served(url, store, settings) as address,
                httpx.AsyncClient(base_url=address, headers=headers, verify=False, timeout=30) as client,
            ):
                path = await url_of(client, await uploaded(client, content_of(LARGE)))

                async def connect(asked: str = "bytes=0-", more: str = "") -> socket.socket:
                    host, port = address.removeprefix("http://").split(":")
                    connection = socket.socket()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
                    connection.setblocking(False)
                    loop = asyncio.get_running_loop()
                    await loop.sock_connect(connection, (host, int(port)))
                    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nRange: {asked}\r\n\r\n{more}"
                    await loop.sock_sendall(connection, request.encode())
                    assert (await loop.sock_recv(connection, 1000)).startswith(b"HTTP/1.1 206")
                    return connection

                await body(client, store, connect)
        finally:
            await database.close()

    asyncio.run(main())


async def _rest(connection: socket.socket) -> int:
    """How many bytes come until the connection is cut off."""
    count, loop = 0, asyncio.get_running_loop()
    try:
        while part := await loop.sock_recv(connection, 1 << 20):
            count += len(part)
    except ConnectionResetError:
        return count
    raise AssertionError(f"it was closed in an orderly way, after {count} bytes")


def _held(port: int, clients: list[socket.socket]) -> int:
    """How many connections of these clients the other end still has, be it for what the system has yet to send."""
    named = {(port, client.getsockname()[1]) for client in clients}
    rows = (line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:])
    return len(named & {(int(row[1].split(":")[1], 16), int(row[2].split(":")[1], 16)) for row in rows})


def test_who_takes_nothing_has_nothing_read_for_them_and_who_leaves_ends_it(url, tmp_path):
    async def body(client, store, connect):
        connection = await connect()
        seen = -1
        while seen != store.read_bytes:
            seen = store.read_bytes
            await asyncio.sleep(0.3)
        # What is in sockets on the way, and two pieces.
        assert seen < LARGE // 2
        assert store.reading == _held(client.base_url.port, [connection]) == 1
        # Others are answered meanwhile.
        assert (await client.get("/v1/videos")).status_code == 200
        connection.close()
        await _until(lambda: store.reading == 0)
        assert store.read_bytes < LARGE

    _sending(url, tmp_path, body)


def test_it_ends_when_the_client_stalls_and_when_it_is_revoked(url, tmp_path):
    async def body(client, store, connect):
        with await connect() as connection:
            await _until(lambda: store.reading == 1)
            await _until(lambda: store.reading == 0)
            assert await _rest(connection) < LARGE
        path = (await client.get("/v1/videos")).json()["data"][0]["id"]
        with await connect() as connection:
            assert (await client.delete(f"/v1/videos/{path}/urls")).status_code == 204
            await asyncio.sleep(1.2)
            assert await _rest(connection) < LARGE
            await _until(lambda: store.reading == 0)

    _sending(url, tmp_path, body, stalled_s=1.5)


def test_whose_client_takes_nothing_has_no_connection_either(url, tmp_path, caplog):
    async def body(client, store, connect):
        logging.getLogger("uvicorn.error").addHandler(caplog.handler)
        clients: list[socket.socket] = []
        with ExitStack() as open_:
            # As many as may be, and again.
            for _ in range(2):
                clients.extend([open_.enter_context(await connect()) for _ in range(2)])
                await _until(lambda: store.reading == 0)
                await _until(lambda: _held(client.base_url.port, clients) == 0)

    _sending(url, tmp_path, body, stalled_s=0.5, max_media_streams_per_tenant=2)
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_nor_has_one_whose_answer_is_complete(url, tmp_path):
    async def body(client, store, connect):
        # Few enough for all to be handed to the system at once.
        with await connect("bytes=0-999999") as connection:
            await _until(lambda: store.reading == 0)
            await _until(lambda: _held(client.base_url.port, [connection]) == 0)

    _sending(url, tmp_path, body, stalled_s=0.5)


def test_those_who_asked_for_more_at_once_are_told_too(url, tmp_path, caplog):
    async def body(client, store, connect):
        logging.getLogger("uvicorn.error").addHandler(caplog.handler)
        with await connect(more="GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
            await _until(lambda: store.reading == 0)
            await _until(lambda: _held(client.base_url.port, [connection]) == 0)
        assert (await client.get("/livez")).status_code == 200

    _sending(url, tmp_path, body, stalled_s=0.5)
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_who_takes_a_little_at_a_time_is_cut_off_too(url, tmp_path):
    """Else a few who take next to nothing keep all places for ever."""

    async def body(client, store, connect):
        with await connect() as connection:
            count = 0
            with suppress(ConnectionResetError):
                while part := await asyncio.get_running_loop().sock_recv(connection, 64 << 10):
                    count += len(part)
                    # 2 MiB a second at most, and never nothing for long.
                    await asyncio.sleep(0.03)
            assert count < LARGE // 2
            await _until(lambda: store.reading == 0)

    _sending(url, tmp_path, body, stalled_s=2.0, least_bytes_per_s=24 << 20)


def test_the_pace_is_an_average_of_the_time_that_is_waited_for_the_client():
    pace = Pace(60.0, 1000.0)
    # What goes into buffers at once is not waited for.
    assert all(pace.holds(64_000, 0.0) for _ in range(100))
    assert pace.holds(1, 59.0)
    assert pace.holds(1, 2.0), "buffers took it"
    assert pace.holds(60_000, 30.0)
    assert pace.holds(1000, 30.0), "in all, it was fast enough"
    assert pace.holds(30_000, 30.0)
    assert not pace.holds(29_000, 30.0)
    assert Pace(60.0, 0.0).holds(0, 1000.0)


def test_there_are_as_many_at_once_as_may_be(url, tmp_path):
    async def body(client, store, connect):
        with await connect() as connection:
            video = (await client.get("/v1/videos")).json()["data"][0]["id"]
            other = await uploaded(client, content_of(1000, seed=1))
            opened = store.opened_count
            for one in (video, other):
                answer = await client.get(f"/v1/videos/{one}/stream", headers={"Range": "bytes=0-9"})
                assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
            assert store.opened_count == opened
            assert int(answer.headers["retry-after"]) >= 1
            assert (await client.head(f"/v1/videos/{video}/stream")).status_code == 200
            connection.close()
            await _until(lambda: store.reading == 0)
        answer = await client.get(f"/v1/videos/{video}/stream", headers={"Range": "bytes=0-9"})
        assert answer.status_code == 206

    _sending(url, tmp_path, body, max_media_streams_per_tenant=1)
