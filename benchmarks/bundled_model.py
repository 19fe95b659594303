"""Measure the bundled model again, on renders of fresh seeds, and keep the figures.

    python -m benchmarks.bundled_model [--seeds 3] [--scenes 1000] [--out benchmarks/results/bundled_model.json]

Accuracies are means over the seeds; the spread between them says how far to trust the last digit.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from models.training.bundle import load_bundle, write_json
from models.training.card import environment
from models.training.evaluate import measure

FIRST_SEED = 5_000_011
"""Far from the seeds of training, calibration and the model card."""

_REPOSITORY = Path(__file__).resolve().parent.parent


def main(argv: list[str] | None = None) -> None:
    """Measure, write JSON, and say the headline figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bundled_model", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=_REPOSITORY / "models" / "bundled")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=_REPOSITORY / "benchmarks" / "results" / "bundled_model.json")
    args = parser.parse_args(argv)
    bundle = load_bundle(args.model)
    runs = [measure(bundle, seed=FIRST_SEED + i, scenes=args.scenes) for i in range(args.seeds)]
    names = [name for name, value in runs[0].items() if isinstance(value, float)]
    summary: dict[str, Any] = {
        name: {
            "mean": round(float(np.mean([run[name] for run in runs])), 4),
            "spread": round(float(np.ptp([run[name] for run in runs])), 4),
        }
        for name in names
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.out, {"environment": environment(), "figures": summary, "runs": runs})
    sys.stdout.write(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
