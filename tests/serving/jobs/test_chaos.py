"""The short form of `make chaos`: real workers and a real API, killed, stopped and woken up, and a database that is
restarted."""

import asyncio
from pathlib import Path

import pytest

from serving.db import embedded, migrate
from tests.serving.jobs.chaos import Plan, run, wrong


@pytest.mark.slow
def test_every_job_ends_well_and_once_whoever_dies(tmp_path):
    plan = Plan(jobs=24, workers=2, kills=5, stops=1, restarts=1)
    folder = Path(tmp_path) / "postgres"
    with embedded.embedded(folder) as url:
        migrate.upgrade(url)
        outcome = asyncio.run(run(plan, url, tmp_path, lambda: embedded.restart(folder)))
    assert wrong(plan, outcome) == []
