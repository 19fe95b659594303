"""Does anybody notice that all keys are wrapped anew?

    python -m benchmarks rotation [--keys 10000] [--clients 16]

An API in a process of its own, and an embedded PostgreSQL with keys of so many sealed videos. Half of the clients
upload over HTTP, in one request and in parts that are read back, and delete; the other half reads what was uploaded,
and compares it: over HTTP where the API streams videos, else as a worker does. Meanwhile `automations keys rotate` runs
in a third process. Whatever is not answered as it would be otherwise is a failure. At last all keys are compared.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from sqlalchemy import insert

from benchmarks import machine
from serving.auth import opaque
from serving.auth.principals import SCOPES
from serving.db import embedded, migrate
from serving.db.accounts import ApiKey, Tenant
from serving.db.database import SYSTEM, Database
from serving.db.keys import DataKey
from serving.db.media import Video
from serving.storage.keyring import Keyring, data_key_of, fresh_key
from serving.storage.master import LocalMaster, wrapped
from serving.storage.store import Store, video_at

OUT = Path("benchmarks/results/rotation.json")

#: What `benchmarks.api_server` has.
MASTER = bytes(32)

_SECRET = b"benchmark".ljust(32, b".")

#: What every video begins with, so that it is taken for one.
_HEAD = bytes.fromhex("1a45dfa3")

#: Of videos that are uploaded, bytes.
_SIZES = (500, 70_000, 200_000)

#: Videos that are read.
_READ = 40

Rotate = Callable[[], Awaitable[dict[str, int]]]


def main(argv: Sequence[str] | None = None) -> int:
    """Rotate under load, and write down how that went; 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="benchmarks rotation", description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=10_000, help="of sealed videos")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--out", type=Path, default=OUT, help=f"result file (default {OUT})")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name, embedded.embedded(Path(name) / "postgres") as url:
        migrate.upgrade(url)
        result = asyncio.run(_measured(url, Path(name), args.keys, args.clients))
    args.out.write_text(json.dumps({"machine": machine.record(), **result}, indent=1) + "\n")
    print(f"{result['rotated']['data_keys']} keys wrapped anew in {result['rotation_s']:.1f} s, meanwhile")
    print(f"{result['requests_during_rotation']} reads and writes of {args.clients} clients")
    print(f"{result['failures']} failures, {result['keys_changed']} keys changed")
    return int(bool(result["failures"] or result["keys_changed"]))


async def _measured(url: str, folder: Path, keys: int, clients: int) -> dict[str, Any]:
    database = Database(url)
    key = await _somebody(database)
    objects = folder / "data" / "objects"
    command = (sys.executable, "-m", "benchmarks.api_server", url, str(objects), _SECRET.hex())
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        address = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        try:
            store = Store(objects, Keyring(LocalMaster([MASTER])))
            return await under_load(database, store, address, key, keys, clients, _command(url, folder / "data"))
        finally:
            await database.close()
            server.stdin.close()


async def _somebody(database: Database) -> str:
    """A tenant `a`; its key."""
    key = opaque.new_key()
    async with database.write("tenant.create", SYSTEM) as session:
        session.add(Tenant(id="a", name="a"))
        await session.flush()
        digest = opaque.digest(_SECRET, key)
        session.add(ApiKey(id="key_a", tenant_id="a", name="k", hint="k", digest=digest, scopes=sorted(SCOPES)))
    return key


def _command(url: str, folder: Path) -> Rotate:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMATIONS_")} | {
        "AUTOMATIONS_SERVER__DATABASE_URL": url,
        "AUTOMATIONS_SERVER__DATA_DIR": str(folder),
        "AUTOMATIONS_STORAGE__MASTER_KEY": MASTER.hex(),
    }

    async def rotate() -> dict[str, int]:
        command = (sys.executable, "-m", "serving.cli", "keys", "rotate", "--json")
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
        out, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"the rotation ended with {process.returncode}")
        return json.loads(out)

    return rotate


@dataclass
class _Load:
    """What clients did."""

    requests: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    took_s: dict[str, list[float]] = field(default_factory=lambda: {"read": [], "write": []})
    over: asyncio.Event = field(default_factory=asyncio.Event)


async def under_load(
    database: Database, store: Store, address: str, key: str, keys: int, clients: int, rotate: Rotate
) -> dict[str, Any]:
    """Rotate while clients read and write.

    Args:
        store: where the API keeps its objects.
        address, key: of the API, for the tenant `a`.
        keys: that are wrapped anew, besides those of what is uploaded.
    """
    kept = await _filled(database, store.keyring, keys)
    load = _Load()
    headers = {"Authorization": f"Bearer {key}"}
    bounds = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60, limits=bounds, verify=False) as client:
        videos = [await _uploaded(client, content) for content in (_content(_SIZES[n % 3]) for n in range(_READ))]
        streams = (await client.get(f"/v1/videos/{videos[0][0]}/stream")).status_code == 200
        readers = [_read(load, client, database, store, videos, streams) for _ in range(clients // 2)]
        tasks = [asyncio.create_task(one) for one in (*readers, *(_write(load, client) for _ in range(clients // 2)))]
        # All are at it before it begins, and still when it is over.
        await asyncio.sleep(0.5)
        before, began = sum(load.requests.values()), time.perf_counter()
        done = await rotate()
        took_s = time.perf_counter() - began
        meanwhile = sum(load.requests.values()) - before
        load.over.set()
        await asyncio.gather(*tasks)
    found = await _keys(database, Keyring(LocalMaster([MASTER])), list(kept))
    return {
        "keys": keys,
        "clients": clients,
        "reads": "over HTTP" if streams else "as a worker reads",
        "rotated": done,
        "rotation_s": round(took_s, 2),
        "requests": dict(load.requests),
        "requests_during_rotation": meanwhile,
        "failures": len(load.failed),
        "failed": load.failed[:10],
        "keys_changed": sum(found.get(name) != value for name, value in kept.items()),
        "median_ms": {what: round(1000 * median(times), 1) for what, times in load.took_s.items() if times},
        "largest_ms": {what: round(1000 * max(times), 1) for what, times in load.took_s.items() if times},
    }


async def _filled(database: Database, keyring: Keyring, count: int) -> dict[str, bytes]:
    """Keys of so many videos of tenant `a`: name of its object -> the key."""
    kept = {f"videos/filled{number}": fresh_key() for number in range(count)}
    async with database.write("video.write", "a") as session:
        latest = await keyring.latest(session, "a")
        by, version = await keyring.tenant_key(latest), latest.version
        connection = await session.connection()
        videos, rows = [], []
        for name, key in kept.items():
            video = name.removeprefix("videos/")
            videos.append(
                {"id": video, "tenant_id": "a", "title": video, "size_bytes": 1, "sha256": video, "object_key": name}
                | {"labels": [], "user_metadata": {}, "status": "uploaded"}
            )
            sealed = wrapped(by, key, data_key_of("a", name, version))
            rows.append(
                {"object_key": name, "tenant_id": "a", "tenant_version": version, "wrapped": sealed, "video_id": video}
            )
        await connection.execute(insert(Video), videos)
        await connection.execute(insert(DataKey), rows)
    return kept


async def _keys(database: Database, keyring: Keyring, names: list[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    async with database.read("a") as session:
        for begin in range(0, len(names), 1000):
            found |= await keyring.keys_of(session, "a", names[begin : begin + 1000])
    return found


def _content(size: int) -> bytes:
    return _HEAD + random.randbytes(size - len(_HEAD))


async def _uploaded(client: httpx.AsyncClient, content: bytes) -> tuple[str, str]:
    """Upload it in one request; the video's id, and the hash of what it is."""
    answer = await client.post("/v1/videos", content=content)
    answer.raise_for_status()
    return answer.json()["id"], hashlib.sha256(content).hexdigest()


async def _write(load: _Load, client: httpx.AsyncClient) -> None:
    """Upload and delete, again and again."""
    while not load.over.is_set():
        content = _content(random.choice(_SIZES))
        async with _counted(load, "write"):
            if random.random() < 0.5:
                video, _ = await _uploaded(client, content)
                load.requests["uploads"] += 1
            else:
                video = await _in_parts(client, content)
                load.requests["uploads in parts"] += 1
            (await client.delete(f"/v1/videos/{video}")).raise_for_status()
            load.requests["deletions"] += 1


async def _in_parts(client: httpx.AsyncClient, content: bytes) -> str:
    """Upload it in two requests: the first part is sealed, kept, read back, and its key destroyed."""
    tus = {"Tus-Resumable": "1.0.0"}
    made = await client.post("/v1/uploads", headers=tus | {"Upload-Length": str(len(content))})
    made.raise_for_status()
    half, path = len(content) // 2, made.headers["location"]
    for offset, piece in ((0, content[:half]), (half, content[half:])):
        more = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        (await client.patch(path, headers=tus | more, content=piece)).raise_for_status()
    record = await client.get(path)
    record.raise_for_status()
    return record.json()["video_id"]


async def _read(
    load: _Load,
    client: httpx.AsyncClient,
    database: Database,
    store: Store,
    videos: Sequence[tuple[str, str]],
    streams: bool,
) -> None:
    """Read videos whole, and compare them."""
    while not load.over.is_set():
        video, sha256 = random.choice(videos)
        async with _counted(load, "read"):
            (await client.get(f"/v1/videos/{video}")).raise_for_status()
            content = await (_streamed(client, video) if streams else _opened(database, store, video))
            load.requests["reads"] += 1
            if hashlib.sha256(content).hexdigest() != sha256:
                raise ValueError(f"{video} is not what was uploaded")


async def _streamed(client: httpx.AsyncClient, video: str) -> bytes:
    answer = await client.get(f"/v1/videos/{video}/stream")
    answer.raise_for_status()
    return answer.content


async def _opened(database: Database, store: Store, video: str) -> bytes:
    name = f"videos/{video}"
    async with database.read("a") as session:
        key = await store.keyring.key_of(session, "a", name)
    if key is None:
        raise ValueError(f"{video} has no key")
    return b"".join([chunk async for chunk in store.get(video_at("a", name), key)])


@contextlib.asynccontextmanager
async def _counted(load: _Load, what: str) -> AsyncIterator[None]:
    """A block that is counted, and whose failure is no end of all."""
    began = time.perf_counter()
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is counted here
        load.failed.append(f"{what}: {type(error).__name__}: {error}")
    load.took_s[what].append(time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
