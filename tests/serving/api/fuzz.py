"""Fuzzes the whole API, as its schema describes it, over a real server and database.

    python -m tests.serving.api.fuzz [--examples 15] [--seed 0] [--operation NAME]

Schemathesis makes the cases: the schema's examples, the edges of what it allows, values within and beyond it, and
chains of operations where one takes what another gave. Whoever asks is an administrator's key, a viewer's key, an
administrator who signed in, and nobody. Prints what was sent and what came of it as JSON.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from pipeline.report import Report
from serving.db import embedded, migrate
from tests.serving.api.fuzz_config import ALL_PHASES, config
from tests.serving.api.fuzz_count import Count
from tests.serving.api.fuzz_world import CREDENTIALS, fuzzed
from tests.serving.conftest import sample_report


async def fuzz(
    url: str,
    folder: Path,
    report: Report,
    *,
    plan: Mapping[str, tuple[str, ...]],
    examples: int,
    seed: int = 0,
    operations: tuple[str, ...] = (),
) -> Count:
    """Fuzz a server over this empty database.

    Args:
        plan: who asks -> phases, one after the other.
        examples: cases of each operation in the phase of random ones, and of chains.
        operations: only these; none are all.
    """
    count = Count()
    async with fuzzed(url, folder, report) as server:
        for name, phases in plan.items():
            here = folder / name.replace(" ", "-")
            here.mkdir()
            (here / "schemathesis.toml").write_text(
                config(server.known, server.credentials[name], seed=seed, examples=examples, phases=phases)
            )
            only = [part for operation in operations for part in ("--include-operation-id", operation)]
            done = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "schemathesis.cli", "run", f"{server.address}/docs/openapi.json", *only,
                cwd=here, stdout=(here / "output.txt").open("w"), stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            await done.wait()
            count.add(name, here)
    return count


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--examples", type=int, default=15, help="cases of an operation in a phase")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--who", action="append", default=[], help="only as these")
    parser.add_argument("--operation", action="append", default=[], help="only these")
    parser.add_argument("--phase", action="append", default=[], help="only these")
    parser.add_argument("--keep", type=Path, help="a folder for what schemathesis says")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, embedded.embedded(Path(temporary) / "postgres") as url:
        migrate.upgrade(url)
        folder = asked.keep or Path(temporary) / "fuzz"
        folder.mkdir(parents=True)
        began = time.monotonic()
        count = asyncio.run(
            fuzz(
                url,
                folder,
                sample_report.__wrapped__(),
                plan=dict.fromkeys(asked.who or CREDENTIALS, tuple(asked.phase) or ALL_PHASES),
                examples=asked.examples,
                seed=asked.seed,
                operations=tuple(asked.operation),
            )
        )
        told = {"seed": asked.seed, "took_s": round(time.monotonic() - began, 1), **count.told()}
    print(json.dumps(told, indent=1))
    sys.exit(1 if count.failures or count.errors else 0)


if __name__ == "__main__":
    main()
