"""What a tenant may keep, over all the ways in, and exactly so under concurrency."""

import asyncio
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import NotFound
from serving.uploads import minutes, quota
from tests.serving.uploads.conftest import BYTES, TUS, checksum


def _allow(api, tenant: str, quota_bytes: int | None) -> None:
    async def body():
        database = Database(api.url, pool_size=1)
        try:
            async with database.write("tenant.quota", SYSTEM) as session:
                await quota.set_quota(session, tenant, quota_bytes)
        finally:
            await database.close()

    asyncio.run(body())


def _usage(client) -> dict:
    return client.http.get("/v1/usage").raise_for_status().json()


def _refused(answer) -> None:
    assert (answer.status_code, answer.json()["code"]) == (413, "quota_exceeded"), answer.text
    assert answer.json()["type"] == "/problems/quota_exceeded"


def _answer_before_the_end(api, head: str, data: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> str:
    """First line of the answer to a body without a length, of which only so much comes."""
    where = urlsplit(str(api.a.http.base_url))
    said = f"{head} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.a.key}\r\nTransfer-Encoding: chunked\r\n"
    said += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    with socket.create_connection((where.hostname, where.port), timeout=10) as line:
        line.sendall(said.encode() + f"{len(data):x}\r\n".encode() + data + b"\r\n")
        return line.recv(1000).decode().partition("\r\n")[0]


def test_usage_is_what_is_kept(api, film):
    assert _usage(api.a) == {
        "used_bytes": 0, "allowed_bytes": None, "videos": 0, "video_bytes": 0, "rendition_bytes": 0, "uploads": 0,
        "upload_bytes": 0,
        "used_minutes": 0, "allowed_minutes": None,
    }  # fmt: skip
    _allow(api, "a", 1_000_000)
    api.a.http.post("/v1/videos", content=film)
    api.a.http.post("/v1/videos", content=film)
    path = api.a.create(len(film))
    api.a.patch(path, 0, film[:10_000])
    used = len(film) + 10_000
    assert _usage(api.a) == {
        "used_bytes": used, "allowed_bytes": 1_000_000,
        "videos": 1, "video_bytes": len(film), "rendition_bytes": 0, "uploads": 1, "upload_bytes": 10_000,
        "used_minutes": 0, "allowed_minutes": None,
    }  # fmt: skip
    # The same bytes become the video that there is.
    api.a.patch(path, 10_000, film[10_000:])
    assert _usage(api.a)["used_bytes"] == len(film)
    assert _usage(api.b)["used_bytes"] == 0
    _allow(api, "a", 0)
    assert _usage(api.a)["allowed_bytes"] is None


def test_it_holds_for_one_request(api, film):
    _allow(api, "a", len(film))
    answer = api.a.http.post("/v1/videos", content=film + b"x")
    _refused(answer)
    assert f"{len(film) + 1} bytes: 0 of {len(film)} are used" in answer.json()["detail"]
    # Where the length is not said before, it shows once too much has come: the end is not waited for.
    _refused(api.a.http.post("/v1/videos", content=iter([film, b"x"])))
    for head in ("POST /v1/videos", "PUT /v1/videos/files/x.mp4"):
        assert _answer_before_the_end(api, head, film + b"x").startswith("HTTP/1.1 413 ")
    assert api.files() == []
    assert api.a.http.post("/v1/videos", content=film).status_code == 201
    _refused(api.a.http.post("/v1/videos", content=film + b"x"))
    _refused(api.a.http.put("/v1/videos/files/x.mp4", content=film + b"x"))
    _refused(api.a.http.post("/v1/videos", files={"file": film + b"x" * 20_000}))
    _refused(api.a.http.post("/v1/uploads/url", json={"url": "https://example.com/x.mp4"}))
    assert len(api.files()) == 1
    assert api.b.http.post("/v1/videos", content=film + b"x").status_code == 201


def test_it_holds_for_pieces(api, film):
    _allow(api, "a", len(film))
    _refused(api.a.http.post("/v1/uploads", headers=TUS | {"Upload-Length": str(len(film) + 1)}))
    # Each may begin; what they have together is bounded.
    one, other = api.a.create(len(film)), api.a.create(None)
    assert api.a.patch(one, 0, film[:10_000]).status_code == 204
    _refused(api.a.patch(other, 0, film))
    kept = api.a.offset(other)
    assert 0 < 10_000 + kept <= len(film)
    assert _usage(api.a)["upload_bytes"] == 10_000 + kept
    assert len(api.files()) == len(api.sql("SELECT * FROM upload_part"))
    assert api.a.http.delete(other, headers=TUS).status_code == 204
    assert api.a.patch(one, 10_000, film[10_000:]).status_code == 204
    assert (api.a.record(one)["status"], _usage(api.a)["used_bytes"]) == ("completed", len(film))


def test_it_holds_while_a_piece_comes_that_is_kept_as_a_whole(api, film):
    """With a checksum, nothing of a piece is kept before all of it came: it would be on the disk, and count nowhere."""
    _allow(api, "a", len(film) - 1)
    path = api.a.create(None)
    headers = BYTES | {"Upload-Offset": "0", "Upload-Checksum": checksum(film + b"x")}
    assert _answer_before_the_end(api, f"PATCH {path}", film, headers).startswith("HTTP/1.1 413 ")
    assert (api.files(), api.a.offset(path)) == ([], 0)


def test_a_quota_that_shrinks_ends_what_is_under_way(api, film):
    path = api.a.create(len(film))
    api.a.patch(path, 0, film[:9_000])
    api.sql("UPDATE upload SET size_bytes = 9000")
    _allow(api, "a", 5)
    _refused(api.a.patch(path, 9_000, b""))
    record = api.a.record(path)
    assert (record["status"], record["error"]["code"]) == ("errored", "quota_exceeded")
    assert (api.files(), _usage(api.a)["used_bytes"]) == ([], 0)


@pytest.mark.parametrize("way", ["one request", "pieces"])
def test_twenty_at_once_do_not_exceed_it(api, film, way):
    fits = 3
    size = len(film) + 2
    _allow(api, "a", fits * size + 1)

    def send(number: int) -> int:
        data = film + f"{number:02}".encode()
        if way == "one request":
            # Without a length, so that all begin.
            return api.a.http.post("/v1/videos", content=iter([data])).status_code
        made = api.a.http.post("/v1/uploads", headers=BYTES | {"Upload-Length": str(size)}, content=data)
        return made.status_code

    with ThreadPoolExecutor(20) as threads:
        statuses = list(threads.map(send, range(20)))
    assert set(statuses) <= {201, 413}
    kept = sum(row[0] for row in api.sql("SELECT size_bytes FROM video UNION ALL SELECT size_bytes FROM upload_part"))
    assert kept == _usage(api.a)["used_bytes"] <= fits * size + 1
    if way == "one request":
        # Pieces of several may stand in one another's way; whole videos fill it up.
        assert (statuses.count(201), len(api.files())) == (fits, fits)


def test_sums_need_no_table(api):
    """What is added up for a tenant with very many videos is read from an index alone."""

    async def body() -> str:
        database = Database(api.url, pool_size=1)
        try:
            async with database.write("clean.old", SYSTEM) as session:
                many = """
                    INSERT INTO video
                        (id, tenant_id, title, labels, user_metadata, size_bytes, sha256, object_key, status,
                        duration_s)
                    SELECT 'vid_' || md5(n::text), 'a', 't', '{}', '{}', 1, md5(n::text) || md5(n::text),
                        'videos/vid_' || md5(n::text), 'analyzed', 60
                    FROM generate_series(1, 5000) n
                """
                await execute(session, text(many))
                await execute(session, text("ANALYZE video"))
                await execute(session, text("SET LOCAL enable_seqscan = off"))
                lines = ""
                for added in ("size_bytes + imported_bytes", "duration_s"):
                    plan = f"EXPLAIN SELECT coalesce(sum({added}), 0) FROM video WHERE tenant_id = 'a'"
                    lines += "\n".join((await execute(session, text(plan))).scalars())
                assert (await quota.usage(session, "a", 0)).video_bytes == 5000
                assert await minutes.used_seconds(session, "a") == 300_000
                with pytest.raises(NotFound):
                    await quota.set_quota(session, "nobody", 1)
                return lines
        finally:
            await database.close()

    plans = asyncio.run(body())
    assert plans.count("Index Only Scan using ix_video_size") == 2, plans
