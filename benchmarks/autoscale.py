"""How long do jobs wait, and what does that cost, before anybody pays for a GPU?

    python -m benchmarks autoscale                             # four settings, three patterns of arrivals
    python -m benchmarks autoscale --config cluster            # those, and what a Serve YAML says
    python -m benchmarks autoscale --config cluster --vary rules.clear_within_s=60,120,300 --patterns burst
    python -m benchmarks autoscale --plant engine_video_s_per_s=200 engine_start_s=240
    python -m benchmarks autoscale --real                      # a step from 1 to 30 jobs on a real graph, and replayed

Arrivals are replayed against the code that scales in production: `serving.graph.policy` for workers, Ray Serve's own
for engines and for all delays. What the replicas do is simulated (`benchmarks.scaling.plant`); how fast they are and
how long they take to start has to be measured, and is said with `--plant`. docs/autoscaling.md says what to choose.
"""

import argparse
import json
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks import machine
from benchmarks.scaling.arrivals import PATTERNS
from benchmarks.scaling.page import page, said

if TYPE_CHECKING:
    from benchmarks.scaling.plant import Plant, Setting

OUT = Path("benchmarks/results/autoscale.json")
REAL = Path("benchmarks/results/autoscale_real.json")

#: Figures that are shown -> what they are called.
COLUMNS = {
    "jobs": "jobs",
    "wait_median_s": "wait s, median",
    "wait_p95_s": "95 %",
    "oldest_max_s": "most",
    "took_p95_s": "done s, 95 %",
    "workers_max": "workers",
    "engines_max": "engines",
    "worker_replica_s": "worker s",
    "engine_replica_s": "engine s",
    "worker_idle": "slots idle",
    "engine_idle": "engines idle",
    "handed_back": "handed back",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Replay, and write down what came of it."""
    parser = argparse.ArgumentParser(prog="benchmarks autoscale", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--config", nargs="+", default=[], help="Serve YAMLs; cpu, single-gpu, cluster are the package's"
    )
    parser.add_argument("--only-config", action="store_true", help="leave out the settings that are built in")
    parser.add_argument(
        "--vary", nargs="+", default=[], metavar="PART.KEY=A,B", help="of the first YAML, or of `patient`"
    )
    parser.add_argument("--patterns", nargs="+", default=list(PATTERNS), choices=PATTERNS)
    parser.add_argument("--plant", nargs="+", default=[], metavar="KEY=VALUE", help="what the replicas are like")
    parser.add_argument("--real", action="store_true", help="a step on a graph of this machine, beside its replay")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help=f"result file, with a page beside it (default {OUT}, {REAL})")
    args = parser.parse_args(argv)
    if args.real:
        return real(args.seed, args.out or REAL)
    # Ray is loaded here: `--help` does without.
    from benchmarks.scaling import settings
    from pipeline.errors import InvalidSettings

    # The policy says what it decides; of a day of decisions nobody wants to read.
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        read = [settings.from_yaml(name) for name in args.config]
        base = read[0] if read else next(one for one in settings.SETTINGS if one.name == "patient")
        changed = [one for change in args.vary for one in settings.varied(base, change)]
        plant = settings.plant(args.plant)
    except (InvalidSettings, ValueError) as error:
        parser.error(str(error))
    compared = [*(() if args.only_config else settings.SETTINGS), *read, *changed]
    if not compared:
        parser.error("--only-config wants a --config")
    result = replayed(compared, plant, args.patterns, args.seed)
    write(result, args.out or OUT)
    show(result)
    return 0


def real(seed: int, out: Path) -> int:
    """The step on a real graph and in the simulator; 0 where no job was lost or done twice."""
    from benchmarks.scaling import comparison

    result = comparison.compared(seed) | {"machine": machine.record()}
    write(result, out)
    show(result)
    for line in comparison.verdict(result):
        print(line)
    return 0 if result["real"]["lost"] == result["real"]["twice"] == 0 else 1


def replayed(compared: Sequence["Setting"], plant: "Plant", patterns: Sequence[str], seed: int) -> dict[str, Any]:
    """Each pattern with each setting, as it goes into the result file."""
    from benchmarks.scaling.plant import replay

    found = {}
    for name in patterns:
        pattern = PATTERNS[name]
        arrivals = pattern.arrivals(seed)
        # A day has more moments than anybody looks at.
        slow = replace(plant, control_s=max(plant.control_s, pattern.until_s / 20_000))
        runs = []
        for setting in compared:
            measures = replay(arrivals, setting, slow, pattern.until_s, seed)
            runs.append({"setting": setting.name, "summary": measures.summary(), "curves": measures.curves()})
        found[name] = {"what": pattern.what, "runs": runs}
    return {
        "machine": machine.record(),
        "definition": "wait: from a job's arrival until it is claimed; done: until its end; worker s, engine s: "
        "replica-seconds, starting and stopping included; idle: share of them in which a slot, or an engine, had "
        "nothing to do; handed back: times that a job went back to the queue because its worker was taken away",
        "seed": seed,
        "plant": asdict(plant),
        "settings": [msgspec.to_builtins(setting) for setting in compared],
        "patterns": found,
    }


def write(result: dict[str, Any], out: Path) -> None:
    """The figures, and a page beside them."""
    out.parent.mkdir(parents=True, exist_ok=True)
    # Each curve on a line of its own, not each of its points.
    text = re.sub(r"\[[-\d.,\s]+\]", lambda found: re.sub(r"\s+", " ", found[0]), json.dumps(result, indent=1))
    out.write_text(text + "\n")
    out.with_suffix(".html").write_text(page(result, COLUMNS))


def show(result: dict[str, Any]) -> None:
    """A table for each pattern."""
    for name, pattern in result["patterns"].items():
        print(f"\n{name}: {pattern['what']}")
        print(f"{'':28}" + "".join(f"{head:>15}" for head in COLUMNS.values()))
        for run in pattern["runs"]:
            figures = (said(run["summary"][figure]) for figure in COLUMNS)
            print(f"{run['setting'][:27]:28}" + "".join(f"{figure:>15}" for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
