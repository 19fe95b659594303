"""How near do models on a GPU come to what it can multiply? Needs a CUDA device (`--device cpu` only tries the script).

    python -m benchmarks gpu_encode [--architectures ViT-B-32 ...] [--batch 256]

Images a second of the image tower in bfloat16, untrained weights: as it is, and with torch.compile and a CUDA graph
(`compile` of a model), on frames that are prepared; and of the whole, from uint8 frames of 360p on the device to rows
on the host. Set against the rate of one large bfloat16 product of matrices on the same device, all in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from benchmarks.encode import flops_per_image
from benchmarks.parity import build
from models.catalog import load
from models.clip import ClipModel

OUT = Path("benchmarks/results/gpu_encode.json")

#: Architecture of open_clip -> least share of the device's rate that is asked of the better of both ways.
GOALS = {"ViT-B-32": 0.45, "ViT-B-16": 0.60, "ViT-L-14": 0.65, "ViT-SO400M-14-SigLIP": 0.60}

#: Side of the matrices that the device's rate is measured with, on a GPU and for trying.
SIDES = {"cuda": 8192, "cpu": 512}


def main(argv: Sequence[str] | None = None) -> int:
    """A row for each architecture; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks gpu_encode", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--architectures", nargs="+", default=list(GOALS), help="of open_clip (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=OUT, help=f"result file (default {OUT})")
    args = parser.parse_args(argv)
    if args.device != "cpu" and not torch.cuda.is_available():
        print("no CUDA device that torch can use", file=sys.stderr)
        return 1
    rows = []
    for architecture in args.architectures:
        rows.append(measure(architecture, args.device, args.batch, args.repeats))
        print(rows[-1], flush=True)
    result = {"machine": machine.record(), "batch": args.batch, "dtype": "bfloat16", "goals": GOALS, "runs": rows}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if all(row["share"] >= GOALS.get(row["architecture"], 0.0) for row in rows) else 1


def measure(architecture: str, device: str, batch: int, repeats: int) -> dict[str, Any]:
    """One architecture's row."""
    eager = _model(architecture, device)
    quick = _model(architecture, device)
    found = quick.compile(batch)
    frames = torch.randint(0, 256, (batch, 360, 640, 3), dtype=torch.uint8, device=eager.placement.device)
    prepared = eager.preprocess(frames)
    flops = flops_per_image(build(architecture))
    side = SIDES[torch.device(device).type]
    a = torch.randn(side, side, device=eager.placement.device, dtype=torch.bfloat16)
    product: Callable[[], object] = lambda: a @ a  # noqa: E731 - one of four that are timed alike
    took = in_turns(
        {
            "product": product,
            "eager": lambda: eager.encode(prepared),
            "compiled": lambda: quick.encode(prepared),
            "whole": lambda: quick.run(frames),
        },
        repeats,
        device,
    )
    rate = 2 * side**3 / took["product"]
    return {
        "architecture": architecture,
        "gflop_an_image": round(flops / 1e9, 2),
        "matrix_tflops": round(rate / 1e12, 1),
        "images_per_s": {name: round(batch / s, 1) for name, s in took.items() if name != "product"},
        "compile": found.said,
        "share_eager": round(flops * batch / took["eager"] / rate, 3),
        "share": round(flops * batch / min(took["eager"], took["compiled"]) / rate, 3),
        "share_whole": round(flops * batch / took["whole"] / rate, 3),
        "memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if torch.cuda.is_available() else None,
    }


def in_turns(work: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, float]:
    """Median seconds of each, there and back, after one run for warming up."""
    wait: Callable[[], object] = torch.cuda.synchronize if device != "cpu" else lambda: None
    took: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 1):
        for name in work if turn % 2 == 0 else reversed(work):
            wait()
            began = time.perf_counter()
            work[name]()
            wait()
            if turn:
                took[name].append(time.perf_counter() - began)
    return {name: statistics.median(several) for name, several in took.items()}


def _model(architecture: str, device: str) -> ClipModel:
    model = load(f"{architecture}/random", device, "bfloat16").model
    assert isinstance(model, ClipModel)
    return model


if __name__ == "__main__":
    sys.exit(main())
