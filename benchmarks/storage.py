"""What does it cost that videos are sealed?

    python -m benchmarks storage [--mib 256] [--clients 1 16 64] [--rounds 3]

A video of random bytes is uploaded to the real API and asked for in ranges: sealed; through the same API with a store
that seals nothing; and, where nginx is installed, from a folder that it serves. All take turns in one run, several
rounds; medians. Everybody has the same client, which does no more than it must, on the same machine.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from sqlmodel import col, delete, select

from benchmarks import machine
from benchmarks.api import request
from benchmarks.storage_peers import SECRET, Server, servers
from serving.auth import opaque
from serving.auth.principals import SCOPES
from serving.db import embedded, migrate
from serving.db.accounts import ApiKey, Tenant
from serving.db.database import SYSTEM, Database
from serving.db.keys import DataKey
from serving.db.media import Video

OUT = Path("benchmarks/results/storage.json")

#: Sealed against plain, and against the first byte of plain; MiB of memory that a stream may take.
GOALS = {"upload_to_plain": 0.7, "download_to_plain": 0.7, "first_byte_to_plain": 2.0, "mib_per_stalled_stream": 2.0}

#: Bytes of a download in the middle of the video, and of a seek.
PART_BYTES, SEEK_BYTES = 32 << 20, 64 << 10

#: Downloads, together, of all clients in one measurement; seeks of each client.
DOWNLOADED_BYTES, SEEKS = 512 << 20, 40


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write it down; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks storage", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mib", type=int, default=256, help="size of the video")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT, help=f"result file (default {OUT})")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, embedded.embedded(Path(folder) / "postgres") as url:
        migrate.upgrade(url)
        result = asyncio.run(_measure(url, Path(folder), args))
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    for name, found in result["ratios"].items():
        print(f"{name:24} {found:8.3f}   goal {GOALS[name]}")
    return 0 if result["met"] else 1


async def _measure(url: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    content = b"\x1aE\xdf\xa3" + random.Random(0).randbytes((args.mib << 20) - 4)
    key = await tenant(url)
    found: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    # An empty page of the same server: from there on memory is counted.
    async with servers(url, folder, content) as (there, missing):
        for round_ in range(args.rounds):
            for server in there:
                if server.uploads:
                    rate, video = await _upload(server, key, content)
                    found[server.name, "upload_mb_per_s", 1].append(rate)
                    if server.name == "plain":
                        await _unsealed(url, video)
                    server.path = f"/v1/videos/{video}/stream"
            for clients in args.clients:
                for server in there:
                    for what, value in (await _asked(server, key, len(content), clients, round_)).items():
                        found[server.name, what, clients].append(value)
    rows = [
        {"who": who, "what": what, "clients": clients, "median": round(median(values), 3), "runs": len(values)}
        for (who, what, clients), values in found.items()
    ]
    for row in rows:
        print(f"{row['who']:8} {row['what']:24} {row['clients']:3d} clients {row['median']:10.3f}")
    medians = {(row["who"], row["what"], row["clients"]): row["median"] for row in rows}
    ratios = _ratios(medians, args.clients)
    met = all(value >= GOALS[name] if "first" not in name and "mib" not in name else value <= GOALS[name]
              for name, value in ratios.items())  # fmt: skip
    return {
        "machine": machine.record(),
        "mib": args.mib,
        "missing": missing,
        "goals": GOALS,
        "ratios": ratios,
        "met": met,
        "runs": rows,
    }


def _ratios(medians: dict[tuple[str, str, int], float], clients: Sequence[int]) -> dict[str, float]:
    """The worst over all numbers of clients."""

    def against(what: str, count: int) -> float:
        return medians["sealed", what, count] / medians["plain", what, count]

    return {
        "upload_to_plain": round(against("upload_mb_per_s", 1), 3),
        "download_to_plain": round(min(against("download_mb_per_s", count) for count in clients), 3),
        "first_byte_to_plain": round(max(against("first_byte_ms", count) for count in clients), 3),
        "mib_per_stalled_stream": round(medians["sealed", "mib_per_stalled_stream", max(clients)], 3),
    }


async def tenant(url: str) -> str:
    """Somebody with a key, which is returned."""
    database, key = Database(url), opaque.new_key()
    try:
        async with database.write("tenant.create", SYSTEM) as session:
            session.add(Tenant(id="a", name="a"))
            await session.flush()
            digest = opaque.digest(SECRET, key)
            session.add(ApiKey(id="key_a", tenant_id="a", name="k", hint="h", digest=digest, scopes=sorted(SCOPES)))
    finally:
        await database.close()
    return key


async def _unsealed(url: str, video: str) -> None:
    """Have the server know that a video is not sealed."""
    database = Database(url)
    try:
        async with database.write("video.write", SYSTEM) as session:
            found = (await session.exec(select(Video).where(Video.id == video))).one()
            await session.exec(delete(DataKey).where(col(DataKey.object_key) == found.object_key))
    finally:
        await database.close()


async def _upload(server: Server, key: str, content: bytes) -> tuple[float, str]:
    """MB/s, and the id of the video; another one each time."""
    body = content[:-8] + random.randbytes(8)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    began = time.perf_counter()
    writer.write(request("POST", "/v1/videos", key, body).replace(b"application/json", b"application/octet-stream"))
    await writer.drain()
    status, _, answer = await _answered(reader)
    took_s = time.perf_counter() - began
    writer.close()
    if status != 201:
        raise RuntimeError(f"{status}: {answer[:300]!r}")
    return len(body) / 1e6 / took_s, json.loads(answer)["id"]


async def _asked(server: Server, key: str, size: int, clients: int, seed: int) -> dict[str, float]:
    """Everything that is measured of one server with so many clients at once."""
    rng = random.Random(seed)
    first_ms: list[float] = []
    seek_ms: list[float] = []

    async def download() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(max(1, DOWNLOADED_BYTES // PART_BYTES // clients)):
            at = rng.randrange(size - PART_BYTES)
            await _range(server, reader, writer, key, at, PART_BYTES, [])
        writer.close()

    async def seek() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(SEEKS):
            at = rng.randrange(size - SEEK_BYTES)
            began = time.perf_counter()
            await _range(server, reader, writer, key, at, SEEK_BYTES, first_ms)
            seek_ms.append(1e3 * (time.perf_counter() - began))
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(download() for _ in range(clients)))
    took_s = time.perf_counter() - began
    moved = clients * max(1, DOWNLOADED_BYTES // PART_BYTES // clients) * PART_BYTES
    await asyncio.gather(*(seek() for _ in range(clients)))
    return {
        "download_mb_per_s": moved / 1e6 / took_s,
        "first_byte_ms": median(first_ms),
        "seek_ms": median(seek_ms),
        "mib_per_stalled_stream": await _stalled(server, key, clients),
    }


async def _range(
    server: Server,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    key: str,
    at: int,
    length: int,
    first_ms: list[float],
) -> None:
    began = time.perf_counter()
    writer.write(_ranged(server, key, at, length))
    status, left, piece = await _answered(reader, whole=False)
    if status != 206:
        raise RuntimeError(f"{server.name} answered {status}")
    if not piece:
        piece = await reader.read(1)
    first_ms.append(1e3 * (time.perf_counter() - began))
    left -= len(piece)
    while left:
        piece = await reader.read(min(left, 1 << 20))
        if not piece:
            raise RuntimeError(f"{server.name} ended {left} bytes before the end")
        left -= len(piece)


async def _stalled(server: Server, key: str, clients: int) -> float:
    """MiB that the server has more for each client that asks for all and then takes nothing."""
    before = server.resident_mib()
    lines = []
    for _ in range(clients):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 16)
        writer.write(_ranged(server, key, 0, None))
        await _answered(reader, whole=False)
        lines.append(writer)
    await asyncio.sleep(2)
    more = server.resident_mib() - before
    for writer in lines:
        writer.transport.abort()
    await asyncio.sleep(0.5)
    return max(0.0, more) / clients


def _ranged(server: Server, key: str, at: int, length: int | None) -> bytes:
    last = "" if length is None else at + length - 1
    plain = request("GET", server.path, key)
    return plain[:-2] + f"Range: bytes={at}-{last}\r\n\r\n".encode()


async def _answered(reader: asyncio.StreamReader, *, whole: bool = True) -> tuple[int, int, bytes]:
    """Status, length, and the body where all of it is wanted."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0] or b"0")
    return int(head[9:12]), length, await reader.readexactly(length) if whole else b""


if __name__ == "__main__":
    sys.exit(main())
