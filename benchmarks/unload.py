"""Does a model that is unloaded give its memory back?

    python -m benchmarks unload [--models bundled ViT-B-32/random] [--cycles 20]

Each model has a fresh process that loads it, has it look at frames and texts, lets go of it, and does so again and
again, the way a worker does it: a whole toolkit with its engine, closed, and then `pipeline.allocator.free_memory`. A
cycle's figures are read from /proc/self/smaps_rollup before, while it is loaded, and after. The first two cycles also
page in the code of libraries and fill their caches, which no unloading returns; they are told apart and not judged.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine

OUT = Path("benchmarks/results/unload.json")

MODELS = ("bundled", "ViT-B-32/random")

#: Cycles that are not judged.
WARM_UP = 2

#: Least share of the memory taken that has to come back, over all others.
GOAL = 0.95

#: Most that the process may have more after a cycle at the end than at the beginning, as a share of what loading takes
#: plus what an allocator's bookkeeping amounts to, MiB.
GROWTH, GROWTH_MIB = 0.01, 1.0

FIELDS = ("Rss", "Pss", "Anonymous")


def main(argv: Sequence[str] | None = None) -> int:
    """Cycles of each model; 1 where memory stays."""
    parser = argparse.ArgumentParser(prog="benchmarks unload", description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="names of encoders (default: %(default)s)")
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--out", type=Path, default=OUT, help=f"result file (default {OUT})")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        print(json.dumps(cycles(args.child, args.cycles)))
        return 0
    found = {name: summary(_in_a_process(name, args.cycles)) for name in args.models}
    result = {
        "machine": machine.record(),
        "definition": "MiB of /proc/self/smaps_rollup; returned is what unloading gave back over what loading took, "
        f"summed over all cycles but the first {WARM_UP}; growth is the median after the last five cycles less that "
        "after the first five of these",
        "goal": f"returned {GOAL:.0%} or more, growth at most {GROWTH:.0%} of what loading takes plus {GROWTH_MIB} MiB",
        "met": all(one["met"] for one in found.values()),
        "models": found,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    for name, one in found.items():
        print(
            f"{name}: {one['taken_mib']:.1f} MiB taken, {one['returned']:.1%} returned, growth "
            f"{one['growth_mib']:+.2f} MiB over {one['cycles']} cycles (the first {WARM_UP} kept "
            f"{one['warm_up_kept_mib']:+.1f} MiB): {'met' if one['met'] else 'missed'}"
        )
    return 0 if result["met"] else 1


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the cycles of one model: judged by what is resident (Rss)."""
    early, later = rows[:WARM_UP], rows[WARM_UP:]
    after = [row["after"]["Rss"] for row in later]
    some = min(5, len(later))
    taken = [row["loaded"]["Rss"] - row["before"]["Rss"] for row in later]
    returned = [row["loaded"]["Rss"] - row["after"]["Rss"] for row in later]
    growth = statistics.median(after[-some:]) - statistics.median(after[:some])
    share, each = sum(returned) / sum(taken), statistics.median(taken)
    return {
        "cycles": len(rows),
        "taken_mib": round(each, 2),
        "returned": round(share, 4),
        "growth_mib": round(growth, 2),
        "warm_up_kept_mib": round(early[-1]["after"]["Rss"] - early[0]["before"]["Rss"], 2),
        "threads_left": rows[-1]["threads"] - early[0]["threads"],
        "met": share >= GOAL and growth <= GROWTH * each + GROWTH_MIB,
        "runs": rows,
    }


def cycles(name: str, count: int) -> list[dict[str, Any]]:
    """Load and unload a model `count` times in this process."""
    import models.weights  # noqa: F401 - libraries are no part of what a model takes
    from pipeline.allocator import free_memory
    from pipeline.sandbox.client import Sandbox
    from serving.settings import DEFAULTS

    pixels = np.random.default_rng(0).integers(0, 256, (32, 270, 480, 3), dtype=np.uint8)
    rows = []
    with Sandbox(DEFAULTS.worker) as sandbox:
        for _ in range(count):
            before = resident()
            loaded = _cycle(name, sandbox, pixels)
            free_memory()
            rows.append({"before": before, "loaded": loaded, "after": resident(), "threads": threading.active_count()})
    return rows


def _cycle(name: str, sandbox: Any, pixels: np.ndarray) -> dict[str, float]:
    """Load a model and use it; what is resident then."""
    from pipeline.toolkit import EMBEDDING
    from serving.local import local_toolkit

    with local_toolkit(name, sandbox) as toolkit:
        asyncio.run(toolkit.check())
        toolkit.engine.models[EMBEDDING].run(pixels)  # pyright: ignore[reportAttributeAccessIssue] - it is a LocalEngine
        return resident()


def resident() -> dict[str, float]:
    """`FIELDS` of this process, MiB."""
    lines = (line.partition(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines())
    return {name: round(int(value.split()[0]) / 1024, 2) for name, _, value in lines if name in FIELDS}


def _in_a_process(name: str, count: int) -> list[dict[str, Any]]:
    command = (sys.executable, "-m", "benchmarks.unload", "--child", name, "--cycles", str(count))
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    sys.exit(main())
