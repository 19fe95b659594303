"""Renditions when something else goes wrong: the database, the store, a deletion at the same moment, time."""

import asyncio
import errno
import time
from contextlib import suppress

import pytest
from av.error import PermissionError
from sqlalchemy import text

from pipeline.errors import DecoderCrashed
from pipeline.rendition.encoding import Encoded
from pipeline.sandbox.decoder import SandboxedDecoder
from serving.db import failpoints
from serving.db.statements import execute
from serving.errors import DatabaseUnavailable, LeaseLost
from serving.pictures import kept
from serving.playback import renderer as rendering
from serving.playback import renditions
from serving.playback.hls import Hls
from serving.storage.store import Written
from serving.uploads.cleaning import ORPHANED_S
from tests.serving.playback import films
from tests.serving.playback.conftest import content_of, uploaded
from tests.serving.playback.rendering import claimed, rendered, row_of


@pytest.fixture(scope="module")
def hevc(tmp_path_factory) -> bytes:
    return films.film(tmp_path_factory.mktemp("films") / "h.mp4", films.HEVC, 1.0).read_bytes()


def test_what_may_have_been_committed_keeps_its_object(call, hevc, monkeypatch):
    reach = failpoints.reach

    def broken(name, when, *args):
        if (name, when) == ("rendition.done", "after"):
            raise DatabaseUnavailable("the connection broke while it was committed")
        return reach(name, when, *args)

    async def body(api):
        async with claimed(api, hevc) as (video, renderer, claim):
            with monkeypatch.context() as patched:
                patched.setattr(failpoints, "reach", broken)
                # It may take long because it is long.
                patched.setattr("serving.playback.renderer.MOST_S", 0.0)
                patched.setattr("serving.playback.renderer.MOST_TIMES", 200.0)
                await renderer.work(claim)
        assert (await row_of(api)).state == "done"
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()
        assert seen["hls"] == "rendition"
        assert (await api.a.get(f"/v1/videos/{video}/hls/0.m4s")).status_code == 200

    call(body)


def test_one_whose_object_is_gone_is_made_again(call, hevc):
    async def body(api):
        async with claimed(api, hevc) as (video, renderer, claim):
            await renderer.work(claim)
        first = (await row_of(api)).object_key
        await api.store.delete(first)
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()
        assert (seen["hls"], seen["rendition"]) == (None, None)
        seen = await rendered(api.a, api.world.database, api.store, video)
        assert (seen["hls"], seen["rendition"]["state"]) == ("rendition", "done")
        assert (await row_of(api)).object_key != first
        # Or each backup would lack an object that it has a key of, and each restore refuse that.
        assert not await api.world.sql("SELECT 1 FROM data_key WHERE object_key = :first", first=first)

    call(body)


def test_while_it_plays_the_original_is_not_read_again(call, hevc, monkeypatch):
    cuts, found_out = [], Hls._found_out

    async def counted(self, source):
        cuts.append(source.object_key)
        return await found_out(self, source)

    async def body(api):
        async with claimed(api, hevc) as (video, renderer, claim):
            await renderer.work(claim)
        monkeypatch.setattr(Hls, "_found_out", counted)
        assert (await api.a.get(f"/v1/videos/{video}/hls/index.m3u8")).status_code == 200
        assert cuts == [(await row_of(api)).object_key]
        # What is asked about the original is known for longer than a failure that may pass.
        monkeypatch.setattr(kept, "FAILED_S", 0.0)
        for _ in range(2):
            assert (await api.a.get(f"/v1/videos/{video}/playback")).json()["why_not"] == "its codec is hevc"
        assert len(cuts) == 2

    call(body)


def test_what_the_encoder_refuses_is_the_end_of_it(call, hevc, monkeypatch):
    def refuses(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted", "x")

    async def body(api):
        async with claimed(api, hevc) as (video, renderer, claim):
            monkeypatch.setattr("pipeline.rendition.encoding._encode", refuses)
            await renderer.work(claim)
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()["rendition"]
        assert (seen["state"], seen["code"]) == ("failed", "encode_failed")
        assert seen["detail"] == "it cannot be encoded: Operation not permitted"

    call(body)


def test_one_that_cannot_be_decoded_failed(call, hevc):
    at = hevc.index(b"mdat") + 4
    length = int.from_bytes(hevc[at - 8 : at - 4], "big") - 8
    broken = hevc[:at] + bytes(length) + hevc[at + length :]

    async def body(api):
        async with claimed(api, broken) as (_, renderer, claim):
            before = {path.name for path in (api.store._objects._root / "videos").iterdir()}
            await renderer.work(claim)
            assert {path.name for path in (api.store._objects._root / "videos").iterdir()} == before
        row = await row_of(api)
        assert (row.state, row.code) == ("failed", "corrupt"), row.detail

    call(body)


def test_what_goes_beyond_the_quota_while_it_is_encoded_failed_and_leaves_nothing(call, hevc, monkeypatch):
    async def body(api):
        used = (await api.a.get("/v1/usage")).json()["used_bytes"] + len(hevc)
        await api.world.change(f"UPDATE tenant SET quota_bytes = {used + 100} WHERE id = 'a'")
        async with claimed(api, hevc) as (video, renderer, claim):
            before = {path.name for path in (api.store._objects._root / "videos").iterdir()}
            for others_came in (False, True):
                if others_came:
                    # There was room when it was begun: it is found out in the end.
                    monkeypatch.setattr("serving.uploads.quota.room_bytes", _unbounded)
                    await api.a.post(f"/v1/videos/{video}/rendition")
                    (claim,) = await renderer.claim(1, [])
                await renderer.work(claim)
                seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()["rendition"]
                assert (seen["state"], seen["code"]) == ("failed", "quota_exceeded")
                assert (f"of {used + 100} are used" if others_came else "100 of the quota are left") in seen["detail"]
                assert {path.name for path in (api.store._objects._root / "videos").iterdir()} == before
        assert (await api.a.get("/v1/usage")).json()["used_bytes"] == used

    call(body)


async def _unbounded(*_) -> None:
    return None


def test_a_fault_of_ours_is_the_end_of_it(call, hevc, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    async def body(api):
        async with claimed(api, hevc) as (video, renderer, claim):
            monkeypatch.setattr("serving.playback.encoder.encode", broken)
            await renderer.work(claim)
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()["rendition"]
        assert (seen["state"], seen["code"]) == ("failed", "internal_error")

    call(body)


def test_a_deletion_at_the_moment_it_is_done_goes_first(call, hevc):
    async def body(api):
        async with claimed(api, hevc) as (video, _, claim):
            written, database = Written(1, "0" * 64, b"k" * 32), api.world.database
            async with database.write("video.delete", "a") as session:
                await execute(session, text("SELECT 1 FROM video WHERE id = :video FOR UPDATE"), video=video)
                recording = asyncio.create_task(
                    renditions.record(database, api.store.keyring, claim, "videos/x", written, Encoded(2, 2, 1, b""), 0)
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


def test_how_long_it_may_take():
    assert (rendering.MOST_S, rendering.MOST_TIMES) == (600.0, 20.0)
    # Longer, and the sweep took what is written for something that was left.
    assert rendering.MOST_EVER_S <= ORPHANED_S - 3600.0


@pytest.mark.parametrize(
    ("writes", "most_s", "times", "ever_s"),
    [(True, 0.1, 0.0, 80_000.0), (False, 0.0, 0.1, 80_000.0), (True, 600.0, 20.0, 0.5)],
)
def test_what_takes_too_long_is_ended(call, hevc, monkeypatch, writes, most_s, times, ever_s):
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
        async with claimed(api, hevc) as (video, renderer, claim):
            monkeypatch.setattr(SandboxedDecoder, "decode", crashes)
            monkeypatch.setattr("serving.playback.encoder.encode", slow)
            monkeypatch.setattr("serving.playback.renderer.MOST_S", most_s)
            monkeypatch.setattr("serving.playback.renderer.MOST_TIMES", times)
            monkeypatch.setattr("serving.playback.renderer.MOST_EVER_S", ever_s)
            await renderer.work(claim)
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()["rendition"]
        assert (seen["state"], seen["code"]) == ("failed", "deadline_exceeded")

    call(body)


def test_more_minutes_than_the_tenant_has_are_not_encoded(call, hevc):
    async def body(api):
        async with claimed(api, hevc) as (video, renderer, claim):
            # Another one uses them up.
            other = await uploaded(api.a, content_of(1000))
            await api.world.change(f"UPDATE video SET duration_s = 60 WHERE id = '{other}'")
            await api.world.change("UPDATE tenant SET quota_minutes = 1 WHERE id = 'a'")
            await renderer.work(claim)
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()["rendition"]
        assert (seen["state"], seen["code"]) == ("failed", "quota_exceeded")

    call(body)
