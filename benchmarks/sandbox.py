"""What locking decoders in costs: the same videos read and decoded in this process, and by workers, in turns.

    python -m benchmarks sandbox [--runs 5] [--out FILE]

`jobs`: whole analyses with the bundled model, the smallest there is, so that hardly anything hides what locking in
costs; the goal of 5 % is for these. `rows`: index, cutting and decoding alone, of one frame a second and of all of
them. Wall-clock time. Starting the zygote is measured by itself, because a server pays for it once. `two at once`: two
videos side by side, on both cores.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import machine
from benchmarks.corpus import job as corpus
from models import catalog
from models.base import FrameModel, ModelInfo
from models.frame_stats import FrameStats
from pipeline.analyze import analyze
from pipeline.decode.base import Decoder
from pipeline.decode.choice import choose as choose_decoder
from pipeline.decode.pyav import PyAVDecoder
from pipeline.dispatch import gather
from pipeline.engine import LocalEngine
from pipeline.media import LocalMedia, Media
from pipeline.plans import plan
from pipeline.report import Report
from pipeline.sampling import choose
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.decoder import SandboxedDecoder
from pipeline.sandbox.media import SandboxedMedia
from pipeline.spec import AnalysisSpec, Sampling
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from serving.local import local_toolkit

FPS = (1.0, 30.0)

#: How many times as long a job may take.
GOAL = 1.05


class Blank(FrameModel):
    """Looks at nothing: what is left is reading, decoding and handing over."""

    def __init__(self) -> None:
        self.info = ModelInfo(name="blank", version="1", space="none", dim=1)

    def run(self, pixels) -> np.ndarray:
        """uint8 [N, H, W, 3] -> float32 [N, 1], zeros; touches one byte of each row so that it has to be there."""
        return np.asarray(pixels[:, :, 0, 0], np.float32).sum(axis=1, keepdims=True) * 0.0


async def _run(media: Media, decoder: Decoder, fps: float) -> int:
    index = (await asyncio.to_thread(media.inspect)).index
    rows = choose(index, Sampling(fps=fps))
    engine = LocalEngine({"blank": Blank()}, decoder)
    try:
        return len((await gather(media, index, plan(index, rows), engine)).pts_s)
    finally:
        engine.close()


def here(paths: list[Path], fps: float, _: Sandbox) -> int:
    """In this process."""

    async def all_of_them() -> int:
        return sum(await asyncio.gather(*(_run(LocalMedia(path), PyAVDecoder(), fps) for path in paths)))

    return asyncio.run(all_of_them())


def locked_in(paths: list[Path], fps: float, sandbox: Sandbox) -> int:
    """By workers."""
    decoder = SandboxedDecoder(sandbox)

    async def all_of_them() -> int:
        return sum(await asyncio.gather(*(_run(SandboxedMedia(path, sandbox), decoder, fps) for path in paths)))

    try:
        return asyncio.run(all_of_them())
    finally:
        decoder.close()


WAYS: dict[str, Callable[[list[Path], float, Sandbox], int]] = {"here": here, "locked_in": locked_in}


def _timed(way: str, paths: list[Path], fps: float, sandbox: Sandbox) -> tuple[float, int]:
    began = time.perf_counter()
    frames = WAYS[way](paths, fps, sandbox)
    return time.perf_counter() - began, frames


def measure(groups: dict[str, list[Path]], runs: int, sandbox: Sandbox) -> list[dict]:
    """A row for each group of videos and rate; wall-clock seconds, medians of interleaved runs."""
    rows = []
    for name, paths in groups.items():
        for fps in FPS:
            spent: dict[str, list[float]] = {way: [] for way in WAYS}
            frames = {}
            for _ in range(runs):
                for way in WAYS:
                    seconds, frames[way] = _timed(way, paths, fps, sandbox)
                    spent[way].append(seconds)
            assert frames["here"] == frames["locked_in"], "both must hand over the same pictures"
            row = {"videos": name, "fps": fps, "frames": frames["here"]}
            row |= {f"{way}_s": round(median(times), 4) for way, times in spent.items()}
            row["ratio"] = round(row["locked_in_s"] / row["here_s"], 4)
            print(row, flush=True)
            rows.append(row)
    return rows


@contextmanager
def toolkits(sandbox: Sandbox) -> Iterator[dict[str, Toolkit]]:
    """What analyses a video each way, with one and the same model."""
    with local_toolkit("bundled", sandbox, decoder="pyav") as locked_in:
        engine = LocalEngine({EMBEDDING: catalog.load("bundled").model, STATS: FrameStats()}, PyAVDecoder())
        decoding = choose_decoder("pyav", "cpu", reference=PyAVDecoder())
        try:
            yield {
                "here": replace(locked_in, engine=engine, decoding=decoding.told, open=LocalMedia),
                "locked_in": locked_in,
            }
        finally:
            engine.close()


def measure_jobs(groups: dict[str, list[Path]], runs: int, sandbox: Sandbox) -> list[dict]:
    """A row for each group of videos; wall-clock seconds of whole analyses, medians of interleaved runs."""

    async def analyze_all(paths: list[Path], toolkit: Toolkit) -> list[Report]:
        return list(await asyncio.gather(*(analyze(path, AnalysisSpec(), toolkit) for path in paths)))

    rows = []
    with toolkits(sandbox) as ways:
        for name, paths in groups.items():
            spent: dict[str, list[float]] = {way: [] for way in ways}
            reports = {}
            for number in range(runs + 1):
                for way, toolkit in ways.items():
                    began = time.perf_counter()
                    reports[way] = asyncio.run(analyze_all(paths, toolkit))
                    # The first time is for the caches of the machine.
                    spent[way] += [time.perf_counter() - began] if number else []
            assert _results(reports["here"]) == _results(reports["locked_in"]), "both must find the same"
            row: dict = {"videos": name} | {f"{way}_s": round(median(times), 4) for way, times in spent.items()}
            row["ratio"] = round(row["locked_in_s"] / row["here_s"], 4)
            print(row, flush=True)
            rows.append(row)
    return rows


def _results(reports: list[Report]) -> list[tuple]:
    return [(report.shots, report.segments, report.tags) for report in reports]


def starting(runs: int) -> dict:
    """Seconds until the first worker of a new sandbox, and until each one after it; medians."""
    first, later = [], []
    for _ in range(runs):
        began = time.perf_counter()
        with Sandbox() as sandbox:
            sandbox.worker().kill()
            first.append(time.perf_counter() - began)
            for _ in range(10):
                began = time.perf_counter()
                sandbox.worker().kill()
                later.append(time.perf_counter() - began)
    return {"first_worker_s": round(median(first), 4), "next_worker_s": round(median(later), 5)}


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write. The exit status is 1 where locking in makes jobs slower than the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sandbox.json"))
    args = parser.parse_args(argv)
    videos = corpus.written(corpus.VIDEOS)
    groups = {video.name: [path] for video, path in zip(corpus.VIDEOS, videos, strict=True)} | {
        "two at once": list(videos[:2])
    }
    with Sandbox() as sandbox:
        sandbox.worker().kill()
        jobs = measure_jobs(groups, args.runs, sandbox)
        rows = measure(groups, args.runs, sandbox)
    ratio = _mean_ratio(jobs)
    content = machine.record() | {
        "starting": starting(args.runs),
        "jobs_ratio_geometric_mean": ratio,
        "ratio_geometric_mean": _mean_ratio(rows),
        "jobs": jobs,
        "rows": rows,
    }
    args.out.write_text(json.dumps(content, indent=1) + "\n")
    print(content["starting"], f"a job takes {ratio} times as long, decoding alone {_mean_ratio(rows)} times")
    return 0 if ratio <= GOAL else 1


def _mean_ratio(rows: list[dict]) -> float:
    return round(float(np.exp(np.mean(np.log([row["ratio"] for row in rows])))), 4)


if __name__ == "__main__":
    raise SystemExit(main())
