"""Who leaves while something is made for them leaves their place to others."""

import asyncio
import threading
from contextlib import AsyncExitStack

import httpx
import pytest
from msgspec.structs import replace

from pipeline.sandbox import repacking
from serving.db.database import Database
from serving.options import PictureOptions, PlaybackOptions
from serving.pictures.drawing import Drawing
from serving.pictures.kept import Kept
from serving.pictures.turns import Turns
from tests.serving.api.conftest import SETTINGS, made_key, served
from tests.serving.jobs.conftest import World
from tests.serving.pictures.films import put
from tests.serving.sealing import store_at


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_turn_that_nobody_takes_any_more_is_given_on():
    async def main():
        turns = Turns(1, 4)
        entered = asyncio.Event()

        async def work() -> None:
            async with turns.turn("b"):
                entered.set()

        async with turns.turn("a"):
            first, second = asyncio.create_task(work()), asyncio.create_task(work())
            await settled()
        # It was called just now, and is canceled before it runs.
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert first.cancelled()
        assert entered.is_set()
        assert (turns.running, turns.waiting) == (0, 0)

    asyncio.run(main())


def test_what_nobody_waits_for_any_more_has_no_turn():
    async def main():
        turns, kept, made = Turns(1, 4), Kept(100), []

        def asked(name: str) -> asyncio.Task[str]:
            async def make() -> str:
                async with turns.turn("a"):
                    made.append(name)
                    await asyncio.sleep(0)
                    return name

            return asyncio.create_task(kept.get(name, "picture", make, len))

        async with turns.turn("b"):
            first, second, other = asked("x"), asked("x"), asked("y")
            await settled()
            first.cancel()
            await settled()
            assert turns.waiting == 2, "one still waits for it"
            second.cancel()
            other.cancel()
            await asyncio.sleep(0)
            # Whoever asks in the very same moment gets one, and whoever ends their turn then calls nobody who left.
            again = asked("x")
        assert await again == "x"
        assert made == ["x"]
        assert (turns.running, turns.waiting) == (0, 0)
        assert all(one.cancelled() for one in await _ended(first, second, other))
        # What has its turn is made to its end.
        last = asked("z")
        while "z" not in made:
            await asyncio.sleep(0)
        last.cancel()
        await settled()
        assert (await asked("z"), made) == ("z", ["x", "z"])

    asyncio.run(main())


async def _ended(*tasks: asyncio.Task[str]) -> tuple[asyncio.Task[str], ...]:
    await asyncio.wait(tasks)
    return tasks


@pytest.mark.parametrize(
    ("what", "owner", "name"),
    [("thumbnail?at_s=1", Drawing, "known"), ("hls/index.m3u8", repacking, "repack")],
)
def test_who_leaves_leaves_their_place(url, tmp_path, plain, monkeypatch, what, owner, name):
    """As whoever scrubs: one is made, and one that nobody waits for any more keeps nobody from waiting."""
    going, go, made = threading.Event(), threading.Event(), []
    make = getattr(owner, name)

    def slow(*given):
        made.append(given)
        going.set()
        assert go.wait(30)
        return make(*given)

    monkeypatch.setattr(owner, name, slow)
    bounds = {"at_once": 1, "waiting": 2}
    settings = replace(SETTINGS, pictures=PictureOptions(**bounds), playback=PlaybackOptions(**bounds))

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
            first, left, stays = (f"/v1/videos/{video}/{what}" for video in videos)
            running = asyncio.create_task(client.get(first))
            await asyncio.to_thread(going.wait, 30)
            for _ in range(3):
                with pytest.raises(httpx.ReadTimeout):
                    await client.get(left, timeout=httpx.Timeout(60, read=0.3))
            waiting = asyncio.create_task(client.get(stays))
            await asyncio.sleep(0.3)
            go.set()
            assert [(await one).status_code for one in (running, waiting)] == [200, 200]
            assert len(made) == 2

    asyncio.run(main())
