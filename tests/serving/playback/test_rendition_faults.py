"""Renditions when something else goes wrong: the database, the store, a deletion at the same moment, time."""

import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy import text

from pipeline.errors import DecoderCrashed
from pipeline.rendition.encoding import Encoded
from pipeline.sandbox.decoder import SandboxedDecoder
from serving.db import failpoints
from serving.db.statements import execute
from serving.errors import DatabaseUnavailable, LeaseLost, StorageFull, StorageUnavailable
from serving.pictures import kept
from serving.playback import renditions
from serving.playback.hls import Hls
from serving.playback.renderer import Renderer
from serving.settings import DEFAULTS
from serving.storage.store import Written
from tests.serving.playback import films
from tests.serving.playback.conftest import content_of, uploaded
from tests.serving.playback.rendering import rendered


@pytest.fixture(scope="module")
def hevc(tmp_path_factory) -> bytes:
    return films.film(tmp_path_factory.mktemp("films") / "h.mp4", films.HEVC, 1.0).read_bytes()


@asynccontextmanager
async def _claimed(api, content: bytes, settings=DEFAULTS):
    """(id of a video, a renderer, its claim of it)."""
    video = await uploaded(api.a, content, "h.mp4")
    async with api.world.database.write("rendition.write", "a") as session:
        await renditions.ask(session, "a", video)
    renderer = Renderer(api.world.database, api.store, settings)
    (claim,) = await renderer.claim(1, [])
    try:
        yield video, renderer, claim
    finally:
        renderer._pool.shutdown()
        if renderer._sandbox is not None:
            renderer._sandbox.close()


async def _row(api):
    (row,) = await api.world.sql("SELECT *, next_at > now() + interval '5 seconds' AS later FROM rendition")
    return row


def test_what_may_have_been_committed_keeps_its_object(call, hevc, monkeypatch):
    reach = failpoints.reach

    def broken(name, when, *args):
        if (name, when) == ("rendition.done", "after"):
            raise DatabaseUnavailable("the connection broke while it was committed")
        return reach(name, when, *args)

    async def body(api):
        async with _claimed(api, hevc) as (video, renderer, claim):
            with monkeypatch.context() as patched:
                patched.setattr(failpoints, "reach", broken)
                await renderer.work(claim)
        assert (await _row(api)).state == "done"
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()
        assert seen["hls"] == "rendition"
        assert (await api.a.get(f"/v1/videos/{video}/hls/0.m4s")).status_code == 200

    call(body)


def test_one_whose_object_is_gone_is_made_again(call, hevc):
    async def body(api):
        async with _claimed(api, hevc) as (video, renderer, claim):
            await renderer.work(claim)
        first = (await _row(api)).object_key
        await api.store.delete(first)
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()
        assert (seen["hls"], seen["rendition"]) == (None, None)
        seen = await rendered(api.a, api.world.database, api.store, video)
        assert (seen["hls"], seen["rendition"]["state"]) == ("rendition", "done")
        assert (await _row(api)).object_key != first
        # Or each backup would lack an object that it has a key of, and each restore refuse that.
        assert not await api.world.sql("SELECT 1 FROM data_key WHERE object_key = :first", first=first)

    call(body)


def test_while_it_plays_the_original_is_not_read_again(call, hevc, monkeypatch):
    cuts, cut = [], Hls._cut

    def counted(self, file, sandbox):
        cuts.append(file.what.blob)
        return cut(self, file, sandbox)

    async def body(api):
        async with _claimed(api, hevc) as (video, renderer, claim):
            await renderer.work(claim)
        monkeypatch.setattr(Hls, "_cut", counted)
        assert (await api.a.get(f"/v1/videos/{video}/hls/index.m3u8")).status_code == 200
        assert cuts == [(await _row(api)).object_key]
        # What is asked about the original is known for longer than a failure that may pass.
        monkeypatch.setattr(kept, "FAILED_S", 0.0)
        for _ in range(2):
            assert (await api.a.get(f"/v1/videos/{video}/playback")).json()["why_not"] == "its codec is hevc"
        assert len(cuts) == 2

    call(body)


@pytest.mark.parametrize("fault", [StorageUnavailable("away"), StorageFull("full"), DatabaseUnavailable("away")])
def test_what_is_away_costs_no_attempt(call, hevc, monkeypatch, fault):
    async def away(*_, **__):
        raise fault

    async def body(api):
        async with _claimed(api, hevc) as (_, renderer, claim):
            monkeypatch.setattr(api.store, "put", away)
            await renderer.work(claim)
            row = await _row(api)
            assert (row.state, row.attempts, row.later) == ("due", 0, True)
            # Later than at once, and not only once its lease is over.
            assert await renderer.claim(1, []) == []

    call(body)


def test_a_fault_of_ours_is_the_end_of_it(call, hevc, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    async def body(api):
        async with _claimed(api, hevc) as (video, renderer, claim):
            monkeypatch.setattr("serving.playback.renderer.encode", broken)
            await renderer.work(claim)
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()["rendition"]
        assert (seen["state"], seen["code"]) == ("failed", "internal_error")

    call(body)


def test_a_deletion_at_the_moment_it_is_done_goes_first(call, hevc):
    async def body(api):
        async with _claimed(api, hevc) as (video, _, claim):
            written, database = Written(1, "0" * 64, b"k" * 32), api.world.database
            async with database.write("video.delete", "a") as session:
                await execute(session, text("SELECT 1 FROM video WHERE id = :video FOR UPDATE"), video=video)
                recording = asyncio.create_task(
                    renditions.record(database, api.store.keyring, claim, "videos/x", written, Encoded(2, 2, 1))
                )
                waiting = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted"
                while not (await api.world.sql(waiting))[0].n:
                    assert not recording.done()
                    await asyncio.sleep(0.02)
                # What the deletion takes along.
                await execute(session, text("DELETE FROM rendition WHERE video_id = :video"), video=video)
            with pytest.raises(LeaseLost):
                await recording

    call(body)


@pytest.mark.parametrize("writes", [True, False])
def test_what_takes_too_long_is_ended(call, hevc, monkeypatch, writes):
    def crashes(*_):
        raise DecoderCrashed

    def slow(_media, decoder, _inspected, _sound, write):
        while True:
            time.sleep(0.01)
            if writes:
                write(b"x" * 1000)
            else:
                with suppress(DecoderCrashed):
                    decoder.decode(None)

    async def body(api):
        async with _claimed(api, hevc) as (video, renderer, claim):
            monkeypatch.setattr(SandboxedDecoder, "decode", crashes)
            monkeypatch.setattr("serving.playback.renderer.encode", slow)
            monkeypatch.setattr("serving.playback.renderer.MOST_S", 0.1)
            monkeypatch.setattr("serving.playback.renderer.MOST_TIMES", 0.0)
            await renderer.work(claim)
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()["rendition"]
        assert (seen["state"], seen["code"]) == ("failed", "deadline_exceeded")

    call(body)


def test_more_minutes_than_the_tenant_has_are_not_encoded(call, hevc):
    async def body(api):
        async with _claimed(api, hevc) as (video, renderer, claim):
            # Another one uses them up.
            other = await uploaded(api.a, content_of(1000))
            await api.world.change(f"UPDATE video SET duration_s = 60 WHERE id = '{other}'")
            await api.world.change("UPDATE tenant SET quota_minutes = 1 WHERE id = 'a'")
            await renderer.work(claim)
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()["rendition"]
        assert (seen["state"], seen["code"]) == ("failed", "quota_exceeded")

    call(body)
