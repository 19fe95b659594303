"""Train the bundled model, or measure it again.

python -m models.training --out models/bundled --seed 0        train, calibrate, measure, write everything
python -m models.training --evaluate models/bundled            measure what is there on fresh renders
python -m models.training --things models/bundled              write anew the list of what it tells apart
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import tempfile
import time
from pathlib import Path
from shutil import copyfile

from models.training.bundle import load_bundle, save_bundle
from models.training.calibrate import calibrate
from models.training.card import story, write_card
from models.training.evaluate import measure
from models.training.things import write_things
from models.training.tokenizer import BPE_FILE, load_tokenizer
from models.training.train import TrainingConfig, report_progress, train

log = logging.getLogger("models.training")

CALIBRATION_SEED, EVALUATION_SEED = 1_000_001, 2_000_003
"""Far from every training seed: neither set of renders was ever learnt from, nor shared."""


def _train(out: Path, config: TrainingConfig, minutes: float) -> None:
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        trained = train(config, work, minutes=minutes, on_step=report_progress)
        model = trained.model
        tokenizer = load_tokenizer(work)
        out.mkdir(parents=True, exist_ok=True)
        copyfile(work / BPE_FILE, out / BPE_FILE)
    scale, bias = calibrate(model, tokenizer, config, seed=CALIBRATION_SEED + config.seed)
    log.info("calibrated: scale %.2f, bias %.2f", scale, bias)
    save_bundle(model, tokenizer, config, out)
    write_things(out)
    training = story(trained.steps, time.monotonic() - start, config)
    write_card(out, measure(load_bundle(out), seed=EVALUATION_SEED + config.seed), config=config, training=training)


def main(argv: list[str] | None = None) -> None:
    """Entry point of `python -m models.training`."""
    defaults = TrainingConfig()
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("models/bundled"), help="folder to write")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--steps", type=int, default=defaults.steps, help="default: %(default)s")
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="hurry the schedule to end in this time (the result then depends on the machine)",
    )
    parser.add_argument("--evaluate", type=Path, metavar="FOLDER", help="only measure what is there; JSON to stdout")
    parser.add_argument("--things", type=Path, metavar="FOLDER", help="only write the list of what it tells apart")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.evaluate is not None:
        figures = measure(load_bundle(args.evaluate), seed=EVALUATION_SEED + args.seed)
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return
    if args.things is not None:
        write_things(args.things)
        return
    _train(args.out, TrainingConfig(seed=args.seed, steps=args.steps), args.minutes)


if __name__ == "__main__":
    main()
