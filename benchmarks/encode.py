"""Encoding frames: this project beside plain open_clip, ONNX Runtime and OpenVINO, with the same weights and frames.

    python -m benchmarks encode
    python -m benchmarks encode --architecture ViT-B-16-SigLIP --batches 1 8
    python -m uv pip install --target build/peers onnx onnxruntime onnxscript openvino
    python -m benchmarks encode --peers build/peers       # with those that lie in a folder of their own

Frames go in as uint8, rows come out, preprocessing included; at one batch size the forward pass is timed alone, too,
on what each has prepared. All take turns (A B C, C B A, ...), so that what else the machine does meets all of them.
Told are medians of wall time and of CPU time: on a busy machine trust the latter. The physical limit is the matrix
product of one core, measured between the rounds; `peak_share` is the work of the plain network per CPU second against
it, in the same arithmetic.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import encode_peers, machine
from benchmarks.contender import WAITING
from benchmarks.encode_peers import Peer
from benchmarks.parity import build, wrapped
from models.device import matmul_speed

RESULT = Path("benchmarks/results/encode.json")

#: Where the forward pass is timed alone, and where the goal for the wrapper is judged.
ALONE = 32

#: Least share of the bare network's rate that the whole of ours has there.
GOAL = 0.95

#: How many times eager float32 bfloat16 has to be on a CPU with AMX.
AMX = 4.0

#: What another at the same precision may be faster by before ours counts as slower: two medians differ by that.
NOISE = 0.03

#: bfloat16 is left out where one core is this many times slower in it than in float32: it is emulated there.
EMULATED = 5.0

_ONLY = "forward pass of "

PACKAGES = ("onnxruntime", "openvino", "timm")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table and write JSON; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks encode", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--architecture", default="ViT-B-32", help="an architecture of open_clip (default: %(default)s)"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--repeats", type=int, help="rounds per batch (default: as many as 64 frames are, 2 to 8)")
    parser.add_argument("--peers", type=Path, help="folder with further packages")
    parser.add_argument("--out", type=Path, default=RESULT, help="result file (default: %(default)s)")
    options = parser.parse_args(argv)
    if not WAITING.items() <= os.environ.items():
        # Read when torch is imported, which it is by now.
        command = (sys.executable, "-m", "benchmarks.encode", *(sys.argv[1:] if argv is None else argv))
        return subprocess.run(command, env=os.environ | WAITING, check=False).returncode
    if options.peers:
        # Last, so that nothing of ours is replaced.
        sys.path.append(str(options.peers))
    result = measure(options.architecture, options.batches, options.repeats)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print_table(result)
    return 0 if all(met for goals in result["goals"].values() for met in goals.values()) else 1


def measure(architecture: str, batches: Sequence[int], repeats: int | None) -> dict[str, Any]:
    """Everything that goes into the JSON file."""
    network = build(architecture)
    speed = matmul_speed()
    native = speed.bfloat16 * EMULATED > speed.float32
    half = build(architecture).to(torch.bfloat16) if native else None
    peers, missing = [], {}
    for dtype in ("float32", "bfloat16") if native else ("float32",):
        model = wrapped(build(architecture), architecture, dtype)
        peers += [encode_peers.ours(model), encode_peers.bare(model)]
    for other in encode_peers.others(network, half):
        if isinstance(other, Peer):
            peers.append(other)
        else:
            missing[other[0]] = other[1]
    flops = flops_per_image(network)
    frames = np.random.default_rng(0).integers(0, 256, (max(batches), 270, 480, 3), dtype=np.uint8)
    clock = machine.Stopwatch()
    peaks: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    prepared = {title(peer): bound(peer.forward, peer.prepare(frames[:ALONE])) for peer in peers}
    whole, alone = [], {}
    for n in batches:
        sides = {title(peer): bound(peer.run, frames[:n]) for peer in peers if peer.name != "bare"}
        # In the same rounds, because the one is judged by the other.
        both = sides | ({f"{_ONLY}{name}": run for name, run in prepared.items()} if n == ALONE else {})
        row = compared(both, n, repeats, peaks)
        only = {name: row["timings"].pop(name) for name in list(row["timings"]) if name.startswith(_ONLY)}
        if only:
            alone = {"batch": n, "timings": {name.removeprefix(_ONLY): timing for name, timing in only.items()}}
        whole.append(row)
    best = {dtype: max(found) for dtype, found in peaks.items() if found}
    for row in (*whole, alone):
        for name, timing in row.get("timings", {}).items():
            timing["peak_share"] = round(flops * timing["images_per_cpu_s"] / (best[name.split()[-1]] * 1e9), 3)
    first = next(peer for peer in peers if (peer.name, peer.dtype) == ("eager", "float32")).run(frames[:8])
    found = {
        "architecture": architecture,
        "machine": machine.record()
        | {"torch_threads": torch.get_num_threads(), "others": round(clock.cost().others, 3)}
        | {"peers": machine.versions(PACKAGES)},
        "gflop_per_image": round(flops / 1e9, 3),
        "peak_gflops_per_core": {dtype: round(value, 1) for dtype, value in best.items()},
        "missing": missing,
        "lowest_cosine_to_eager_float32": {
            title(peer): round(float((peer.run(frames[:8]) * first).sum(axis=1).min()), 7) for peer in peers
        },
        "whole": whole,
        "forward_alone": alone,
    }
    amx = "amx_bf16" in found["machine"]["cpu_flags"]
    return found | {"ratios": (ratios := figures(found)), "goals": goals(ratios, amx=amx), "amx": amx}


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """What is judged, by CPU time and by wall time: above 1, ours is faster."""
    found: dict[str, Any] = {"to_peers": {}, "forward_to_peers": {}, "to_eager_float32": {}}
    for key in ("images_per_cpu_s", "images_per_s"):
        for row in result["whole"] + [result["forward_alone"]] * bool(result["forward_alone"]):
            where = found["forward_to_peers" if row is result["forward_alone"] else "to_peers"]
            for name, timing in row["timings"].items():
                us = row["timings"][f"ours {name.split()[-1]}"]
                if not name.startswith(("ours", "bare")):
                    where.setdefault(f"{name}, batch {row['batch']}", {})[key] = round(us[key] / timing[key], 3)
        middle = next((row for row in result["whole"] if row["batch"] == ALONE), None)
        for dtype in ("float32", "bfloat16"):
            if middle is not None and f"ours {dtype}" in middle["timings"]:
                rate = middle["timings"][f"ours {dtype}"][key]
                of = middle["timings"]["eager float32"][key]
                found["to_eager_float32"].setdefault(key, {})[dtype] = round(rate / of, 3)
                bare = result["forward_alone"]["timings"][f"bare {dtype}"][key]
                found.setdefault("whole_to_bare_forward", {}).setdefault(dtype, {})[key] = round(rate / bare, 3)
    return found


def goals(ratios: dict[str, Any], *, amx: bool) -> dict[str, dict[str, bool]]:
    """Which are met, by CPU time and by wall time. The one of `AMX` times eager float32 is for CPUs that have it."""
    found: dict[str, dict[str, bool]] = {}
    for key in ("images_per_cpu_s", "images_per_s"):
        best = ratios["to_eager_float32"].get(key, {}).get("bfloat16", 0.0)
        found[key] = {
            "no_peer_faster": all(one[key] >= 1 - NOISE for one in ratios["to_peers"].values()),
            "no_peer_faster_forward": all(one[key] >= 1 - NOISE for one in ratios["forward_to_peers"].values()),
            "bare_network": all(one[key] >= GOAL for one in ratios.get("whole_to_bare_forward", {}).values()),
        } | ({"amx": best >= AMX} if amx else {})
    return found


def compared(
    sides: dict[str, Callable[[], object]], batch: int, repeats: int | None, peaks: dict[str, list[float]]
) -> dict[str, Any]:
    """All on one batch, in turns. Adds a peak of each arithmetic per round to `peaks`."""
    for run in sides.values():
        run()
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(repeats or max(2, min(8, 64 // batch))):
        for name in sorted(sides, reverse=turn % 2 == 0):
            spent[name].append(clocked(sides[name]))
        for dtype in {name.split()[-1] for name in sides}:
            peaks[dtype].append(peak_gflops(getattr(torch, dtype)))
    timings = {}
    for name, times in spent.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        timings[name] = {
            "images_per_s": round(batch / wall, 3),
            "images_per_cpu_s": round(batch / cpu, 3),
            "wall_s": [round(wall_s, 4) for wall_s, _ in times],
            "cpu_s": [round(cpu_s, 4) for _, cpu_s in times],
        }
    return {"batch": batch, "timings": timings}


def print_table(result: dict[str, Any]) -> None:
    """The figures for a person."""
    for row in result["whole"] + [result["forward_alone"]] * bool(result["forward_alone"]):
        print(f"batch {row['batch']}{', forward pass alone' if row is result['forward_alone'] else ''}")
        for name, timing in sorted(row["timings"].items(), key=lambda item: -item[1]["images_per_cpu_s"]):
            rates = f"{timing['images_per_cpu_s']:8.2f} images/CPU s {timing['images_per_s']:8.2f} images/s"
            print(f"  {name:22s} {rates}  {timing['peak_share']:.0%} of the peak")
    for name, why in result["missing"].items():
        print(f"without {name}: {why}")
    print("whole of ours to the bare forward pass:", result["ratios"].get("whole_to_bare_forward"))
    print("goals:", result["goals"], "others used", result["machine"]["others"])


def title(peer: Peer) -> str:
    """Of a peer in the tables."""
    return f"{peer.name} {peer.dtype}"


def bound(function: Callable[[Any], object], argument: Any) -> Callable[[], object]:
    """The function on that argument."""
    return lambda: function(argument)


def flops_per_image(network: nn.Module) -> float:
    """Multiplications and additions of one image through the plain tower."""
    side = encode_peers.sample(network)
    with FlopCounterMode(display=False) as counter:
        network.encode_image(side.requires_grad_())  # with gradients on, attention is counted and not one opaque call
    return float(counter.get_total_flops())


def clocked(run: Callable[[], object]) -> tuple[float, float]:
    """(wall, CPU) seconds of a call, all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_gflops(dtype: torch.dtype = torch.float32, size: int = 1024) -> float:
    """The best of three matrix products on this thread, by its own CPU time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b, best = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype), float("inf")
    for _ in range(3):
        began = time.thread_time()
        torch.mm(a, b)
        best = min(best, time.thread_time() - began)
    torch.set_num_threads(threads)
    return 2 * size**3 / best / 1e9


if __name__ == "__main__":
    raise SystemExit(main())
