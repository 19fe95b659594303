"""Fetchers that are stopped, outrun, or told to let go; several of them, and several tenants."""

import asyncio

import pytest

from serving.errors import LeaseLost
from serving.fetching import claims
from serving.fetching import fetcher as fetchers
from tests.serving.fetching.conftest import asked, fetcher, fetching, holding, named, objects, over, seen
from tests.serving.webhooks.receiver import receiving


def test_delete_stops_it_while_it_is_fetched(call, film, monkeypatch):
    monkeypatch.setattr(fetchers, "TELL_S", 0.05)

    async def body(api):
        async with _Slow(film) as there, fetching(api):
            upload = await asked(api, f"http://films.example.com:{there.port}/film.mp4")
            async with asyncio.timeout(10):
                while (now := await seen(api, upload))["received_bytes"] == 0:
                    await asyncio.sleep(0.02)
            assert now["size_bytes"] == 1_000_000
            # As a program that knows nothing of tus does it.
            assert (await api.a.delete(upload["links"]["self"])).status_code == 204
            async with asyncio.timeout(5):
                await there.left.wait()
            assert (await seen(api, upload))["status"] == "canceled"
            assert (await api.a.delete(upload["links"]["self"])).status_code == 410
        assert await api.world.sql("SELECT * FROM video WHERE id NOT IN ('vid_a', 'vid_b')") == []

    call(body)


class _Slow:
    """Sends a film's beginning, then a byte now and then, as long as somebody reads."""

    def __init__(self, film: bytes) -> None:
        self._film, self.left, self.port, self.connections = film, asyncio.Event(), 0, 0

    async def __aenter__(self) -> "_Slow":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + self._film[:20_000])
        # The end of what they send: they hung up.
        while not await self._hung_up(reader):
            writer.write(b"x")
        self.left.set()
        writer.close()

    async def _hung_up(self, reader: asyncio.StreamReader) -> bool:
        try:
            return await asyncio.wait_for(reader.read(1), 0.05) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True


def test_who_is_told_to_stop_gives_back_what_is_under_way(call, film, monkeypatch):
    monkeypatch.setattr("serving.claiming.GRACE_S", 0.1)

    async def body(api):
        async with _Slow(film) as there:
            upload = await asked(api, f"http://films.example.com:{there.port}/film.mp4")
            async with fetching(api):
                async with asyncio.timeout(10):
                    while there.connections == 0:
                        await asyncio.sleep(0.02)
        ((due, attempts),) = await api.world.sql("SELECT next_at <= now(), attempts FROM upload")
        assert (due, attempts) == (True, 0)
        async with receiving(holding(film)) as there:
            # Another that goes on with it finds the film elsewhere.
            await api.world.change("UPDATE upload SET sealed = NULL, url = :url", url=named(there))
            async with fetching(api):
                assert (await over(api, upload))["status"] == "completed"

    call(body)


def test_one_tenant_leaves_room_to_others_and_nobody_fetches_twice(call, film):
    async def body(api):
        async with receiving(holding(film)) as there:
            uploads = [await asked(api, named(there, f"/{number}.mp4")) for number in range(12)]
            other = (await api.b.post("/v1/uploads/url", json={"url": named(there, "/b.mp4")})).json()
            first = await fetcher(api).claim(3, [])
            assert {claim.tenant_id for claim in first} == {"a", "b"}
            assert len(first) == 3
            await api.world.change("UPDATE upload SET next_at = now(), attempts = 0")
            async with fetching(api), fetching(api), fetching(api):
                for upload in uploads:
                    assert (await over(api, upload))["attempts"] == 1
                await api.world.sql("SELECT 1")
            assert sorted(one.path for one in there.asked).count("/3.mp4") == 1
            assert len(there.asked) == 13
        (status,) = await api.world.sql("SELECT status FROM upload WHERE id = :id", id=other["id"])
        assert status == ("completed",)

    call(body)


def test_a_zombie_writes_nothing(call, film, monkeypatch):
    """It was stopped for longer than its lease; somebody else has it."""

    async def body(api):
        async with receiving(holding(film)) as there:
            upload = await asked(api, named(there))
            zombie = fetcher(api, lease_s=0.0)
            (claim,) = await zombie.claim(1, [])
            (later,) = await zombie.claim(1, [])
            assert (claim.attempt, later.attempt) == (1, 2)
            await zombie.work(claim)
            assert (await seen(api, upload))["status"] == "waiting"
            assert await objects(api) == []
            await zombie.work(later)
            assert (await seen(api, upload))["status"] == "completed"

    call(body)


def test_fetchers_that_die_over_it_end_it(call, at_once):
    async def body(api):
        upload = await asked(api, "http://films.example.com/x.mp4")
        await api.world.change("UPDATE upload SET attempts = 4")
        async with fetching(api):
            done = await over(api, upload)
        assert (done["status"], done["error"]["code"]) == ("errored", "fetch_failed")

    call(body)


def test_a_number_that_was_given_back_is_nobody_elses(call):
    """Two who were stopped for long: the one gives back, the other may still not write."""

    async def body(api):
        await asked(api, "http://films.example.com/x.mp4")
        (zombie,) = await fetcher(api, lease_s=0.0).claim(1, [])
        (later,) = await fetcher(api, lease_s=0.0).claim(1, [])
        await claims.give_back(api.world.database, later)
        with pytest.raises(LeaseLost):
            await claims.renew(api.world.database, zombie, 1, None, 30.0)
        (last,) = await fetcher(api).claim(1, [])
        assert last.attempt == 2
        with pytest.raises(LeaseLost):
            await claims.renew(api.world.database, later, 1, None, 30.0)
        await claims.renew(api.world.database, last, 1, None, 30.0)

    call(body)
