"""How long does somebody wait who plays a film first?

    python -m benchmarks playback [--minutes 90] [--rounds 3]

A film in 1080p (20 seconds, repeated packet by packet) is sent to the real API and asked for as a player and a page do:
its playlist, the first segment, its poster, a sheet of its storyboard. By a process that has just started, where none
of it was ever made; by another such one, where it is kept in the database; and by that process again, which has it in
memory. Medians over the rounds.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
import numpy as np
from sqlalchemy import text

from benchmarks import machine
from benchmarks.corpus.long import repeat
from benchmarks.storage import tenant
from benchmarks.storage_peers import api
from pipeline.synthesis import AUDIO_RATE_HZ, Encoding, write_video
from serving.db import embedded, migrate
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute

OUT: Final = Path("benchmarks/results/playback.json")

#: Waiting where it is kept against where it is not, by a process that has just started; MiB that are kept of a film.
GOALS: Final = {"playlist_kept_to_never": 0.1, "poster_kept_to_never": 0.3, "kept_mib": 4.0}

#: What is repeated, seconds, and how it is encoded: about 5 Mbit/s.
PART_S, FPS, WIDTH, HEIGHT = 20, 30, 1920, 1080
_ENCODING: Final = Encoding(gop=60, b_frames=2, bit_rate_bps=5_000_000, options={"preset": "ultrafast", "bf": "2"})

#: What is asked for, in this order.
ASKED: Final = {
    "playlist": "hls/index.m3u8",
    "first segment": "hls/0.m4s",
    "poster": "poster",
    "storyboard": "storyboard.jpg",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write it down; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks playback", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=int, default=90, help="length of the film")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT, help=f"result file (default {OUT})")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, embedded.embedded(Path(folder) / "postgres") as url:
        migrate.upgrade(url)
        film = _film(Path(folder), args.minutes)
        found = asyncio.run(_measure(url, Path(folder) / "objects", film, args.rounds))
    result = {"machine": machine.record(), "minutes": args.minutes, "goals": GOALS} | found
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    for row in result["runs"]:
        print(f"{row['state']:8} {row['what']:14} {row['median_s']:8.3f} s")
    for name, value in result["ratios"].items():
        print(f"{name:24} {value:8.3f}   goal {GOALS[name]}")
    return 0 if result["met"] else 1


def _film(folder: Path, minutes: int) -> Path:
    part = write_video(folder / "part.mp4", _frames(), fps=FPS, encoding=_ENCODING, audio=_sound())
    return repeat(part, minutes * 60 // PART_S, folder / "film.mp4", PART_S)


def _frames() -> Iterator[np.ndarray]:
    """Noise that moves: it fills the bit rate."""
    noise = np.random.default_rng(0).integers(0, 128, (HEIGHT, WIDTH, 3), np.uint8)
    for number in range(PART_S * FPS):
        yield np.roll(noise, number * 8, axis=1)


def _sound() -> np.ndarray:
    return 0.1 * np.random.default_rng(1).standard_normal(PART_S * AUDIO_RATE_HZ).astype(np.float32)


async def _measure(url: str, folder: Path, film: Path, rounds: int) -> dict[str, Any]:
    key = await tenant(url)
    database = Database(url)
    waited: dict[tuple[str, str], list[float]] = defaultdict(list)
    async with api(url, folder, "sealed") as server, _client(server.port, key) as client:
        video = await _uploaded(client, film)
    for _ in range(rounds):
        async with database.write("clean.expired", SYSTEM) as session:
            await execute(session, text("DELETE FROM derived"))
        for states in (("never",), ("kept", "memory")):
            async with api(url, folder, "sealed") as server, _client(server.port, key) as client:
                for state in states:
                    for what, path in ASKED.items():
                        waited[state, what].append(await _wait(client, f"/v1/videos/{video}/{path}"))
    async with database.read(SYSTEM) as session:
        query = text("SELECT name, octet_length(sealed) AS bytes FROM derived ORDER BY name")
        kept = {row.name: row.bytes for row in (await execute(session, query)).all()}
    await database.close()
    rows = [
        {"state": state, "what": what, "median_s": round(median(times), 4), "runs_s": [round(one, 4) for one in times]}
        for (state, what), times in waited.items()
    ]
    medians = {(row["state"], row["what"]): row["median_s"] for row in rows}
    ratios = {
        f"{what}_kept_to_never": round(medians["kept", what] / medians["never", what], 4)
        for what in ("playlist", "poster")
    } | {"kept_mib": round(sum(kept.values()) / 2**20, 3)}
    return {
        "film_bytes": film.stat().st_size,
        "kept_bytes": kept,
        "ratios": ratios,
        "met": all(value <= GOALS[name] for name, value in ratios.items()),
        "runs": rows,
    }


def _client(port: int, key: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=300, verify=False)


async def _uploaded(client: httpx.AsyncClient, film: Path) -> str:
    async def pieces() -> AsyncIterator[bytes]:
        with film.open("rb") as file:
            while piece := await asyncio.to_thread(file.read, 1 << 20):
                yield piece

    answer = await client.post("/v1/videos", params={"filename": "film.mp4"}, content=pieces())
    answer.raise_for_status()
    return answer.json()["id"]


async def _wait(client: httpx.AsyncClient, path: str) -> float:
    """Seconds until all of the answer is here."""
    began = time.perf_counter()
    answer = await client.get(path)
    answer.raise_for_status()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
