"""Nothing of a video or of a secret is on the disk as it is, whatever was killed when: not in objects, nor in the
database and its log, in temporary files, logs or core dumps. See `canaries` for how it is looked for."""

import asyncio
import base64
import contextlib
import itertools
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from sqlmodel import select

from serving.auth import tenants
from serving.db import embedded, migrate
from serving.db.database import SYSTEM, Database
from serving.db.keys import DataKey, TenantKey
from serving.storage import reports
from tests.serving.storage import canaries
from tests.serving.storage.canary_drill import Drill, half_sent, holding, locked_in, until
from tests.serving.storage.canary_films import film

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = TUS | {"Content-Type": "application/offset+octet-stream"}
SHM = Path("/dev/shm")


@pytest.fixture
def drill(tmp_path_factory) -> Iterator[Drill]:
    """A server of its own, with PostgreSQL as it is embedded."""
    folder = tmp_path_factory.mktemp("canary")
    with embedded.embedded(folder / "postgres") as url:
        migrate.upgrade(url)
        made = Drill(folder, url)
        try:
            yield made
        finally:
            made.close()


def test_all_forms_are_found_where_they_are(tmp_path):
    """Else that nothing is found would say nothing."""
    canary, deep = secrets.token_bytes(24), tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    around = secrets.token_bytes(5_000)
    for shift in range(3):
        text = base64.b64encode(around[: 300 + shift] + canary + around)
        (deep / f"base64 {shift}").write_bytes(text)
        (deep / f"base64url {shift}").write_bytes(text.replace(b"+", b"-").replace(b"/", b"_"))
    (deep / "as it is").write_bytes(around + canary + around)
    (deep / "at the end").write_bytes(around + canary)
    (deep / "hex").write_bytes(around + canary.hex().encode())
    (deep / "HEX").write_bytes(around + canary.hex().upper().encode())
    (deep / "nothing").write_bytes(around)
    (deep / "empty").write_bytes(b"")
    (deep / "a-name-with-KANARIE-in-it").write_bytes(b"")
    (deep / "utf-16").write_text("x KANARIE x", "utf-16")
    hits = canaries.scan([tmp_path], {"canary": canary, "name": b"KANARIE-i", "text": b" KANARIE"})
    assert {Path(hit.file).name for hit in hits} == {file.name for file in deep.iterdir()} - {"nothing", "empty"}
    with pytest.raises(ValueError, match="anywhere"):
        canaries.forms(b"short")


def test_nothing_is_on_the_disk_as_it_is(drill: Drill):
    before = set(SHM.iterdir())
    key = _begun(drill)
    videos = _used_and_killed(drill, key)
    _known_by_now(drill, videos)
    drill.flush()
    assert drill.rows("SELECT count(*) FROM report")[0][0] >= 3
    places = [drill.folder, *(one for one in set(SHM.iterdir()) - before if one.is_dir())]
    assert canaries.scan(places, drill.known) == []
    assert [file for file in canaries.files([drill.folder]) if file.name.startswith("core")] == []

    # What is kept as it is is found by the same scan: in the table, and in the log that is written before.
    control = drill.marked("control")
    drill.rows(f"UPDATE video SET title = '{control.decode()}' WHERE id = '{videos[0]}' RETURNING 1")
    drill.flush()
    found = {Path(hit.file).parent.name for hit in canaries.scan([drill.folder], {"control": control})}
    assert "pg_wal" in found
    assert len(found) > 1, found


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_nothing_is_on_the_disk_after_a_quarter_of_an_hour_of_it(drill: Drill):
    key, videos, ends = _begun(drill), [], time.monotonic() + 900
    while time.monotonic() < ends:
        videos += _used_and_killed(drill, key, len(videos))
    _known_by_now(drill, videos)
    drill.flush()
    assert canaries.scan([drill.folder], drill.known) == []


def _begun(drill: Drill) -> str:
    """A tenant, its secrets, and its key."""
    key = asyncio.run(_tenant(drill))
    drill.known["API key"] = key.encode()
    api = drill.api()
    with _client(drill, key) as client:
        _secrets(drill, client)
    drill.kill(api)
    return key


def _client(drill: Drill, key: str) -> httpx.Client:
    # A connection for each request: what one was with is killed before the next.
    limits = httpx.Limits(max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {key}"}
    address = f"http://127.0.0.1:{drill.port}"
    return httpx.Client(base_url=address, timeout=60, headers=headers, limits=limits, verify=False)


def _used_and_killed(drill: Drill, key: str, more: int = 0) -> list[str]:
    """Everything that brings something in, and kills in the middle of it; ids of videos that were analysed.

    Args:
        more: pictures of the videos beyond so many, so that they are others each time.
    """
    known = drill.known
    path = drill.folder.parent / "film.mkv"
    films = [film(path, known["pixels"], known["said"], frames + more) for frames in (64, 120, 40)]
    path.unlink()
    known_by = {"Authorization": f"Bearer {key}"}
    api = drill.api()
    with _client(drill, key) as client:
        # Killed while a file comes in, and while a part of one does.
        half_sent(drill, "POST /v1/videos?filename=half.mkv", films[0], known_by)
        drill.kill(api)
        api = drill.api()
        told = TUS | {"Upload-Length": str(len(films[1])), "Upload-Metadata": f"note {_base64(known['metadata'])}"}
        there = client.post("/v1/uploads", headers=told).headers["Location"]
        third = len(films[1]) // 3
        client.patch(there, headers=BYTES | {"Upload-Offset": "0"}, content=films[1][:third]).raise_for_status()
        headers = BYTES | known_by | {"Upload-Offset": str(third)}
        half_sent(drill, f"PATCH {there}", films[1][third:], headers)
        drill.kill(api)
        api = drill.api()
        assert client.head(there, headers=TUS).headers["Upload-Metadata"].endswith(_base64(known["metadata"]))
        offset = int(client.head(there, headers=TUS).headers["Upload-Offset"])
        client.patch(there, headers=BYTES | {"Upload-Offset": str(offset)}, content=films[1][offset:])
        videos = [client.get(there).json()["video_id"]]
        videos.append(client.post("/v1/videos?filename=whole.mkv", content=films[0]).json()["id"])
        with holding(films[2]) as port:
            url = f"http://films.example.com:{port}/film.mkv?token={known['fetched'].decode()}"
            upload = client.post("/v1/uploads/url", json={"url": url}).json()
            _jobs(drill, client, videos)
            until(lambda: client.get(f"/v1/uploads/{upload['id']}").json()["status"] == "completed")
        videos.append(client.get(f"/v1/uploads/{upload['id']}").json()["video_id"])
        _submitted(client, videos[-1:])
        until(lambda: _all_succeeded(client))
        _looked_at(drill, client, videos[0])
        # Killed while all that is held is taken away.
        export = client.stream("GET", f"/v1/videos/{videos[0]}/export")
        with contextlib.suppress(httpx.TransportError), export as answer:
            for _ in answer.raise_for_status().iter_bytes(1000):
                if api in drill.running:
                    drill.kill(api)
        assert api not in drill.running
    drill.kill_all()
    return videos


async def _tenant(drill: Drill) -> str:
    database = Database(drill.url)
    async with database.write("tenant.create", SYSTEM) as session:
        _, key = await tenants.create(session, drill.secret, "default")
    await database.close()
    return key


def _secrets(drill: Drill, client: httpx.Client) -> None:
    """A webhook, somebody who signs in, and a request that cannot be kept, which PostgreSQL would tell whole."""
    known = drill.known
    hook = client.post("/v1/webhooks", json={"url": f"https://hooks.example.com/{known['hook'].decode()}"}).json()
    known["webhook's secret"] = base64.b64decode(hook["secret"].removeprefix("whsec_"))
    again = client.post(f"/v1/webhooks/{hook['about']['id']}/rotate").json()
    known["webhook's new secret"] = base64.b64decode(again["secret"].removeprefix("whsec_"))
    person = {"email": "someone@example.com", "name": "n", "role": "viewer", "password": known["password"].decode()}
    client.post("/v1/users", json=person).raise_for_status()
    signed_in = {"email": person["email"], "password": person["password"]}
    tokens = client.post("/v1/auth/token", json=signed_in).raise_for_status().json()
    known |= {"access token": tokens["access_token"].encode(), "refresh token": tokens["refresh_token"].encode()}
    drill.rows("ALTER TABLE webhook_endpoint ADD CONSTRAINT none_at_all CHECK (false) NOT VALID")
    refused = client.post("/v1/webhooks", json={"url": f"https://hooks.example.com/{known['hook'].decode()}/2"})
    assert refused.status_code == 500
    drill.rows("ALTER TABLE webhook_endpoint DROP CONSTRAINT none_at_all")


def _submitted(client: httpx.Client, videos: list[str]) -> None:
    for video in videos:
        spec = {"model": "bundled", "sampling": {"fps": 2.0}}
        client.post("/v1/jobs", json={"video_id": video, "spec": spec}).raise_for_status()


def _all_succeeded(client: httpx.Client) -> bool:
    """Whether they are done. None may have failed, whoever was killed over it."""
    jobs = client.get("/v1/jobs", params={"limit": 100}).json()["data"]
    assert [job for job in jobs if job["state"] not in {"queued", "running", "succeeded"}] == []
    return all(job["state"] == "succeeded" for job in jobs)


def _jobs(drill: Drill, client: httpx.Client, videos: list[str]) -> None:
    """Jobs whose decoders are killed, and then their worker; another one goes on with them."""
    worker = drill.fork("worker 0.5")
    _submitted(client, videos)
    until(lambda: drill.rows("SELECT 1 FROM checkpoint LIMIT 1"))
    decoders = locked_in(worker)
    assert decoders, "somebody decodes"
    for process in decoders:
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            limits = Path(f"/proc/{process.pid}/limits").read_text()
            assert [line.split()[4:6] for line in limits.splitlines() if "core file" in line] == [["0", "0"]]
            process.kill()
    until(lambda: drill.rows("SELECT 1 FROM job WHERE state = 'running'"))
    time.sleep(0.5)
    drill.kill(worker)
    drill.fork("worker 0")


def _looked_at(drill: Drill, client: httpx.Client, video: str) -> None:
    """A stretch of a video, pictures of it, and what lets others look at them."""
    urls = client.get(f"/v1/videos/{video}/pictures").raise_for_status().json()
    drill.known["signature"] = urls["poster"]["url"].rpartition("signature=")[2].encode()
    stretch = client.get(f"/v1/videos/{video}/stream", headers={"Range": "bytes=100000-900000"})
    assert stretch.status_code == 206
    assert drill.known["pixels"] in stretch.content
    for part in ("poster?width=160", "thumbnail?at_s=3", "storyboard.jpg"):
        content = client.get(f"/v1/videos/{video}/{part}").raise_for_status().content
        drill.known[part] = content[len(content) // 2 :][:32]


def _known_by_now(drill: Drill, videos: list[str]) -> None:
    """What only its own process may know: keys, as they are."""

    async def keys() -> dict[str, bytes]:
        database, found = Database(drill.url), {}
        async with database.read(SYSTEM) as session:
            by = {(row.tenant_id, row.version): row for row in (await session.exec(select(TenantKey))).all()}
            for row in by.values():
                found[f"key of {row.tenant_id}"] = await drill.keyring.tenant_key(row)
            for row in (await session.exec(select(DataKey))).all():
                key = await drill.keyring.unwrap(row, by[row.tenant_id, row.tenant_version])
                found[f"key of {row.object_key}"] = key
            for (tenant, _), video in itertools.product(by, videos):
                kept = await reports.latest(session, drill.keyring, tenant, video)
                assert kept is not None
                found[f"report of {video}"] = kept.body[40:72]
        await database.close()
        return found

    found = asyncio.run(keys())
    assert sum("values/" in name for name in found) == 1 + len(videos), found.keys()
    drill.known |= found


def _base64(plain: bytes) -> str:
    return base64.b64encode(plain).decode()
