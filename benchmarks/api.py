"""How fast does the API answer, against a handler that does nothing and a query without an API?

    python -m benchmarks api [--seconds 3] [--clients 1 16 64] [--videos 1000 1000000]
    python -m benchmarks api --starts      how long it takes to start, alone; the other figures stay as they are

The API runs in a process of its own, as does an embedded PostgreSQL; requests come from this one over keep-alive
connections, with a client that does no more than it must. What is asked of takes turns, several rounds; medians.
"""

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import text

from benchmarks import machine
from benchmarks.api_start import starts
from serving.auth import opaque
from serving.auth.principals import SCOPES
from serving.db import embedded, migrate
from serving.db.accounts import ApiKey, Tenant
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.db.statements import execute
from serving.jobs import submission
from serving.jobs.submission import JobRequest

OUT = Path("benchmarks/results/api.json")

#: Get-by-id against the bare handler, requests/s; uploads against one that throws the bytes away; slow against usual.
GOALS = {"get_job_to_bare": 0.4, "upload_to_bare": 0.6, "p99_to_p50": 10.0, "list_large_to_small": 1.25}

UPLOAD_BYTES = 64 << 20

#: Jobs that are asked for by turns: everybody looks at one of their own.
JOBS = 100

_SECRET = b"benchmark".ljust(32, b".")

_VIDEOS = """
INSERT INTO video (id, tenant_id, title, size_bytes, sha256, object_key, created_at, labels, user_metadata, status)
SELECT cast(:prefix AS text) || n, cast(:tenant AS text), 'n' || n, 1, 'h' || n, 'k', now() - n * interval '1 s', '{}',
    '{}', 'uploaded'
FROM generate_series(1, cast(:count AS int)) n
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Load the API from one process, and write down how it does."""
    parser = argparse.ArgumentParser(prog="benchmarks api", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--videos", type=int, nargs=2, default=[1_000, 1_000_000], help="lists to compare")
    parser.add_argument("--out", type=Path, default=OUT, help=f"result file (default {OUT})")
    parser.add_argument("--starts", action="store_true", help="measure starts alone, and keep the rest of the file")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, embedded.embedded(Path(folder) / "postgres") as url:
        migrate.upgrade(url)
        result = json.loads(args.out.read_text()) if args.starts else asyncio.run(_measure(url, Path(folder), args))
        result["starts_s"] = starts(url, Path(folder))
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    for what, seconds in result["starts_s"].items():
        print(f"{what:22} " + ", ".join(f"{path} after {found:.2f} s" for path, found in seconds.items()))
    for name, found in result["ratios"].items():
        print(f"{name:22} {found:8.3f}   goal {GOALS[name]}")
    return 0


async def _measure(url: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    keys = await _filled(url, args.videos)
    command = (sys.executable, "-m", "benchmarks.api_server", url, str(folder / "objects"), _SECRET.hex())
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        api, plain = int(server.stdout.readline()), int(server.stdout.readline())
        try:
            rows = await _rounds(api, plain, keys, args)
            uploads = await _uploads(api, plain, keys["a"], args.rounds)
        finally:
            server.stdin.close()
    rates = {(row["what"], row["clients"]): row for row in rows}
    most = max(args.clients)
    ours, bare = rates["get_job", most], rates["bare", most]
    large, small = rates["list_large", 1], rates["list_small", 1]
    return {
        "machine": machine.record(),
        "goals": GOALS,
        "ratios": {
            "get_job_to_bare": round(ours["per_s"] / bare["per_s"], 3),
            "upload_to_bare": round(uploads["ours_mb_per_s"] / uploads["bare_mb_per_s"], 3),
            "p99_to_p50": round(max(row["p99_ms"] / row["p50_ms"] for row in rows if row["what"] == "get_job"), 2),
            "list_large_to_small": round(large["p50_ms"] / small["p50_ms"], 3),
        },
        "uploads": uploads,
        "runs": rows,
    }


async def _filled(url: str, counts: Sequence[int]) -> dict[str, str]:
    """Tenants with few and with many videos, and a job; tenant -> key."""
    database = Database(url)
    keys = {}
    for tenant, count in zip(("a", "b"), counts, strict=True):
        key = keys[tenant] = opaque.new_key()
        async with database.write("tenant.create", SYSTEM) as session:
            session.add(Tenant(id=tenant, name=tenant))
            await session.flush()
            digest = opaque.digest(_SECRET, key)
            session.add(
                ApiKey(id=f"key_{tenant}", tenant_id=tenant, name="k", hint="h", digest=digest, scopes=sorted(SCOPES))
            )
            session.add(
                Video(id=f"vid_{tenant}", tenant_id=tenant, title="x", size_bytes=1, sha256="x", object_key="x")
            )
        # By the million that takes longer than a request may.
        async with database.engine.begin() as connection:
            await connection.execute(text("SET LOCAL app.tenant = '*'"))
            for first in range(0, count, 100_000):
                values = {"prefix": f"vid_{tenant}{first}_", "tenant": tenant, "count": min(100_000, count - first)}
                await connection.execute(text(_VIDEOS), values)
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("ANALYZE video"))
    for number in range(JOBS):
        await submission.submit(database, "a", [JobRequest(video_id="vid_a")], job_id=f"job{number}")
    async with database.read("a") as session:
        assert (await execute(session, text("SELECT count(*) FROM job"))).scalar_one() == JOBS
    await database.close()
    return keys


async def _rounds(api: int, plain: int, keys: dict[str, str], args: argparse.Namespace) -> list[dict[str, Any]]:
    body = json.dumps({"video_id": "vid_a"}).encode()
    jobs = itertools.cycle(f"job{number}" for number in range(JOBS))
    asked: dict[str, tuple[int, Callable[[], bytes]]] = {
        "bare": (plain, lambda: request("GET", "/bare")),
        "query": (plain, lambda: request("GET", f"/query/{next(jobs)}")),
        "get_job": (api, lambda: request("GET", f"/v1/jobs/{next(jobs)}", keys["a"])),
        "list_small": (api, lambda: request("GET", "/v1/videos", keys["a"])),
        "list_large": (api, lambda: request("GET", "/v1/videos", keys["b"])),
        "post_job": (api, lambda: request("POST", "/v1/jobs", keys["a"], body)),
    }
    found: dict[tuple[str, int], list[tuple[float, list[float]]]] = defaultdict(list)
    for _ in range(args.rounds):
        for clients in args.clients:
            for what, (port, make) in asked.items():
                found[what, clients].append(await _load(port, make, clients, args.seconds))
    rows = []
    for (what, clients), runs in found.items():
        rate, times_s = sorted(runs, key=lambda run: run[0])[len(runs) // 2]
        times_s.sort()
        p50_ms, p99_ms = (1e3 * times_s[int(share * (len(times_s) - 1))] for share in (0.5, 0.99))
        rows.append(
            {
                "what": what,
                "clients": clients,
                "per_s": round(rate, 1),
                "p50_ms": round(p50_ms, 3),
                "p99_ms": round(p99_ms, 3),
            }
        )
        print(f"{what:12} {clients:3d} clients {rate:8.0f}/s  p50 {p50_ms:7.2f} ms  p99 {p99_ms:7.2f} ms")
    return rows


def request(method: str, path: str, key: str | None = None, body: bytes = b"") -> bytes:
    """A request as it goes over the line."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json"] if body else []
    lines += [f"Authorization: Bearer {key}"] if key else []
    return "\r\n".join((*lines, "", "")).encode() + body


async def _load(port: int, make: Callable[[], bytes], clients: int, seconds: float) -> tuple[float, list[float]]:
    """Requests/s, and how long each took."""
    times_s: list[float] = []
    until = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < until:
            writer.write(make())
            await _answered(reader)
            times_s.append(time.perf_counter() - began)
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return len(times_s) / (time.perf_counter() - began), times_s


async def _answered(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0] or b"0")
    body = await reader.readexactly(length)
    if status >= 400:
        raise RuntimeError(f"{status}: {body[:300]!r}")
    return body


async def _uploads(api: int, plain: int, key: str, rounds: int) -> dict[str, float]:
    """MB/s of one upload, ours with its hash, its store and its row, and one that is thrown away."""
    spent: dict[str, list[float]] = {"ours": [], "bare": []}
    for number in range(rounds):
        body = b"\x1aE\xdf\xa3" + bytes([number]) * UPLOAD_BYTES
        for name, port, path in (("ours", api, "/v1/videos"), ("bare", plain, "/swallow")):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            began = time.perf_counter()
            writer.write(request("POST", path, key, body))
            await writer.drain()
            await _answered(reader)
            spent[name].append(time.perf_counter() - began)
            writer.close()
            await writer.wait_closed()
    return {f"{name}_mb_per_s": round(UPLOAD_BYTES / 1e6 / median(times), 1) for name, times in spent.items()}


if __name__ == "__main__":
    sys.exit(main())
