"""How much is made at once, and what is kept of it."""

import asyncio
import threading
import time
from contextlib import AsyncExitStack

import httpx
import pytest
from msgspec.structs import replace

from pipeline.errors import CorruptVideo, DecodeTimeout
from serving.db.database import Database
from serving.errors import Busy
from serving.options import PictureOptions
from serving.pictures import kept as module
from serving.pictures.drawing import Drawing
from serving.pictures.kept import Kept, _Entry
from serving.pictures.turns import Turns
from tests.serving.api.conftest import SETTINGS, made_key, served
from tests.serving.jobs.conftest import World
from tests.serving.pictures.films import image, put
from tests.serving.sealing import store_at


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_tenant_leaves_room_for_others():
    async def main():
        turns, done = Turns(3, 4), asyncio.Event()
        order: list[str] = []

        async def work(name: str) -> None:
            async with turns.turn(name[0]):
                order.append(name)
                await done.wait()

        tasks = [asyncio.create_task(work(name)) for name in ("a1", "a2", "a3", "a4")]
        await settled()
        assert (order, turns.running, turns.waiting) == (["a1", "a2"], 2, 2)
        with pytest.raises(Busy) as told:
            await work("a5")
        assert told.value.retry_after_s > 0
        tasks += [asyncio.create_task(work(name)) for name in ("b1", "b2", "b3")]
        await settled()
        # The last place but one was b's; the rest waits, four at most.
        assert (order[2:], turns.waiting) == (["b1"], 4)
        with pytest.raises(Busy):
            await work("c1")
        tasks[2].cancel()
        await settled()
        assert turns.waiting == 3
        done.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert sorted(order) == ["a1", "a2", "a4", "b1", "b2", "b3"]
        assert (turns.running, turns.waiting) == (0, 0)

    asyncio.run(main())


def test_those_go_first_who_have_least():
    async def main():
        turns, order = Turns(3, 8), []
        done = {name: asyncio.Event() for name in ("a1", "c1", "c2", "a2", "b1")}

        async def work(name: str) -> None:
            async with turns.turn(name[0]):
                order.append(name)
                await done[name].wait()

        tasks = []
        for name in done:
            tasks.append(asyncio.create_task(work(name)))
            await settled()
        done["c1"].set()
        await settled()
        # Of a's, one is under way; of b's, which came later, none.
        assert order == ["a1", "c1", "c2", "b1"]
        for event in done.values():
            event.set()
        await asyncio.gather(*tasks)
        assert order[-1] == "a2"

    asyncio.run(main())


def test_nobody_waits_for_ever():
    async def main():
        turns = Turns(1, 4, patience_s=0.01)
        async with turns.turn("a"):
            # Segments take turns as pictures do.
            with pytest.raises(Busy, match="to make something of videos"):
                async with turns.turn("b"):
                    pass
            assert (turns.running, turns.waiting) == (1, 0)
        async with turns.turn("b"):
            assert turns.running == 1

    asyncio.run(main())


def test_what_is_forgotten_while_it_is_made_is_made_anew_once_and_counted_once():
    async def main():
        kept, made = Kept(100), []
        going = [asyncio.Event() for _ in range(3)]

        async def make() -> int:
            made.append(number := len(made))
            await going[number].wait()
            return number

        def asked() -> asyncio.Task[int]:
            return asyncio.create_task(kept.get("x", "picture", make, lambda _: 40))

        first = asked()
        await settled()
        kept.forget("x")
        second = asked()
        await settled()
        going[0].set()
        assert await first == 0
        assert kept.size_bytes == 0, "it was forgotten"
        third = asked()
        await settled()
        going[1].set()
        going[2].set()
        assert await asyncio.gather(second, third) == [1, 1]
        assert (len(made), kept.size_bytes) == (2, 40)
        kept._put(("x", "picture"), _Entry(3, 60, time.monotonic() + 100))
        assert kept.size_bytes == 60
        kept.forget("x")
        assert kept.size_bytes == 0

    asyncio.run(main())


def test_a_value_is_made_once_and_kept_within_bounds():
    async def main():
        kept, made = Kept(100), []

        async def value(name: str, size: int = 40) -> str:
            async def make() -> str:
                await asyncio.sleep(0)
                made.append(name)
                return name

            return await kept.get(name, "picture", make, lambda _: size)

        assert await asyncio.gather(*(value("x") for _ in range(5))) == ["x"] * 5
        assert made == ["x"]
        await value("y")
        await value("x")
        await value("z")
        # `y` was asked for longest ago.
        assert kept.size_bytes == 80
        await value("x")
        await value("y")
        assert made == ["x", "y", "z", "y"]
        await value("huge", 101)
        assert kept.size_bytes <= 100
        kept.forget("x")
        await value("x")
        assert made[-1] == "x"

    asyncio.run(main())


def test_what_is_forgotten_while_it_is_made_is_not_kept():
    async def main():
        kept, go = Kept(100), asyncio.Event()

        async def make() -> str:
            await go.wait()
            return "x"

        waiting = asyncio.create_task(kept.get("x", "picture", make, len))
        await settled()
        kept.forget("x")
        go.set()
        assert await waiting == "x"
        assert kept.size_bytes == 0

    asyncio.run(main())


def test_what_nobody_asks_for_goes(monkeypatch):
    """A picture of a video is in memory no longer than that is of use to somebody."""
    monkeypatch.setattr(module, "KEEP_S", 0.02)

    async def main():
        kept = Kept(100)

        async def make() -> str:
            return "x"

        await kept.get("x", "picture", make, lambda _: 40)
        await asyncio.sleep(0.03)
        await kept.get("y", "picture", make, lambda _: 1)
        assert kept.size_bytes == 1

    asyncio.run(main())


def test_that_something_cannot_be_had_is_remembered_for_a_while():
    async def main():
        kept, made = Kept(10_000), []

        async def make() -> None:
            made.append(1)
            raise (CorruptVideo if len(made) == 1 else DecodeTimeout)("no such luck")

        for _ in range(3):
            with pytest.raises(CorruptVideo, match="no such luck"):
                await kept.get("x", "picture", make, lambda _: 1)
        assert len(made) == 1

    asyncio.run(main())


def test_slow_videos_do_not_take_the_api_down(url, tmp_path, plain, monkeypatch):
    """One is decoded, one waits, a third is turned away; whatever else is asked for is answered meanwhile."""
    going, go = threading.Event(), threading.Event()
    known = Drawing.known

    def slow(self, video):
        going.set()
        assert go.wait(30)
        return known(self, video)

    monkeypatch.setattr(Drawing, "known", slow)
    settings = replace(SETTINGS, pictures=PictureOptions(at_once=1, waiting=2))

    async def main():
        async with AsyncExitStack() as stack:
            database = Database(url)
            stack.push_async_callback(database.close)
            await World.made(database)
            address = await stack.enter_async_context(served(url, store_at(tmp_path / "objects"), settings))
            headers = {"Authorization": f"Bearer {await made_key(database, 'a')}"}
            client = await stack.enter_async_context(
                httpx.AsyncClient(base_url=address, headers=headers, timeout=60, verify=False)
            )
            videos = [await put(client, plain + bytes(n)) for n in range(3)]

            async def picture(number: int) -> httpx.Response:
                return await client.get(f"/v1/videos/{videos[number]}/thumbnail?at_s=1")

            first = asyncio.create_task(picture(0))
            await asyncio.to_thread(going.wait, 30)
            others = {asyncio.create_task(picture(number)) for number in (1, 2)}
            # Whichever of them came first waits.
            refused, waiting = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
            assert (len(refused), len(waiting)) == (1, 1)
            answer = refused.pop().result()
            assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (503, "busy", True)
            assert int(answer.headers["retry-after"]) >= 1
            assert (await client.get("/v1/videos")).status_code == 200
            assert (await client.get("/livez")).status_code == 200
            go.set()
            assert image(await first)
            assert image(await waiting.pop())

    asyncio.run(main())
