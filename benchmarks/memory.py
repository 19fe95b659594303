"""Does memory grow with the length of a video?

    python -m benchmarks memory [--minutes 5 60] [--model bundled]

Each length is analysed in a fresh process, as `automations analyze` does it, and two peaks are read: the resident
memory of that process (VmHWM), and what it has together with the locked-in processes that read and decode for it
(`benchmarks.processes`). The content is one minute repeated, so that only the length differs.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import machine, processes
from benchmarks.corpus import long

OUT = Path("benchmarks/results/memory.json")

#: The longest video may need this share more than the shortest.
GOAL = 0.10

#: Where no bundled model is installed: small and untrained, because what it sees does not matter here.
STAND_IN = "ViT-S-32-alt/random"

MEBI = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Peak memory of a short and a long video."""
    parser = argparse.ArgumentParser(prog="benchmarks memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=int, nargs="+", default=[5, 60], help="lengths to compare")
    parser.add_argument("--model", help=f"default: bundled where it is installed, else {STAND_IN}")
    parser.add_argument("--out", type=Path, default=OUT, help=f"result file (default {OUT})")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    model = args.model or default_model()
    if args.child:
        print(json.dumps(analysed(args.child, model)))
        return 0
    result = measure(sorted(args.minutes), model)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    for one in result["videos"]:
        print(
            f"{one['minutes']:4d} min: peak {one['peak_mib']:.0f} MiB "
            f"({one['loaded_mib']:.0f} MiB with the model loaded), "
            f"{one['peak_with_workers_mib']:.0f} MiB with workers, "
            f"report {one['report_mib']:.2f} MiB, {one['cpu_s']:.0f} CPU s"
        )
    growth = f"{result['growth']:+.1%}, with workers {result['growth_with_workers']:+.1%}"
    print(f"growth {growth}, goal {GOAL:+.0%}: {'met' if result['met'] else 'missed'}")
    return 0 if result["met"] else 1


def measure(minutes: Sequence[int], model: str) -> dict[str, Any]:
    """Everything, as it goes into the result file."""
    found = []
    for length in minutes:
        path = long.written(length)
        command = (sys.executable, "-m", "benchmarks.memory", "--child", str(path), "--model", model)
        found.append({"minutes": length, "file_mib": round(path.stat().st_size / MEBI, 2)} | watched(command))
    growth, growth_with_workers = (
        found[-1][peak] / found[0][peak] - 1 for peak in ("peak_mib", "peak_with_workers_mib")
    )
    return {
        "machine": machine.record(),
        "model": model,
        "definition": "peak resident memory (VmHWM) of a fresh process that analyses one file; loaded_mib is the peak "
        "before the analysis, after loading the model and embedding nothing; peak_with_workers_mib is the most that "
        "the process and all its descendants had at once, looked at looks_per_s times a second: Pss of all pages that "
        "are no file's, and the process's own pages of files; where estimated, RSS less shared pages of those "
        "descendants that could not be looked into",
        "size": [long.WIDTH, long.HEIGHT],
        "goal": f"{minutes[-1]} min within {GOAL:.0%} of {minutes[0]} min",
        "growth": round(growth, 4),
        "growth_with_workers": round(growth_with_workers, 4),
        "met": max(growth, growth_with_workers) <= GOAL,
        "videos": found,
    }


def watched(command: Sequence[str]) -> dict[str, Any]:
    """The line of JSON that a process prints, and how much memory it had until then together with those it started.
    What it takes to end is left out: libraries are read once more for that."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        with processes.Watch(child.pid) as watch:
            said = child.stdout.readline()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return json.loads(said) | {
        "peak_with_workers_mib": round(watch.peak_bytes / MEBI, 1),
        "processes_at_peak": watch.processes,
        "looks_per_s": round(watch.looks_per_s, 1),
        "estimated": watch.estimated,
    }


def analysed(path: Path, model: str) -> dict[str, Any]:
    """Analyse `path` in this process; how much memory that took, MiB."""
    from pipeline.analyze import analyze
    from pipeline.spec import AnalysisSpec
    from serving.local import local_toolkit

    with local_toolkit(model) as toolkit:
        loaded = machine.peak_memory_bytes()
        watch = machine.Stopwatch()
        report = asyncio.run(analyze(path, AnalysisSpec(), toolkit))
        peak = machine.peak_memory_bytes()
        cost = watch.cost()
    return {
        "loaded_mib": round(loaded / MEBI, 1),
        "peak_mib": round(peak / MEBI, 1),
        "report_mib": round(len(msgspec.json.encode(report)) / MEBI, 2),
        "frames": report.decode.frames_decoded,
        "shots": len(report.shots),
        "segments": len(report.segments),
        "duration_s": round(report.video.duration_s, 3),
        "cpu_s": round(cost.cpu_s, 2),
        "wall_s": round(cost.wall_s, 2),
        "others": round(cost.others, 3),
    }


def default_model() -> str:
    """The bundled model where it is there."""
    from models import catalog
    from models.errors import ModelError

    try:
        catalog.load("bundled")
    except ModelError:
        return STAND_IN
    return "bundled"


if __name__ == "__main__":
    sys.exit(main())
