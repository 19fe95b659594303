"""What jobs are replayed on: workers and engines that start, work, hand back and stop, from one event to the next.

A job takes one slot of a worker. All that run share what the engines can do, each getting no more than its slot can
pass on. Replicas that stop are those that Serve would stop: those that are starting first, then the newest.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.scaling.arrivals import Arrival
from benchmarks.scaling.measures import Measures, Moment
from benchmarks.scaling.serve_autoscaler import Autoscaler, clock
from serving.graph.backlog import Reading
from serving.graph.policy import BacklogPolicy
from serving.graph.scaling import ScalingRules
from serving.jobs.backlog import Backlog

#: After so many times the length of a pattern whatever is left will never end.
_PATIENCE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """What the replicas are like: to be measured, and nothing that a YAML says."""

    slot_video_s_per_s: float = 10.0
    """Seconds of video that a worker's slot gets through in a second, if engines are quick enough."""
    engine_video_s_per_s: float = 60.0
    """The same of an engine replica, its models and its decoder."""
    machine_video_s_per_s: float | None = None
    """The same of all engines together, where they share the cores of one machine; None: they do not."""
    clips_of_a_job: float = 2.0
    """Clips that a job has out at once, on average, where engines are what it waits for. `pipeline.dispatch` has four
    at most; but frames for shots are one Clip, and the last ones come one by one: with two minutes of video it was 1.8.
    """
    worker_start_s: float = 15.0
    """From Serve's decision until a worker claims jobs, seconds; a new machine included, if it takes one."""
    engine_start_s: float = 90.0
    """Likewise of an engine, until its models are loaded and warm."""
    grace_s: float = 5.0
    """How long a worker that is to stop goes on, seconds, before it hands back what it has."""
    lost_video_s: float = 10.0
    """What has to be done again of a job that was handed back, seconds of video."""
    control_s: float = 1.0
    """How often Serve looks, seconds. It does so every 0.1 s; what it looks at changes more slowly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What an operator chooses: a Serve YAML, as far as it matters here."""

    name: str
    rules: ScalingRules
    workers: dict[str, Any]
    """`num_replicas`, or the `autoscaling_config` without its `policy`."""
    engines: dict[str, Any]
    """Likewise."""
    slots: int = 2
    clips_in_flight: int = 8
    """Of one worker."""


@dataclass(slots=True, eq=False)
class _Job:
    arrival: Arrival
    left_s: float
    since_s: float
    claimed_s: float | None = None
    ended_s: float | None = None


@dataclass(slots=True, eq=False)
class _Replica:
    ready: bool = False
    stopping: bool = False
    jobs: list[_Job] = field(default_factory=list)


def replay(arrivals: Sequence[Arrival], setting: Setting, plant: Plant, until_s: float, seed: int = 0) -> Measures:
    """Every job from its arrival to its end, and the replicas meanwhile.

    Raises:
        RuntimeError: some jobs never end, because nobody is ever there to do them.
    """
    run = _Run(arrivals, setting, plant, until_s, seed)
    with clock(lambda: run.now_s):
        run.play()
    return run.measures


class _Run:
    def __init__(self, arrivals: Sequence[Arrival], setting: Setting, plant: Plant, until_s: float, seed: int) -> None:
        self.now_s = 0.0
        self.measures = Measures(setting.slots)
        self._setting, self._plant, self._until_s = setting, plant, until_s
        self._chance = random.Random(seed)
        self._order = itertools.count()
        self._events: list[tuple[float, int, str, Any]] = []
        self._queue: list[tuple[float, int, _Job]] = []
        self._latest: deque[float] = deque(maxlen=100)
        self._reading = Reading(backlog=None, trouble="not read yet")
        policy = BacklogPolicy.over(lambda: self._reading, setting.rules)
        self._autoscalers = {
            "worker": Autoscaler("worker", setting.workers, policy),
            "engine": Autoscaler("engine", setting.engines),
        }
        self._targets = {kind: autoscaler.first for kind, autoscaler in self._autoscalers.items()}
        self._replicas = {kind: [_Replica(ready=True) for _ in range(n)] for kind, n in self._targets.items()}
        self._left = len(arrivals)
        for arrival in arrivals:
            self._at(arrival.at_s, "arrive", _Job(arrival, arrival.video_s, arrival.at_s))
        self._at(0.0, "poll", None)
        self._at(0.0, "control", None)

    def play(self) -> None:
        """Until everything is over, and the time is, too."""
        while self._left or self.now_s < self._until_s:
            if self.now_s > self._until_s * _PATIENCE:
                raise RuntimeError(f"{self._setting.name}: {self._left} jobs never end, with {self._targets}")
            ends_s = self._next_end_s()
            if ends_s <= self._events[0][0]:
                self._advance(ends_s)
                self._end()
            else:
                at_s, _, what, about = heapq.heappop(self._events)
                self._advance(at_s)
                getattr(self, f"_on_{what}")(about)
            self._claim()

    # What happens.

    def _on_arrive(self, job: _Job) -> None:
        self.measures.arrived += 1
        self._enqueue(job)

    def _on_poll(self, _: None) -> None:
        self._reading = Reading(backlog=self._backlog(), trouble=None)
        self._at(self.now_s + self._setting.rules.poll_s, "poll", None)

    def _on_control(self, _: None) -> None:
        for kind, requests in (("worker", 0.0), ("engine", self._requests())):
            running = len(self._ready(kind))
            wanted = self._autoscalers[kind].target(self.now_s, running, self._targets[kind], requests)
            self.measures.changes[kind] += wanted != self._targets[kind]
            self._targets[kind] = wanted
            self._scale(kind, wanted)
        queued = [job.since_s for _, _, job in self._queue]
        self.measures.seen(
            Moment(
                at_s=self.now_s,
                waiting=len(queued),
                running=len(self._running()),
                oldest_s=self.now_s - min(queued, default=self.now_s),
                workers=len(self._ready("worker")),
                engines=len(self._ready("engine")),
                workers_wanted=self._targets["worker"],
                engines_wanted=self._targets["engine"],
            )
        )
        self._at(self.now_s + self._plant.control_s, "control", None)

    def _on_ready(self, replica: _Replica) -> None:
        replica.ready = True

    def _on_drained(self, replica: _Replica) -> None:
        self._replicas["worker"].remove(replica)
        for job in replica.jobs:
            self.measures.handed_back += 1
            job.left_s = min(job.arrival.video_s, job.left_s + self._plant.lost_video_s)
            job.since_s = self.now_s
            self._enqueue(job)

    def _end(self) -> None:
        for worker in self._replicas["worker"]:
            for job in [job for job in worker.jobs if job.left_s <= 1e-9]:
                worker.jobs.remove(job)
                job.ended_s = self.now_s
                self._left -= 1
                self._latest.append(job.arrival.video_s)
                assert job.claimed_s is not None
                self.measures.ended(waited_s=job.claimed_s - job.arrival.at_s, took_s=self.now_s - job.arrival.at_s)

    def _claim(self) -> None:
        """Whoever has a free slot claims what came first; which of them does is a matter of chance."""
        while self._queue:
            free = [worker for worker in self._ready("worker") if len(worker.jobs) < self._setting.slots]
            if not free:
                return
            _, _, job = heapq.heappop(self._queue)
            job.claimed_s = self.now_s if job.claimed_s is None else job.claimed_s
            self._chance.choice(free).jobs.append(job)

    def _scale(self, kind: str, wanted: int) -> None:
        there = [replica for replica in self._replicas[kind] if not replica.stopping]
        start_s = self._plant.worker_start_s if kind == "worker" else self._plant.engine_start_s
        for _ in range(wanted - len(there)):
            replica = _Replica()
            self._replicas[kind].append(replica)
            self._at(self.now_s + start_s, "ready", replica)
        first = [*(one for one in there if not one.ready), *reversed([one for one in there if one.ready])]
        for replica in first[: max(0, len(there) - wanted)]:
            replica.stopping = True
            if replica.jobs:
                self._at(self.now_s + self._plant.grace_s, "drained", replica)
            else:
                self._replicas[kind].remove(replica)

    # What there is.

    def _ready(self, kind: str) -> list[_Replica]:
        return [replica for replica in self._replicas[kind] if replica.ready and not replica.stopping]

    def _running(self) -> list[_Job]:
        return [job for worker in self._replicas["worker"] for job in worker.jobs]

    def _speed(self, jobs: int) -> float:
        """Seconds of video a second that each of so many jobs gets."""
        return min(self._plant.slot_video_s_per_s, self._engines_speed() / jobs) if jobs else 0.0

    def _engines_speed(self) -> float:
        """Seconds of video a second of all engines."""
        all_s = len(self._ready("engine")) * self._plant.engine_video_s_per_s
        most = self._plant.machine_video_s_per_s
        return all_s if most is None else min(all_s, most)

    def _requests(self) -> float:
        """Clips at engines: all that jobs may have out where engines are what they wait for, else a share."""
        each = self._plant.clips_of_a_job
        out = sum(min(self._setting.clips_in_flight, len(one.jobs) * each) for one in self._replicas["worker"])
        all_s = self._engines_speed()
        asked_s = len(self._running()) * self._plant.slot_video_s_per_s
        return out * min(1.0, asked_s / all_s) if all_s else out

    def _backlog(self) -> Backlog:
        """As the database would tell it. The length of a video is not known before it was looked at."""
        waiting, running = len(self._queue), len(self._running())
        return Backlog(
            waiting=waiting,
            waiting_unknown=waiting,
            oldest_s=max((self.now_s - job.since_s for _, _, job in self._queue), default=0.0),
            running=running,
            running_unknown=running,
            typical_video_s=median(self._latest) if self._latest else None,
        )

    # Time.

    def _at(self, at_s: float, what: str, about: Any) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), what, about))

    def _enqueue(self, job: _Job) -> None:
        heapq.heappush(self._queue, (job.arrival.at_s, next(self._order), job))

    def _next_end_s(self) -> float:
        jobs = self._running()
        speed = self._speed(len(jobs))
        return self.now_s + min(job.left_s for job in jobs) / speed if speed else float("inf")

    def _advance(self, to_s: float) -> None:
        spent_s, self.now_s = to_s - self.now_s, to_s
        jobs = self._running()
        speed = self._speed(len(jobs))
        for job in jobs:
            job.left_s -= speed * spent_s
        done_s = speed * len(jobs) * spent_s
        engines = len(self._replicas["engine"])
        self.measures.spent(
            spent_s,
            workers=len(self._replicas["worker"]),
            engines=engines,
            busy_slots=len(jobs),
            engine_busy_s=done_s / self._plant.engine_video_s_per_s,
        )
