"""What models cost beside each other, and for several videos at once.

    python -m benchmarks models [--model ViT-B-32/random] [--repeats 5]

- `beside`: two models on one decode, against decoding once plus both forward passes on frames that are there already.
- `together`: eight short videos at once, against one long video of the same frames; and a lone short one whose batches
  may wait for others.
- `reuse`: a video of slides whose still frames are looked at once (`spec.reuse`): how many, what that saves, and how
  far the vectors are from those that were computed.

What is compared takes turns; told are medians, every run is in the file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.contender import WAITING
from benchmarks.corpus import slides
from models.base import FrameModel
from models.catalog import load
from pipeline.decode.pyav import PyAVDecoder
from pipeline.dispatch import Gathered, gather
from pipeline.engine import Added, EngineOptions, LocalEngine
from pipeline.media import LocalMedia
from pipeline.plans import plan
from pipeline.sampling import choose
from pipeline.spec import Sampling
from pipeline.stills import Reusing

OUT = Path("benchmarks/results/models.json")

#: The second model of `beside`, and the trained one whose vectors `reuse` compares.
SECOND, TRAINED = "ViT-S-32-alt/random", "bundled"

#: Frames per second that are looked at.
FPS = 2.0

#: Short videos at once.
VIDEOS = 8

#: How long a batch may wait in `together`, seconds.
WAIT_S = 0.25

#: Most that two models may cost over decoding once and both forward passes; least throughput of short videos against a
#: long one; least cosine of a vector that was taken from an earlier frame.
BESIDE, TOGETHER, COSINE = 1.05, 0.9, 0.99

#: What a wait may seem longer by on a busy machine, seconds.
SLACK_S = 0.15


def main(argv: Sequence[str] | None = None) -> int:
    """All three; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks models", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="ViT-B-32/random", help="the first model (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT, help="result file (default: %(default)s)")
    args = parser.parse_args(argv)
    if not WAITING.items() <= os.environ.items():
        # Read when torch is imported, which it is by now.
        command = (sys.executable, "-m", "benchmarks.models", *(sys.argv[1:] if argv is None else argv))
        return subprocess.run(command, env=os.environ | WAITING, check=False).returncode
    clock = machine.Stopwatch()
    model = load(args.model, "cpu").model
    with asyncio.Runner() as runner:
        found = {
            "beside": runner.run(beside(model, args.repeats)),
            "together": runner.run(together(model, args.repeats)),
            "reuse": runner.run(reuse(model, args.repeats)),
        }
    goals = {
        "beside": found["beside"]["cpu_ratio"] <= BESIDE,
        "together": found["together"]["throughput_ratio"] >= TOGETHER,
        "lone_wait": found["together"]["lone_extra_s"] <= WAIT_S + SLACK_S,
        "reuse_cosine": found["reuse"]["lowest_cosine"] >= COSINE,
    }
    record = machine.record() | {"others": round(clock.cost().others, 3)}
    result = {"machine": record, "model": args.model, "dtype": model.info.dtype} | found | {"goals": goals}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    for name, one in found.items():
        print(name, {key: value for key, value in one.items() if key != "runs"})
    print("goals:", goals, "others used", record["others"])
    return 0 if all(goals.values()) else 1


async def beside(first: FrameModel, repeats: int) -> dict[str, Any]:
    """Two models on one decode, by CPU time."""
    second = load(SECOND, "cpu").model
    path = slides.written(moving=True)
    seen: list[np.ndarray] = []
    engines = {
        "decode": engine({"keep": _Keeping(seen)}),
        "both": engine({"first": first}, {"second": Added(second)}),
        "alone": engine({"first": first}),
    }
    await analysed(engines["decode"], path)
    frames = list(seen)
    work: dict[str, Callable[[], Awaitable[object]]] = {
        "decode": lambda: analysed(engines["decode"], path),
        "first": lambda: asyncio.to_thread(lambda: [first.run(part) for part in frames]),
        "second": lambda: asyncio.to_thread(lambda: [second.run(part) for part in frames]),
        "alone": lambda: analysed(engines["alone"], path),
        "both": lambda: analysed(engines["both"], path),
    }
    runs = await in_turns(work, repeats, lambda: seen.clear())
    close(engines)
    cpu = {name: statistics.median(one["cpu_s"] for one in several) for name, several in runs.items()}
    sums = [
        both["cpu_s"] / (decode["cpu_s"] + a["cpu_s"] + b["cpu_s"])
        for both, decode, a, b in zip(*(runs[name] for name in ("both", "decode", "first", "second")), strict=True)
    ]
    return {
        "second": SECOND,
        "frames": sum(map(len, frames)),
        "cpu_ratio": round(statistics.median(sums), 3),
        "two_passes_over_one": round((cpu["alone"] + cpu["decode"] + cpu["second"]) / cpu["both"], 3),
        "cpu_s": {name: round(value, 3) for name, value in cpu.items()},
        "runs": runs,
    }


async def together(model: FrameModel, repeats: int) -> dict[str, Any]:
    """Short videos at once against a long one; and how much a wait costs a lone one."""
    short, long = slides.written(moving=True, scenes=1), slides.written(moving=True, scenes=1, times=VIDEOS)
    counted = _Counting(model)
    engines = {"plain": engine({"model": counted}), "waiting": engine({"model": model}, wait_s=WAIT_S)}
    sizes: dict[str, list[int]] = {}

    async def at_once() -> list[Gathered]:
        counted.sizes.clear()
        found = await asyncio.gather(*(analysed(engines["plain"], short) for _ in range(VIDEOS)))
        sizes["short"] = list(counted.sizes)
        return found

    async def one() -> Gathered:
        counted.sizes.clear()
        found = await analysed(engines["plain"], long)
        sizes["long"] = list(counted.sizes)
        return found

    frames = {"short": sum(len(found.pts_s) for found in await at_once()), "long": len((await one()).pts_s)}
    work: dict[str, Callable[[], Awaitable[object]]] = {
        "short": at_once,
        "long": one,
        "lone": lambda: analysed(engines["plain"], short),
        "lone_waiting": lambda: analysed(engines["waiting"], short),
    }
    runs = await in_turns(work, repeats)
    close(engines)
    rates = [
        (frames["short"] / a["wall_s"]) / (frames["long"] / b["wall_s"])
        for a, b in zip(runs["short"], runs["long"], strict=True)
    ]
    extra = [b["wall_s"] - a["wall_s"] for a, b in zip(runs["lone"], runs["lone_waiting"], strict=True)]
    return {
        "frames": frames,
        "throughput_ratio": round(statistics.median(rates), 3),
        "cpu_ratio": round(
            statistics.median(one["cpu_s"] for one in runs["long"])
            * frames["short"]
            / (statistics.median(one["cpu_s"] for one in runs["short"]) * frames["long"]),
            3,
        ),
        "frames_a_batch": {name: round(statistics.mean(several), 2) for name, several in sizes.items()},
        "wait_s": WAIT_S,
        "lone_extra_s": round(statistics.median(extra), 3),
        "runs": runs,
    }


async def reuse(model: FrameModel, repeats: int) -> dict[str, Any]:
    """Slides, with and without looking at each frame; vectors of a model that knows something."""
    path = slides.written(moving=False)
    engines = {"model": engine({"model": model}), "trained": engine({"model": load(TRAINED, "cpu").model})}
    plain = await analysed(engines["trained"], path)
    reused = await analysed(engines["trained"], path, reusing=True)
    cosines = (plain.arrays["model"] * reused.arrays["model"]).sum(axis=1)
    same = np.isclose(plain.arrays["model"], reused.arrays["model"], atol=1e-5).all(axis=1)
    runs = await in_turns(
        {
            "every": lambda: analysed(engines["model"], path),
            "reused": lambda: analysed(engines["model"], path, reusing=True),
        },
        repeats,
    )
    close(engines)
    saved = {
        key: round(
            1 - statistics.median(b[key] / a[key] for a, b in zip(runs["every"], runs["reused"], strict=True)), 3
        )
        for key in ("wall_s", "cpu_s")
    }
    return {
        "frames": len(plain.pts_s),
        "share_reused": round(reused.reused / len(reused.pts_s), 3),
        "share_still": round(slides.SHARE_STILL, 3),
        "saved": saved,
        "vectors_of": TRAINED,
        "vectors_that_differ": int((~same).sum()),
        "lowest_cosine": round(float(cosines.min()), 6),
        "median_cosine": round(float(np.median(cosines)), 6),
        "lowest_cosine_between_frames": round(float((plain.arrays["model"] @ plain.arrays["model"].T).min()), 3),
        "runs": runs,
    }


async def analysed(engine: LocalEngine, path: Path, *, reusing: bool = False) -> Gathered:
    """Index, sample, decode and infer one video."""
    media = LocalMedia(path)
    index = (await asyncio.to_thread(media.inspect)).index
    plans = plan(index, choose(index, Sampling(fps=FPS)))
    return await gather(media, index, plans, Reusing(engine) if reusing else engine)


def engine(models: dict[str, FrameModel], added: dict[str, Added] | None = None, wait_s: float = 0.0) -> LocalEngine:
    """As the product makes it."""
    return LocalEngine(models, PyAVDecoder(), EngineOptions(batch_wait_s=wait_s), added)


def close(engines: dict[str, LocalEngine]) -> None:
    """End their threads."""
    for one in engines.values():
        one.close()


async def in_turns(
    work: dict[str, Callable[[], Awaitable[object]]], repeats: int, between: Callable[[], object] = lambda: None
) -> dict[str, list[dict[str, float]]]:
    """Name -> wall and CPU time of each run; once for warming up, and then in turns, there and back."""
    for do in work.values():
        await do()
        between()
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in work}
    for turn in range(repeats):
        for name in work if turn % 2 == 0 else reversed(work):
            watch = machine.Stopwatch()
            await work[name]()
            cost = watch.cost()
            between()
            runs[name].append({"wall_s": round(cost.wall_s, 4), "cpu_s": round(cost.cpu_s, 4)})
    return runs


class _Keeping(FrameModel):
    """Keeps the frames that it is given, and computes nothing."""

    def __init__(self, seen: list[np.ndarray]) -> None:
        self.info = load(TRAINED, "cpu").model.info
        self._seen = seen

    def run(self, pixels: Any) -> np.ndarray:
        self._seen.append(pixels)
        return np.eye(1, self.info.dim, dtype=np.float32).repeat(len(pixels), axis=0)


class _Counting(FrameModel):
    """A model whose batches are counted."""

    def __init__(self, model: FrameModel) -> None:
        self.info, self._model = model.info, model
        self.sizes: list[int] = []

    def run(self, pixels: Any) -> np.ndarray:
        return self.encode(self.preprocess(pixels))

    def preprocess(self, pixels: Any) -> Any:
        return self._model.preprocess(pixels)

    def encode(self, frames: Any) -> np.ndarray:
        self.sizes.append(len(frames))
        return self._model.encode(frames)


if __name__ == "__main__":
    sys.exit(main())
