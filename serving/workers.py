"""Workers say how they are, and whoever asks is told: every few seconds a row of theirs is written anew.

Clocks of processes are never compared: a worker says how long ago something was, the database when it said so.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib import metadata
from typing import Final, Literal

import msgspec
from sqlalchemy import text

from pipeline.record import Record
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.faults import Faults

#: How often a worker says how it is, seconds; at once when a model's state changes.
BEAT_S: Final = 3.0

#: How long it has for its last word, seconds.
LAST_S: Final = 2.0

#: One that was silent for longer than this is taken for dead, seconds.
ALIVE_S: Final = 15.0

#: How old the check of a model may be that counts, seconds.
FRESH_S: Final = 90.0

State = Literal["loading", "ready", "failed", "asleep"]
"""`asleep`: in an engine that may have no replica, and that nobody needs just now; see `graph.args.WorkerConfig`."""

#: Rows of those who died are kept for a day, for whoever looks into it. One's own is never such a row, however long the
#: process was stopped: a row cannot be both deleted and written by one statement.
_BEAT = text(
    """
    WITH dead AS (DELETE FROM worker WHERE seen_at < now() - interval '1 day' AND id <> :id)
    INSERT INTO worker (id, host, pid, version, slots, busy, models)
    VALUES (:id, :host, :pid, :version, :slots, :busy, cast(:models AS jsonb))
    ON CONFLICT (id) DO UPDATE SET busy = excluded.busy, models = excluded.models, seen_at = now()
    """
)
_LEAVE = text("DELETE FROM worker WHERE id = :id")
_ALIVE = text(
    """
    SELECT id, busy, slots, models, seen_at, extract(epoch FROM now() - seen_at)::float8 AS silent_s FROM worker
    WHERE seen_at > now() - make_interval(secs => :alive_s) ORDER BY id
    """
)


class ModelReport(Record, frozen=True, kw_only=True):
    """What a worker says about one of its models."""

    name: str
    """As jobs ask for it."""
    state: State
    stands_for: str | None
    """The model's own name: `auto` may stand for one or another. None while it is not loaded, as what follows; of an
    engine that sleeps, as it was last."""
    version: str | None
    space: str | None
    dim: int | None
    device: str | None
    dtype: str | None
    loaded_ago_s: float | None
    checked_ago_s: float | None
    """Since it was last found out whether it computes, seconds; None before the first time."""
    error: str | None
    """Why it does not, or could not be loaded; of an engine that sleeps, when it was needed last."""
    engine: str | None = None
    """Engine of the graph that has it; None where the worker has it itself, as of what follows."""
    generation: int | None = None
    """Which of the models that the engine had so far, from 1."""
    share: float | None = None
    """Of the jobs that ask for it: how many of them this engine gets, from 0 to 1."""
    coming: str | None = None
    """The model that the engine loads to replace it."""
    swap_error: str | None = None
    """Why the last model that was to replace it did not."""
    kind: str | None = None
    """`embedding`, `scores` or `measurement`, see `models.base.Kind`."""
    replicas: int | None = None
    """Of the engine, that answer; None where nobody asks."""

    @property
    def comes_when_needed(self) -> bool:
        """Whether a job that asks for it has it started, or has just done so."""
        return self.state == "asleep" or (self.state == "loading" and self.engine is not None)


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker that is alive."""

    id: str
    slots: int
    busy: int
    models: tuple[ModelReport, ...]
    seen_at: datetime
    silent_s: float
    """Since then, seconds."""

    def moment(self, ago_s: float | None) -> datetime | None:
        """When something was, that was so long ago when the worker said so."""
        return None if ago_s is None else self.seen_at - timedelta(seconds=ago_s)

    def works(self, model: ModelReport) -> bool:
        """Whether one of its models really computed something lately."""
        return (
            model.state == "ready"
            and model.checked_ago_s is not None
            and model.checked_ago_s + self.silent_s <= FRESH_S
        )


class Presence:
    """Says how a worker is for as long as it works."""

    def __init__(
        self,
        database: Database,
        worker_id: str,
        *,
        slots: int,
        busy: Callable[[], int],
        models: Callable[[], Iterable[ModelReport]],
        changed: asyncio.Event,
        beat_s: float = BEAT_S,
    ) -> None:
        """`changed`: set when there is something new to be said, and cleared here."""
        self._database = database
        self._id = worker_id
        self._slots, self._busy, self._models = slots, busy, models
        self._changed = changed
        self._beat_s = beat_s
        self.said_at = time.monotonic()
        """When it last said how it is; when it was made, before that."""

    async def serve(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then its row is gone."""
        faults = Faults("a worker says how it is")
        ending = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._changed.clear()
                # While the database is away nobody is there to be told.
                with faults.borne():
                    await self.beat()
                news = asyncio.create_task(self._changed.wait())
                await asyncio.wait({ending, news}, timeout=self._beat_s, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
        finally:
            ending.cancel()
        # A row that stays is that of a worker that is silent.
        with contextlib.suppress(TimeoutError), faults.borne(TimeoutError):
            async with asyncio.timeout(LAST_S):
                await self.leave()

    async def beat(self) -> None:
        """Say how it is now."""
        values = {
            "id": self._id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": _version(),
            "slots": self._slots,
            "busy": self._busy(),
            "models": msgspec.json.encode(tuple(self._models())).decode(),
        }
        async with self._database.write("worker.beat", SYSTEM) as session:
            await execute(session, _BEAT, **values)
        self.said_at = time.monotonic()

    async def leave(self) -> None:
        """Say that it is no longer."""
        async with self._database.write("worker.leave", SYSTEM) as session:
            await execute(session, _LEAVE, id=self._id)


async def alive(database: Database) -> tuple[WorkerSeen, ...]:
    """All that were heard of lately. Raises DatabaseUnavailable."""
    async with database.read(SYSTEM) as session:
        rows = (await execute(session, _ALIVE, alive_s=ALIVE_S)).mappings().all()
    return tuple(
        WorkerSeen(
            id=row["id"],
            slots=row["slots"],
            busy=row["busy"],
            models=msgspec.convert(row["models"], tuple[ModelReport, ...]),
            seen_at=row["seen_at"],
            silent_s=row["silent_s"],
        )
        for row in rows
    )


def missing(workers: Iterable[WorkerSeen]) -> str | None:
    """Why no job can be done just now, in a few words; None where one can."""
    workers = tuple(workers)
    if not workers:
        return f"no worker was heard of in the last {ALIVE_S:g} s; start one: automations worker, or graph"
    models = [(worker, model) for worker in workers for model in worker.models]
    if any(worker.works(model) for worker, model in models):
        return None
    if not models:
        return "no worker has a model yet"
    # Whether those that come when they are needed compute, nobody knows before; that is no reason to take no jobs.
    said = [_trouble(worker, model) for worker, model in models if not model.comes_when_needed]
    return "; ".join(dict.fromkeys(said)) or None


def _trouble(worker: WorkerSeen, model: ModelReport) -> str:
    if model.state == "loading":
        return f"a worker is loading {model.name}"
    if model.state == "failed":
        return f"{model.name} does not work: {model.error}"
    return f"{model.name} was last checked {(model.checked_ago_s or 0.0) + worker.silent_s:.0f} s ago"


@cache
def _version() -> str:
    return metadata.version("automations-backend")
