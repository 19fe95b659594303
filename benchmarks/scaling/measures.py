"""What is looked at while jobs are replayed: how long they wait, and what that costs."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

#: Points of a curve that are kept, about.
_POINTS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How things stand."""

    at_s: float
    waiting: int
    running: int
    oldest_s: float
    """For how long the job has waited that waits longest."""
    workers: int
    """Replicas that have started and were not told to stop."""
    engines: int
    workers_wanted: int
    engines_wanted: int


@dataclass(slots=True)
class Measures:
    """Of one run."""

    slots: int
    """Of a worker."""
    arrived: int = 0
    handed_back: int = 0
    """Times that a worker stopped and a job went back to the queue."""
    changes: Counter[str] = field(default_factory=Counter)
    """Kind of replica -> how often their number was changed."""
    moments: list[Moment] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    """Of each job, from its arrival until it was claimed for the first time."""
    took_s: list[float] = field(default_factory=list)
    """Of each job, from its arrival to its end."""
    worker_s: float = 0.0
    """Replica-seconds, those that start or stop included: what is paid for."""
    engine_s: float = 0.0
    busy_slot_s: float = 0.0
    engine_busy_s: float | None = 0.0
    """None where nobody can tell."""

    def ended(self, *, waited_s: float, took_s: float) -> None:
        """A job is over."""
        self.waited_s.append(waited_s)
        self.took_s.append(took_s)

    def seen(self, moment: Moment) -> None:
        """Add a point to the curves."""
        self.moments.append(moment)

    def spent(self, seconds: float, *, workers: int, engines: int, busy_slots: int, engine_busy_s: float = 0.0) -> None:
        """Time went by, with so many replicas, and slots that had a job."""
        self.worker_s += workers * seconds
        self.engine_s += engines * seconds
        self.busy_slot_s += busy_slots * seconds
        if self.engine_busy_s is not None:
            self.engine_busy_s += engine_busy_s

    def summary(self) -> dict[str, Any]:
        """Figures, as they go into the result file."""
        return {
            "jobs": len(self.took_s),
            "wait_median_s": quantile(self.waited_s, 0.5),
            "wait_p95_s": quantile(self.waited_s, 0.95),
            "took_median_s": quantile(self.took_s, 0.5),
            "took_p95_s": quantile(self.took_s, 0.95),
            "oldest_max_s": round(max(moment.oldest_s for moment in self.moments), 1),
            "workers_max": max(moment.workers for moment in self.moments),
            "engines_max": max(moment.engines for moment in self.moments),
            "worker_replica_s": round(self.worker_s),
            "engine_replica_s": round(self.engine_s),
            "worker_idle": idle(self.busy_slot_s, self.slots * self.worker_s),
            "engine_idle": idle(self.engine_busy_s, self.engine_s),
            "worker_changes": self.changes["worker"],
            "engine_changes": self.changes["engine"],
            "handed_back": self.handed_back,
        }

    def curves(self) -> dict[str, list[float]]:
        """Name of a figure -> its values, about as many as a picture can show; the highest of those in between."""
        step = max(1, len(self.moments) // _POINTS)
        rows = [asdict(moment) for moment in self.moments]
        parts = [rows[first : first + step] for first in range(0, len(rows), step)]
        return {name: [round(max(row[name] for row in part), 1) for part in parts] for name in rows[0]}


def quantile(values: list[float], share: float) -> float:
    """The value that this share of all is not above; 0 where there are none."""
    return round(sorted(values)[int(share * (len(values) - 1))], 1) if values else 0.0


def idle(busy_s: float | None, paid_s: float) -> float | None:
    """Share of what is paid for that does nothing, 0 to 1; None where it is not known."""
    if busy_s is None:
        return None
    return round(1 - busy_s / paid_s, 3) if paid_s else 0.0
