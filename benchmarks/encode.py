"""Encoding frames: this project's forward pass beside plain open_clip, on the same weights and the same tensors.

    python -m benchmarks.encode                        ViT-B-32 at batches of 1, 8, 16, 32 and 64
    python -m benchmarks.encode --architecture ViT-L-14 --batches 1 4 --repeats 3

The two take turns on every batch (A B, B A, ...), so that what else the machine does meets both. Told are the medians
of wall time and of CPU time: on a busy machine trust the latter. The physical limit is the float32 matrix product of
one core, measured between the rounds; "share of the peak" is the work of plain open_clip per CPU second against it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import machine
from models.catalog import load
from models.clip import ClipModel

RESULT = Path(__file__).parent / "results" / "encode.json"


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians over the rounds."""

    images_per_s: float
    """By wall time, all cores."""
    images_per_cpu_s: float
    peak_share: float
    """Work of the plain network (FLOP per image, whatever was spared) per CPU second, over one core's peak."""


@dataclass(frozen=True, slots=True)
class Row:
    """One batch size. Ratios are medians of the ratios of rounds: above 1, this project is faster."""

    batch: int
    plain: Timing
    ours: Timing
    wall_ratio: float
    cpu_ratio: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table and write JSON; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--architecture", default="ViT-B-32", help="an architecture of open_clip (default: %(default)s)"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16, 32, 64])
    parser.add_argument("--repeats", type=int, default=5, help="rounds per batch (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(argv)
    result = measure(options.architecture, options.batches, options.repeats)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print_table(result)
    return 0


def print_table(result: dict[str, Any]) -> None:
    """The figures for a person."""
    print(f"{'batch':>5} {'plain':>8} {'ours':>8} images/s  {'wall':>6} {'CPU':>6}  share of the peak")
    for row in result["batches"]:
        plain, ours = row["plain"], row["ours"]
        rates = f"{plain['images_per_s']:>8.2f} {ours['images_per_s']:>8.2f}"
        shares = f"{plain['peak_share']:.0%} -> {ours['peak_share']:.0%}"
        print(f"{row['batch']:>5} {rates}           {row['wall_ratio']:>5.2f}x {row['cpu_ratio']:>5.2f}x  {shares}")
    wall, cpu = result["best_wall_ratio"], result["best_cpu_ratio"]
    print(f"each at its best batch: {wall:.2f}x by wall time, {cpu:.2f}x by CPU time")
    print(f"lowest cosine {result['lowest_cosine']:.7f}, largest difference {result['largest_difference']:.1e}")


def measure(architecture: str, batches: Sequence[int], repeats: int) -> dict[str, Any]:
    """Everything that goes into the JSON file."""
    model = load(f"{architecture}/random", "cpu", "float32").model
    # The same seed as the catalogue's, hence the same weights.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = open_clip.create_model(architecture).eval().requires_grad_(False)
    pixels = np.random.default_rng(0).integers(0, 256, (max(batches), 270, 480, 3), dtype=np.uint8)
    prepared = model.preprocess(pixels)
    cosine, difference = agreement(model, plain, prepared[:8])
    flops = flops_per_image(plain, prepared)
    peaks: list[float] = []
    rows = [compare(model, plain, prepared[:batch], repeats, flops, peaks) for batch in batches]
    return {
        "architecture": architecture,
        "machine": machine.record() | {"workers": model.placement.workers, "torch_threads": torch.get_num_threads()},
        "gflop_per_image": flops / 1e9,
        "peak_gflops_per_core": max(peaks),
        "lowest_cosine": cosine,
        "largest_difference": difference,
        "repeats": repeats,
        "batches": [asdict(row) for row in rows],
        "best_wall_ratio": max(row.ours.images_per_s for row in rows) / max(row.plain.images_per_s for row in rows),
        "best_cpu_ratio": max(row.ours.images_per_cpu_s for row in rows)
        / max(row.plain.images_per_cpu_s for row in rows),
    }


def compare(
    model: ClipModel, plain: torch.nn.Module, prepared: torch.Tensor, repeats: int, flops: float, peaks: list[float]
) -> Row:
    """Both on one batch, in turns. Adds a peak per round to `peaks`."""
    inputs = as_inputs(model, prepared)
    sides: dict[str, Callable[[], object]] = {
        "plain": lambda: encode_plain(plain, inputs),
        "ours": lambda: model.encode(prepared),
    }
    for run in sides.values():
        run()
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(repeats):
        for name in sorted(sides, reverse=turn % 2 == 0):
            spent[name].append(clocked(sides[name]))
        peaks.append(peak_gflops())
    count = len(prepared)
    ratios = [[p / o for p, o in zip(*pair, strict=True)] for pair in zip(spent["plain"], spent["ours"], strict=True)]
    timings = {}
    for name, times in spent.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        timings[name] = Timing(count / wall, count / cpu, flops * count / cpu / (max(peaks) * 1e9))
    wall_ratio, cpu_ratio = (statistics.median(column) for column in zip(*ratios, strict=True))
    return Row(count, timings["plain"], timings["ours"], wall_ratio, cpu_ratio)


def encode_plain(network: torch.nn.Module, inputs: torch.Tensor) -> np.ndarray:
    """What a script would do: open_clip eager, torch's own threads."""
    with torch.inference_mode():
        return network.encode_image(inputs, normalize=True).numpy()


def as_inputs(model: ClipModel, prepared: torch.Tensor) -> torch.Tensor:
    """uint8 [N, 3, S, S] -> the normalised float32 tensor that open_clip's transform would give."""
    return model.preprocessing.normalise(prepared, torch.float32).contiguous()


def agreement(model: ClipModel, plain: torch.nn.Module, prepared: torch.Tensor) -> tuple[float, float]:
    """(lowest cosine, largest absolute difference) between the two, of unit vectors."""
    ours = torch.from_numpy(model.encode(prepared))
    theirs = torch.from_numpy(encode_plain(plain, as_inputs(model, prepared)))
    cosines = functional.cosine_similarity(ours.double(), theirs.double())
    return float(cosines.min()), float((ours - theirs).abs().max())


def flops_per_image(plain: torch.nn.Module, prepared: torch.Tensor) -> float:
    """Multiplications and additions of one image through the plain tower."""
    side = torch.zeros(1, *prepared.shape[1:])
    with FlopCounterMode(display=False) as counter:
        plain.encode_image(side.requires_grad_())  # with gradients on, attention is counted and not one opaque call
    return float(counter.get_total_flops())


def clocked(run: Callable[[], object]) -> tuple[float, float]:
    """(wall, CPU) seconds of a call, all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_gflops(size: int = 1024) -> float:
    """The best of three float32 matrix products on this thread, by its own CPU time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b, best = torch.randn(size, size), torch.randn(size, size), float("inf")
    for _ in range(3):
        began = time.thread_time()
        torch.mm(a, b)
        best = min(best, time.thread_time() - began)
    torch.set_num_threads(threads)
    return 2 * size**3 / best / 1e9


if __name__ == "__main__":
    raise SystemExit(main())
