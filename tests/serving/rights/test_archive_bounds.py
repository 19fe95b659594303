"""An archive is no way around what holds for all that comes in: quotas, sizes, retention."""

import asyncio
import json
import random

import msgspec
import pytest

from serving.api.archives import EXPORTS_PER_TENANT
from serving.archive import bounds, held
from serving.archive.importing import Importing
from serving.db.database import SYSTEM
from serving.errors import TooLarge
from serving.storage.reports import KeptReport
from serving.uploads import minutes, receive
from tests.serving.api.conftest import SETTINGS
from tests.serving.rights.conftest import HEAD, call, library, uploaded, url
from tests.serving.rights.hostile import as_long, changed, of_tenant, packed, unpacked

__all__ = ["call", "library", "url"]


def test_it_is_no_way_around_quotas(library):
    async def body(api, video):
        whole = (await api.a.get(f"/v1/videos/{video}/export")).content
        await api.world.change("UPDATE tenant SET quota_bytes = 10 WHERE id = 'b'")
        answer = await api.b.post("/v1/import", content=whole)
        assert (answer.status_code, answer.json()["code"]) == (413, "quota_exceeded")
        assert (await api.b.get("/v1/videos")).json()["data"] == []
        # Nor around that of minutes: what a report says is long counts, and is what a length can be.
        await api.world.change("UPDATE tenant SET quota_bytes = NULL, quota_minutes = 10 WHERE id = 'b'")
        for duration_s, told in ((601.0, (413, "quota_exceeded")), (-1e9, REFUSED), (1e12, REFUSED)):
            changed = as_long(unpacked(whole), duration_s)
            answer = await api.b.post("/v1/import", content=packed(changed))
            assert (answer.status_code, answer.json()["code"]) == told, (duration_s, answer.text)
            assert (await api.b.get("/v1/videos")).json()["data"] == []
        assert (await api.b.post("/v1/import", content=packed(as_long(unpacked(whole), 600.0)))).status_code == 200
        assert (await api.b.get("/v1/usage")).json()["used_minutes"] == 10
        # One of which is told less than a job finds out later counts as long as it is then.
        async with api.world.database.write("job.measure", SYSTEM) as session:
            ((new,),) = await api.world.sql("SELECT id FROM video WHERE tenant_id = 'b'")
            assert await minutes.measured(session, "b", new, 600.5, 0) is None
            assert await minutes.measured(session, "b", new, 700.0, 0) is not None
        # Where all is used up, nothing comes in any more, however long.
        other = (await uploaded(api.a, b"film"))["id"]
        other = (await api.a.get(f"/v1/videos/{other}/export")).content
        assert (await api.b.post("/v1/import", content=other)).json()["code"] == "quota_exceeded"

    library(body)


REFUSED = (422, "archive_refused")


def test_it_is_neither_too_large_nor_from_the_future(library):
    """Days of retention count from when a video came: from a later one on, it stayed for longer than it may."""

    async def body(api, video):
        whole = (await api.a.get(f"/v1/videos/{video}/export")).content
        options = msgspec.structs.replace(SETTINGS.upload, max_bytes=100)
        with pytest.raises(TooLarge, match="at most 100"):
            await Importing(api.world.database, api.store, options, "b").read(_once(whole))
        late = changed(unpacked(whole), "video.json", lambda one: one.update(created_at="2999-01-01T00:00:00Z"))
        assert (await api.b.post("/v1/import", content=packed(late))).status_code == 200
        ((future,),) = await api.world.sql("SELECT created_at > now() FROM video WHERE tenant_id = 'b'")
        assert not future

    library(body)


async def _once(content: bytes):
    yield content


def _many(told: dict) -> None:
    told["features"]["signals"]["motion"] = [0] * 20_001


def _longer(told: dict) -> None:
    told["features"]["signals"]["motion"].append(0)


#: What no analysis makes, and no caller may give: much of it is small in an archive, and large once it is read.
BEYOND = {
    "numbers without an end": ("000001.json", _many),
    "a text without an end": ("000001.json", lambda one: one["models"][0].update(name="x" * (1 << 20))),
    "more cells than signals have": ("000001.json", _longer),
    "a reason without an end": ("000001.json", lambda one: one["segments"][0].update(reasons=["x" * 5000])),
    "more segments than may be asked for": ("000001.json", lambda one: one.update(segments=one["segments"] * 1001)),
    "a label without an end": ("000001.json", lambda one: one["tags"][0].update(label="x" * 1001)),
    "a label that no index takes": ("000001.json", lambda one: one["tags"][0].update(label=_random_text(1000))),
    "a title without an end": ("video.json", lambda one: one.update(title="x" * 501)),
    "a file name without an end": ("video.json", lambda one: one.update(filename="x" * 256)),
    "a tag that was found without an end": (
        "video.json",
        lambda one: one["found_tags"][0]["tags"][0].update(label="x" * 1001),
    ),
}


def _random_text(count: int) -> str:
    """That nothing compresses."""
    return "".join(chr(random.Random(number).randrange(0x20000, 0x2A000)) for number in range(count))


def test_what_no_analysis_makes_is_refused_and_nothing_of_it_stays(library, monkeypatch):
    # So that what is beyond is made in no time.
    monkeypatch.setattr(bounds, "MAX_VALUES", 20_000)
    monkeypatch.setattr(bounds, "MAX_BESIDES_BYTES", 1 << 20)

    async def body(api, video):
        files = unpacked((await api.a.get(f"/v1/videos/{video}/export")).content)
        before = await _objects(api)
        for name, (document, change) in BEYOND.items():
            answer = await api.b.post("/v1/import", content=packed(changed(files, document, change)))
            assert (answer.status_code, answer.json()["code"]) == REFUSED, (name, answer.text[:300])
            assert await _objects(api) == before, name
        assert (await api.b.get("/v1/videos")).json()["data"] == []
        # Whatever goes wrong while its row is written, an object that no row names goes: no quota would count it.
        stored = await receive.put(api.store, "b", _once(HEAD), None)
        with pytest.raises(RuntimeError):
            async with receive.deleted_unless_kept(api.store, stored):
                raise RuntimeError
        assert await _objects(api) == before

    library(body)


async def _objects(api) -> list[str]:
    return sorted([key async for keys in api.store.keys("videos") for key in keys])


def test_what_is_told_of_a_video_counts_and_nothing_is_read_that_has_no_room(library, monkeypatch):
    put = []
    inner = receive.put

    async def counted(*args):
        put.append(args)
        return await inner(*args)

    async def body(api, video):
        monkeypatch.setattr(receive, "put", counted)
        whole = (await api.a.get(f"/v1/videos/{video}/export")).content
        media = len(next(content for name, content in unpacked(whole).items() if name.endswith("/media")))
        # There is room for its bytes, but not for what is told of it.
        await api.world.change("UPDATE tenant SET quota_bytes = :most WHERE id = 'b'", most=media + 100)
        answer = await api.b.post("/v1/import", content=whole)
        assert (answer.status_code, answer.json()["code"]) == (413, "quota_exceeded")
        assert put == []
        await api.world.change("UPDATE tenant SET quota_bytes = :most WHERE id = 'b'", most=media + (1 << 20))
        assert (await api.b.post("/v1/import", content=whole)).status_code == 200
        assert (await api.b.get("/v1/usage")).json()["used_bytes"] > media + 1000
        assert (await api.a.get("/v1/usage")).json()["used_bytes"] == media

    library(body)


def test_what_is_held_about_a_tenant_is_as_much_as_there_is(library, monkeypatch):
    """It comes in parts, so that what is exported is what is imported."""
    monkeypatch.setattr(held, "_AT_ONCE", 2)

    async def body(api, video):
        await api.world.change(
            "INSERT INTO erasure (id, tenant_id, video_id, reason, counts, pending, at) "
            "SELECT 'era_' || n, 'a', 'vid_' || n, 'request', '{}', '{}', now() FROM generate_series(1, 5) n"
        )
        whole = (await api.a.get("/v1/export")).content
        files = unpacked(whole)
        assert "tenant" not in json.loads(files["manifest.json"])
        assert {one["id"] for one in of_tenant(files)["erasures"]} == {f"era_{n}" for n in range(1, 6)}
        assert {"about", "people", "api_keys", "webhooks", "retention", "uploads_under_way"} < of_tenant(files).keys()
        assert (await api.b.post("/v1/import", content=whole)).status_code == 200
        # Nothing is read of it, but it is proved.
        part = next(name for name in files if name.startswith("tenant/"))
        for hostile in (files | {part: files[part] + b" "}, {name: files[name] for name in files if name != part}):
            answer = await api.b.post("/v1/import", content=packed(hostile))
            assert (answer.status_code, answer.json()["code"]) == REFUSED
        # Of the first version, all of it was in the first manifest.
        first = {name: content for name, content in files.items() if not name.startswith("tenant/")}
        first = changed(first, "manifest.json", lambda one: one.update(version=1, tenant=of_tenant(files)))
        assert (await api.b.post("/v1/import", content=packed(first))).status_code == 200

    library(body)


def test_few_are_handed_out_at_once_and_none_is_held_in_memory(library, monkeypatch):
    def whole(self) -> bytes:
        raise AssertionError("a report is in memory as it is")

    async def body(api, video):
        monkeypatch.setattr(KeptReport, "json", whole)
        waits, going, inner = asyncio.Event(), [], api.store.get

        async def slowly(*args):
            going.append(args)
            await waits.wait()
            async for chunk in inner(*args):
                yield chunk

        monkeypatch.setattr(api.store, "get", slowly)
        path = f"/v1/videos/{video}/export"
        first = [asyncio.create_task(api.a.get(path)) for _ in range(EXPORTS_PER_TENANT)]
        async with asyncio.timeout(30):
            while len(going) < EXPORTS_PER_TENANT:
                await asyncio.sleep(0.01)
        refused = await api.a.get(path)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        waits.set()
        assert {one.status_code for one in await asyncio.gather(*first)} == {200}
        for _ in range(2 * EXPORTS_PER_TENANT):
            assert (await api.a.get("/v1/videos/vid_01KB0000000000000000000000/export")).status_code == 404
        assert (await api.a.get(path)).status_code == 200

    library(body)
