"""Segments on their way to slow clients: no more of them than there is room for, each once."""

import asyncio

import httpx
import msgspec
import pytest

from serving.db.database import Database
from serving.errors import Busy
from serving.playback.hls import Hls
from serving.playback.lending import Lending
from tests.serving.api.conftest import SETTINGS, made_key, served
from tests.serving.jobs.conftest import World
from tests.serving.playback import films
from tests.serving.playback.conftest import uploaded
from tests.serving.sealing import store_at


def test_what_is_lent_is_bounded_and_counts_once():
    made: list[str] = []

    async def body():
        lending = Lending(100)

        def of(name: str):
            async def make() -> bytes:
                made.append(name)
                return name.encode()

            return make

        first = await lending.take("a", "x", 40, of("x"))
        second = await lending.take("a", "x", 40, of("x"))
        assert (first.content, second.content, made, lending.size_bytes) == (b"x", b"x", ["x"], 40)
        with pytest.raises(Busy):
            # Half is the tenant's.
            await lending.take("a", "y", 20, of("y"))
        third = await lending.take("b", "z", 50, of("z"))
        with pytest.raises(Busy):
            await lending.take("c", "w", 20, of("w"))
        assert made == ["x", "z"]
        first.release()
        first.release()
        assert lending.size_bytes == 90
        # Nobody has it any more, though nobody gave it back.
        del second
        assert lending.size_bytes == 50
        third.release()

        async def fails() -> bytes:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            await lending.take("a", "x", 40, fails)
        assert lending.size_bytes == 0

    asyncio.run(body())


@pytest.mark.parametrize(
    ("group", "changed", "status", "code"),
    [
        ("playback", {"sent_bytes": 1000}, 503, "busy"),
        ("server", {"max_media_streams_per_tenant": 0}, 429, "rate_limited"),
    ],
)
def test_a_segment_without_room_is_not_made(url, tmp_path, monkeypatch, group, changed, status, code):
    content = films.film(tmp_path / "x.mp4", films.H264, 1.0).read_bytes()
    made, make = [], Hls._made

    async def counted(self, source, how):
        made.append(how)
        return await make(self, source, how)

    monkeypatch.setattr(Hls, "_made", counted)
    options = msgspec.structs.replace(getattr(SETTINGS, group), **changed)
    settings = msgspec.structs.replace(SETTINGS, **{group: options})

    async def main():
        database = Database(url)
        await World.made(database)
        async with served(url, store_at(tmp_path / "objects"), settings) as address:
            headers = {"Authorization": f"Bearer {await made_key(database, 'a')}"}
            async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as client:
                video = await uploaded(client, content, "x.mp4")
                assert (await client.get(f"/v1/videos/{video}/hls/index.m3u8")).status_code == 200
                answer = await client.get(f"/v1/videos/{video}/hls/0.m4s")
                assert (answer.status_code, answer.json()["code"]) == (status, code)
                assert int(answer.headers["retry-after"]) > 0
                assert len(made) == 1
        await database.close()

    asyncio.run(main())
