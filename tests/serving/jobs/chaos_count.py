"""What is left after `chaos`, counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from tests.serving.jobs.chaos_parts import insisted


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    states: dict[str, int]
    """State -> jobs, in the end."""
    reports: int
    succeeded_events: int
    broken_numbers: int
    """Jobs whose events have a gap or a repeat."""
    messages: int
    deaths: int
    api_kills: int
    zombies: int
    """Workers that were stopped for longer than their lease."""
    refused: int
    """Writes for jobs that were somebody else's by then."""
    retried: int
    """Jobs that three workers died over, which an operator has to start again."""
    struck: int
    """Jobs whose worker was killed or stopped while it had them."""
    restarts_s: tuple[float, ...]
    """Of those that had to go on elsewhere: median, 95 % and longest time from there to the next claim, seconds."""
    slowest_restart_s: float
    wall_s: float


async def rows(database: Database, query: str) -> Sequence:
    """All rows of a query, as the server itself; tried until the database is there."""

    async def once() -> Sequence:
        async with database.read(SYSTEM) as session:
            return (await execute(session, text(query))).all()

    return await insisted(once)


async def outcome(
    database: Database,
    *,
    struck: list[tuple[str, float]],
    refused: Path,
    retried: int,
    api_kills: int,
    zombies: int,
    wall_s: float,
) -> Outcome:
    """Count. `struck`: jobs, and when their workers were."""

    async def one(query: str) -> int:
        return (await rows(database, query))[0][0]

    states = Counter(row.state for row in await rows(database, "SELECT state FROM job"))
    numbers = "SELECT count(*) FROM (SELECT job_id FROM event GROUP BY job_id HAVING count(*) <> max(number)) x"
    waits_s = await _waits_s(database, struck)
    return Outcome(
        states=dict(states),
        reports=await one("SELECT count(*) FROM report"),
        succeeded_events=await one("SELECT count(*) FROM event WHERE kind = 'succeeded'"),
        broken_numbers=await one(numbers),
        messages=await one("SELECT count(*) FROM webhook_message WHERE type = 'job.succeeded'"),
        deaths=await one("SELECT count(*) FROM event WHERE data->>'reason' = 'worker_lost'"),
        api_kills=api_kills,
        zombies=zombies,
        refused=len(refused.read_text().splitlines()) if refused.exists() else 0,
        retried=retried,
        struck=len(struck),
        restarts_s=tuple(round(waits_s[int(share * (len(waits_s) - 1))], 2) for share in (0.5, 0.95, 1) if waits_s),
        slowest_restart_s=round(max(waits_s, default=0.0), 2),
        wall_s=round(wall_s, 1),
    )


async def _waits_s(database: Database, struck: list[tuple[str, float]]) -> list[float]:
    """From a blow to the next claim of the job, where its worker was found to be lost in between; sorted."""
    found = await rows(
        database,
        "SELECT job_id, kind, data->>'reason' AS reason, created_at FROM event"
        " WHERE kind IN ('running', 'queued', 'failed') ORDER BY job_id, number",
    )
    waits_s = []
    for job, at in struck:
        moment = datetime.fromtimestamp(at, UTC)
        later = [row for row in found if row.job_id == job and row.created_at > moment]
        # Otherwise it ended, or was quarantined, before the blow could do anything to it.
        if later and later[0].reason == "worker_lost":
            claimed = next((row for row in later if row.kind == "running"), None)
            if claimed is not None:
                waits_s.append((claimed.created_at - moment).total_seconds())
    return sorted(waits_s)
