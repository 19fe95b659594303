"""Follows jobs on a terminal: a bar for each while they run, a line for each when they are over."""

import queue
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from serving.answers import FINAL, JobSeen
from serving.client import Client
from serving.event_stream import Event
from serving.report_console import clock
from serving.terminal import plain

#: Jobs that are followed at once; the others have their turn when one of these is over.
MOST_AT_ONCE: Final = 32


def watched(client: Client, jobs: Iterable[str], console: Console) -> bool:
    """Show how jobs go until all are over; whether all succeeded.

    Raises:
        Failure: one of them is unknown, or the server cannot be reached any more.
    """
    jobs = list(dict.fromkeys(jobs))
    shown = _Shown(console)
    succeeded = True
    # Jobs that are not there are told before anybody waits for the others.
    for job in jobs:
        client.job(job)
    with shown.bars:
        for job, event in _events(client, jobs):
            if isinstance(event, JobSeen):
                shown.over(event)
                succeeded = succeeded and event.state == "succeeded"
            else:
                shown.told(job, event)
    return succeeded


def standing(job: JobSeen) -> Iterator[str]:
    """How far a job is, in lines."""
    yield f"{job.id} {job.state}"
    yield f"video     {job.video_id}"
    yield f"attempt   {job.attempt}, priority {job.priority}"
    if job.state == "running" and job.progress:
        yield f"progress  {_stage(job.progress)} {job.progress.get('done')} of {job.progress.get('total')}" + (
            _remaining(job.progress)
        )
    if job.error is not None:
        yield f"error     {_why(job.error)}"
    for name, moment in (("created", job.created_at), ("started", job.started_at), ("finished", job.finished_at)):
        if moment is not None:
            yield f"{name:<9} {moment.astimezone():%Y-%m-%d %H:%M:%S %z}"


def _events(client: Client, jobs: list[str]) -> Iterator[tuple[str, Event | JobSeen]]:
    """What happens to jobs as it happens; of each, last, what became of it.

    Threads wait for it, which end with the process: one that is interrupted must not wait for what they wait for.
    """
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    happened: queue.SimpleQueue[tuple[str, Event | JobSeen] | Future[None]] = queue.SimpleQueue()

    def follow(ended: Future[None]) -> None:
        try:
            while True:
                try:
                    job = waiting.get_nowait()
                except queue.Empty:
                    break
                for event in client.events(job):
                    happened.put((job, event))
                happened.put((job, client.job(job)))
            ended.set_result(None)
        except BaseException as error:  # noqa: BLE001 - whoever reads the queue raises it
            ended.set_exception(error)
        happened.put(ended)

    threads = min(len(jobs), MOST_AT_ONCE)
    for _ in range(threads):
        threading.Thread(target=follow, args=(Future(),), daemon=True).start()
    while threads:
        one = happened.get()
        if isinstance(one, Future):
            one.result()
            threads -= 1
        else:
            yield one


@dataclass
class _Shown:
    """What is on the screen; in a file, a line for each step."""

    console: Console
    bars: Progress = field(init=False)
    _tasks: dict[str, TaskID] = field(default_factory=dict)
    _steps: dict[str, str] = field(default_factory=dict)
    _ends: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", markup=False),
        )
        self.bars = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)

    def told(self, job: str, event: Event) -> None:
        """Something happened."""
        if event.kind in FINAL:
            self._ends[job] = event.data
            return
        if event.kind == "candidates":
            line = _candidates(event.data)
            if line is not None:
                self.console.print(plain(f"{job} {line}", "dim"), soft_wrap=True)
            return
        step = _step(event)
        if step is None:
            return
        if job not in self._tasks:
            self._tasks[job] = self.bars.add_task(job, total=None, left="")
        going = event.kind == "progress"
        done, total = (event.data.get("done"), event.data.get("total")) if going else (0, None)
        left = _remaining(event.data).removeprefix(", ") if going else ""
        line = plain(f"{job} {step}").plain
        self.bars.update(self._tasks[job], description=line, completed=done, total=total, left=left)
        if not self.console.is_terminal and self._steps.get(job) != step:
            self.console.print(plain(line), soft_wrap=True)
        self._steps[job] = step

    def over(self, job: JobSeen) -> None:
        """A job has ended."""
        if job.id in self._tasks:
            self.bars.remove_task(self._tasks.pop(job.id))
        line = f"{job.id} {job.state}"
        if job.state == "failed" and job.error is not None:
            line += f": {_why(job.error)}"
        elif job.state == "succeeded":
            counts = self._ends.get(job.id, {})
            found = ", ".join(f"{counts[name]} {name}" for name in ("segments", "shots", "tags") if name in counts)
            line += f": {found}" if found else ""
        self.console.print(plain(line), soft_wrap=True)


def _step(event: Event) -> str | None:
    """What a job does after an event; None where the event does not change that."""
    match event.kind:
        case "queued":
            error = event.data.get("error")
            return f"waits for another attempt: {_why(error)}" if isinstance(error, dict) else "waits"
        case "running":
            return f"begins (attempt {event.data.get('attempt')})"
        case "progress":
            return _stage(event.data)
        case _:
            return None


def _candidates(data: dict[str, Any]) -> str | None:
    """The best stretch of what has been seen so far; None of what a later server may tell otherwise."""
    match data:
        case {"until_s": int() | float() as until_s, "segments": [{"start_s": start_s, "end_s": end_s}, *others]}:
            more = f" and {len(others)} more" if others else ""
            return f"so far (of the first {clock(until_s)}): best from {clock(start_s)} to {clock(end_s)}{more}"
    return None


def _stage(progress: dict[str, Any]) -> str:
    return str(progress.get("stage"))


def _remaining(progress: dict[str, Any]) -> str:
    left_s = progress.get("remaining_s")
    return f", about {clock(left_s)} left" if isinstance(left_s, int | float) else ""


def _why(error: dict[str, Any]) -> str:
    return f"{error.get('detail')} [{error.get('code')}]"
