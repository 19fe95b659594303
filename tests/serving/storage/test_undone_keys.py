"""A key that was made in a transaction that was undone is nobody's, whatever the process that made it remembers."""

import httpx

from serving.storage.keyring import fresh_key
from tests.serving.api.conftest import made_key, served
from tests.serving.playback.conftest import content_of
from tests.serving.sealing import kept, keyring, store_at

HOOK = {"url": "https://hooks.example.com/services/T0"}


def test_what_comes_after_a_first_request_that_was_undone_is_read_by_another_process(run, url, tmp_path):
    content = content_of(1000)

    async def body(world):
        headers = {"Authorization": f"Bearer {await made_key(world.database, 'a')}"}
        store = store_at(tmp_path)
        async with served(url, store) as address, httpx.AsyncClient(base_url=address, headers=headers) as client:
            undone = await client.post("/v1/webhooks", json=HOOK | {"description": "a\u0000b"})
            assert (undone.status_code, undone.json()["code"]) == (400, "invalid_request")
            assert await world.sql("SELECT version FROM tenant_key") == []
            made = await client.post("/v1/webhooks", json=HOOK)
            assert made.status_code == 201, made.text
            sent = await client.post("/v1/videos", content=content, params={"filename": "film.mp4"})
            assert sent.status_code == 201, sent.text
        ((key,),) = await world.sql("SELECT object_key FROM video WHERE id = :id", id=sent.json()["id"])
        # Who starts later knows what is in the database, and no more.
        later = store_at(tmp_path)
        assert await kept(world.database, later, key) == content
        async with served(url, later) as address, httpx.AsyncClient(base_url=address, headers=headers) as client:
            hooks = (await client.get("/v1/webhooks")).json()
            assert [hook["url"] for hook in hooks] == [HOOK["url"]]

    run(body)


def test_a_key_is_known_by_its_row_and_its_uses_by_its_version(run):
    async def body(world):
        ring = keyring()
        async with world.database.read("a") as session:
            first = await ring.tenant_key(await ring.latest(session, "a"))
        # That was undone.
        async with world.database.write("video.write", "a") as session:
            await ring.keep(session, "a", "videos/1", fresh_key(), video_id="vid_a")
            row = await ring.latest(session, "a")
        assert await ring.tenant_key(row) == await keyring().tenant_key(row) != first
        assert ring.used() == [("a", 1), ("a", 1)]

    run(body)
