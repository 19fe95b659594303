"""What is exported comes back equal, elsewhere; and nothing comes that is no archive, or was changed."""

import asyncio
import hashlib
import json
import threading

import pytest

from serving.archive import importing
from serving.archive.form import VERSION
from tests.serving.rights.conftest import HEAD, call, call_shared, library, uploaded, url
from tests.serving.rights.hostile import HOSTILE, of_tenant, packed, resealed, unpacked
from tests.serving.sealing import kept

__all__ = ["call", "call_shared", "library", "url"]


async def _shown(api, client, video: str) -> dict:
    """All that callers are told of a video, but for ids and when it was changed here; and its bytes."""
    found: dict = {}
    for part in ("", "/report", "/segments", "/shots", "/tags", "/signals"):
        answer = await client.get(f"/v1/videos/{video}{part}")
        assert answer.status_code == 200, (part, answer.text)
        found[part] = answer.json()
    for name in ("id", "links", "updated_at"):
        del found[""][name]
    for tag in found["/tags"]:
        del tag["vocabulary_id"]
    said = (await client.get("/v1/corrections", params={"video_id": video})).json()["data"]
    names = {one["id"]: one["name"] for one in (await client.get("/v1/vocabularies")).json()["data"]}
    found["corrections"] = [
        {
            key: value
            for key, value in one.items()
            if key not in ("id", "video_id", "vocabulary_id", "created_at", "links")
        }
        | {"vocabulary": names.get(one["vocabulary_id"])}
        for one in said
    ]
    found["corrections"].sort(key=str)
    ((object_key,),) = await api.world.sql("SELECT object_key FROM video WHERE id = :id", id=video)
    found["bytes"] = await kept(api.world.database, api.store, object_key)
    return found


async def _vocabularies(client) -> dict:
    listed = (await client.get("/v1/vocabularies")).json()["data"]
    own = [(await client.get(f"/v1/vocabularies/{one['id']}")).json() for one in listed if not one["built_in"]]
    return {one["name"]: (one["labels"], one["description"], one["applied_at"] is not None) for one in own}


async def _counted(api, tenant: str) -> dict[str, int]:
    """Rows that a video is found by."""
    found = {}
    for table in ("moment", "segment_vector", "video_vector", "look", "tag_span", "lexeme", "video_tag", "found_tags"):
        query = f"SELECT count(*) FROM {table} WHERE tenant_id = :tenant"
        ((found[table],),) = await api.world.sql(query, tenant=tenant)
    return found


@pytest.mark.parametrize("whole", [True, False])
def test_it_comes_back_equal_elsewhere(library, whole):
    async def body(api, video):
        exported = await api.a.get("/v1/export" if whole else f"/v1/videos/{video}/export")
        assert exported.headers["content-type"] == "application/x-tar"
        answer = await api.b.post("/v1/import", content=exported.content)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert set(told["videos"]) == {video}
        assert (told["vocabularies"], told["there"]) == (["held"], {})
        new = told["videos"][video]
        assert new != video
        before, after = await _shown(api, api.a, video), await _shown(api, api.b, new)
        for part, told in before.items():
            assert after[part] == told, part
        assert {tag["vocabulary"] for tag in after["/tags"]} == {None, "held"}
        assert len(after["corrections"]) == 3
        assert await _vocabularies(api.b) == await _vocabularies(api.a)
        # It is found as before, and by the words of its title; nothing had to be decoded.
        assert await _counted(api, "b") == await _counted(api, "a")
        # Other keys, and another object.
        keys = await api.world.sql(
            "SELECT tenant_id, object_key, wrapped FROM data_key WHERE object_key LIKE 'videos/%'"
        )
        assert len({row.tenant_id for row in keys}) == len({row.object_key for row in keys}) == 2
        # Its report's job is there, too.
        (job,) = (await api.b.get("/v1/jobs", params={"video_id": new})).json()["data"]
        assert (await api.b.get(f"/v1/jobs/{job['id']}/report")).json() == after["/report"]
        # Again, it is there already.
        again = (await api.b.post("/v1/import", content=exported.content)).json()
        assert (again["videos"], again["there"], again["vocabularies_there"]) == ({}, {video: new}, ["held"])
        # And what came of it can be exported as well.
        assert (await api.b.get(f"/v1/videos/{new}/export")).status_code == 200

    library(body)


def test_it_is_a_tar_with_a_manifest_of_all_that_is_in_it(library):
    async def body(api, video):
        made = await api.a.post("/v1/webhooks", json={"url": "https://example.com/hook"})
        assert made.status_code == 201
        await api.world.change(
            "INSERT INTO app_user (id, tenant_id, email, name, role, password_hash) "
            "VALUES ('usr_1', 'a', 'a@example.com', 'A', 'viewer', '$argon2id$')"
        )
        files = unpacked((await api.a.get("/v1/export")).content)
        assert next(iter(files)) == "manifest.json"
        assert list(files)[-1] == "end.json"
        manifest = json.loads(files["manifest.json"])
        assert (manifest["format"], manifest["version"], manifest["kind"]) == ("automations archive", VERSION, "tenant")
        here = f"videos/{video}/"
        entries = json.loads(files[here + "manifest.json"])["entries"]
        assert {here + one["name"] for one in entries} == {name for name in files if name.startswith(here)} - {
            here + "manifest.json"
        }
        for one in entries:
            content = files[here + one["name"]]
            assert (one["size_bytes"], one["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert files[here + "media"] == HEAD + b"MARKED" * 50
        held = json.loads(files[here + "held.json"])
        assert {name: len(rows) for name, rows in held.items() if name != "tags"} == {
            "jobs": 2,
            "events": 8,
            "uploads": 1,
            "copies": 0,
            "webhook_messages": 1,
            "legal_hold": 0,
        }
        # Where it was fetched from is sealed in its row, and told here.
        assert [one["url"] for one in held["uploads"]] == ["MARKED"]
        assert not any("sealed" in one for one in held["uploads"])
        (webhook,) = of_tenant(files)["webhooks"]
        assert webhook["url"] == "https://example.com/hook"
        assert [one["email"] for one in of_tenant(files)["people"]] == ["a@example.com"]
        # No secret of anybody.
        everything = b"".join(files.values())
        for secret in ("argon2", "password_hash", "digest", "whsec_", "wrapped", made.json()["secret"]):
            assert secret.encode() not in everything, secret

    library(body)


def test_one_whose_bytes_are_lost_is_exported_without_them(call):
    async def body(api):
        video = (await uploaded(api.a, b"film"))["id"]
        for key in [key async for keys in api.store.keys("videos") for key in keys]:
            await api.store.delete(key)
        exported = await api.a.get(f"/v1/videos/{video}/export")
        assert f"videos/{video}/media" not in unpacked(exported.content)
        told = (await api.b.post("/v1/import", content=exported.content)).json()
        assert (told["videos"], told["without_bytes"]) == ({}, [video])

    call(body)


#: Where something is wrong behind the video.
BEHIND = (
    "cut off before its end",
    "something behind it",
    "an end of another one",
    "an end that counts fewer",
    "a video twice",
    "something between two files",
)


def test_what_is_no_archive_is_refused_and_nothing_of_it_stays(library):
    async def body(api, video):
        whole = (await api.a.get(f"/v1/videos/{video}/export")).content
        files = unpacked(whole)
        assert len(packed(files)) == len(whole)
        for name, made in HOSTILE.items():
            answer = await api.b.post("/v1/import", content=made(files))
            problem = answer.json()
            assert (answer.status_code, problem.get("code")) == (422, "archive_refused"), (name, answer.text)
            there = (await api.b.get("/v1/videos")).json()["data"]
            # Each video is proved by itself: one that came before what is wrong stays.
            assert len(there) == (name in BEHIND), name
            for one in there:
                assert (await api.b.delete(f"/v1/videos/{one['id']}")).status_code == 204
        objects = [key async for keys in api.store.keys("videos") for key in keys]
        assert len(objects) == 1, "something was left"
        # What was made of the same files by hand, with nothing changed, is taken.
        answer = await api.b.post("/v1/import", content=packed(resealed(files)))
        assert answer.status_code == 200, answer.text

    library(body)


def test_reading_one_is_not_in_the_way_of_anybody(library, monkeypatch):
    """What takes long for a large archive is done beside the loop; and a tenant has one read at a time."""
    loops, beside = set(), set()
    inner = importing._parsed

    def parsed(name, *args):
        beside.add((name.rpartition("/")[2], threading.get_ident() in loops))
        return inner(name, *args)

    monkeypatch.setattr(importing, "_parsed", parsed)

    async def body(api, video):
        loops.add(threading.get_ident())
        whole = (await api.a.get("/v1/export")).content
        going, more = asyncio.Event(), asyncio.Event()

        async def slowly():
            yield whole[:-1000]
            going.set()
            await more.wait()
            yield whole[-1000:]

        first = asyncio.create_task(api.b.post("/v1/import", content=slowly()))
        await going.wait()
        # It has begun once it is known by its first manifest.
        async with asyncio.timeout(30):
            while not beside:
                await asyncio.sleep(0.01)
        refused = await api.b.post("/v1/import", content=whole)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert int(refused.headers["Retry-After"]) > 0
        # Others have theirs read.
        assert (await api.a.post("/v1/import", content=whole)).status_code == 200
        more.set()
        assert (await first).status_code == 200
        assert (await api.b.post("/v1/import", content=whole)).status_code == 200

    library(body)
    names = ("manifest.json", "video.json", "000001.json", "end.json")
    assert beside == {(name, False) for name in names}


def test_nobody_exports_what_is_anothers(call):
    async def body(api):
        video = (await uploaded(api.a, b"film"))["id"]
        assert (await api.b.get(f"/v1/videos/{video}/export")).status_code == 404
        assert video not in (await api.b.get("/v1/export")).text

    call(body)
