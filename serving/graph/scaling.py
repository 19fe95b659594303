"""How many workers there should be, and why: arithmetic, without a clock, a database or Ray.

These are not in `serving.graph.policy`, because Ray carries that module to its controller as a copy (by value), and a
Record does not survive that.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from pipeline.record import Record
from serving.graph.args import InvalidGraph, read
from serving.jobs.backlog import Backlog

PolicyName = Literal["clear", "oldest", "each"]


class ScalingRules(Record, frozen=True, kw_only=True):
    """What an operator says about workers: the `policy_kwargs` of the deployment `worker`."""

    policies: Annotated[tuple[PolicyName, ...], Meta(min_length=1, max_length=8)] = ("clear", "oldest")
    """Which of `POLICIES` are asked; the one that wants most workers is heard."""
    video_s_per_s: Annotated[float, Meta(gt=0, le=1e6)] = 5.0
    """Seconds of video that one worker clears in a second, all its slots busy and engines enough for it. On two cores
    of a CPU, with the engine on the same ones, it was five (720p, `python -m benchmarks job`)."""
    clear_within_s: Annotated[float, Meta(gt=0, le=604_800)] = 120.0
    """How long what waits may take until it is done, seconds."""
    oldest_s: Annotated[float, Meta(gt=0, le=604_800)] = 60.0
    """Age at which a job that waits has one more worker added, whatever the arithmetic of the others says, seconds."""
    slots: Annotated[int, Meta(gt=0, le=256)] = 2
    """Jobs that one worker runs at once: as `slots` in its `user_config`."""
    unknown_video_s: Annotated[float, Meta(gt=0, le=604_800)] = 120.0
    """What a video counts for whose length is not known, seconds, as long as none is known to go by: then the median
    of those of the jobs that ended last."""
    poll_s: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    """Seconds between two readings of the backlog."""
    stale_s: Annotated[float, Meta(gt=0, le=86_400)] = 30.0
    """Age of a reading, seconds, from which on it counts for nothing: the number of workers stays as it is then."""


def scaling_rules(values: Mapping[str, Any] | None, where: str = "policy_kwargs") -> ScalingRules:
    """What a YAML says in `policy_kwargs`.

    Raises:
        InvalidGraph: an unknown name or a value that cannot be; the message begins with `where`.
    """
    rules = read(ScalingRules, values, where)
    if rules.stale_s <= rules.poll_s:
        raise InvalidGraph(f"{where}: stale_s has to be more than poll_s: {rules.stale_s:g}, {rules.poll_s:g}")
    return rules


class Present(Record, frozen=True, kw_only=True):
    """What there is now, in workers."""

    running: int
    """That have started, and were not told to stop."""
    minimum: int = 1
    maximum: int


class Decision(Record, frozen=True, kw_only=True):
    """How many workers there should be."""

    workers: int
    why: str


class Vote(Record, frozen=True, kw_only=True):
    """What one policy wants: so many workers at least, and the reason, which completes "2, because ..."."""

    workers: int
    why: str


Policy = Callable[[Backlog, ScalingRules, Present], Vote]


def clear(backlog: Backlog, rules: ScalingRules, present: Present) -> Vote:
    """Enough to be done with all that waits in time.

    >>> clear(Backlog(waiting=3, waiting_video_s=1500), ScalingRules(), Present(running=1, maximum=9)).workers
    3
    """
    each_s, how = typical_s(backlog, rules)
    # Of those that run, some have just begun and others are nearly done.
    running_s = (backlog.running_video_s + backlog.running_unknown * each_s) / 2
    video_s = backlog.waiting_video_s + backlog.waiting_unknown * each_s + running_s
    workers = math.ceil(video_s / (rules.video_s_per_s * rules.clear_within_s))
    if not backlog.waiting:
        return Vote(workers=0, why="nothing waits")
    unknown = backlog.waiting_unknown + backlog.running_unknown
    taken = f" ({unknown} of unknown length taken for {each_s:g} s each, {how})" if unknown else ""
    why = f"{backlog.waiting} jobs wait: {video_s:.0f} s of video{taken}, to be done within {rules.clear_within_s:g} s"
    # However short they are, one has to be there.
    return Vote(workers=max(1, workers), why=why)


def oldest(backlog: Backlog, rules: ScalingRules, present: Present) -> Vote:
    """One more, as long as somebody has waited for too long. Not another one before that one has started.

    >>> oldest(Backlog(waiting=1, oldest_s=90), ScalingRules(), Present(running=2, maximum=9)).workers
    3
    """
    if not backlog.waiting or backlog.oldest_s <= rules.oldest_s:
        return Vote(workers=0, why="none has waited for long")
    why = f"a job has waited for {backlog.oldest_s:.0f} s, which is more than {rules.oldest_s:g} s"
    return Vote(workers=present.running + 1, why=why)


def each(backlog: Backlog, rules: ScalingRules, present: Present) -> Vote:
    """A slot for every job at once.

    >>> each(Backlog(waiting=3, running=2), ScalingRules(), Present(running=1, maximum=9)).workers
    3
    """
    jobs = backlog.waiting + backlog.running
    return Vote(workers=math.ceil(jobs / rules.slots), why=f"{jobs} jobs wait or run, {rules.slots} on a worker")


#: What may be asked for by name. None of them asks for fewer workers when there is more to do.
POLICIES: Final[Mapping[PolicyName, Policy]] = MappingProxyType({"clear": clear, "oldest": oldest, "each": each})


def busy(backlog: Backlog, rules: ScalingRules, present: Present) -> Vote:
    """Those that are at work stay, whatever else is asked.

    >>> busy(Backlog(running=3), ScalingRules(), Present(running=4, maximum=9)).workers
    2
    """
    workers = math.ceil(backlog.running / rules.slots)
    return Vote(workers=workers, why=f"{backlog.running} jobs run, {rules.slots} on a worker")


def errands(backlog: Backlog, rules: ScalingRules, present: Present) -> Vote:
    """One, if something else is to be done that workers are there for."""
    why = f"{backlog.errands} deliveries of webhooks or videos to be fetched are due"
    return Vote(workers=min(1, backlog.errands), why=why)


def decide(backlog: Backlog, rules: ScalingRules, present: Present) -> Decision:
    """How many workers there should be now, within the bounds. Delays are Serve's business.

    >>> decide(Backlog(waiting=30, waiting_unknown=30), ScalingRules(), Present(running=1, maximum=4))
    Decision(workers=4, why='30 jobs wait: 3600 s of video (30 of unknown length taken for 120 s each, \
unknown_video_s), to be done within 120 s; 6 would be needed, max_replicas is 4')
    """
    asked = [POLICIES[name](backlog, rules, present) for name in rules.policies]
    most = max((busy(backlog, rules, present), errands(backlog, rules, present), *asked), key=lambda vote: vote.workers)
    workers, why = most.workers, most.why if most.workers else "nothing waits or runs"
    # A worker for whom there is no job costs something and does nothing.
    useful = max(each(backlog, rules, present).workers, min(1, backlog.errands))
    if workers > useful:
        workers, why = useful, f"{why}; more than {useful} would have no job"
    if workers > present.maximum:
        return Decision(
            workers=present.maximum, why=f"{why}; {workers} would be needed, max_replicas is {present.maximum}"
        )
    if workers < present.minimum:
        return Decision(workers=present.minimum, why=f"{why}; min_replicas is {present.minimum}")
    return Decision(workers=workers, why=why)


def typical_s(backlog: Backlog, rules: ScalingRules) -> tuple[float, str]:
    """What a video of unknown length counts for, seconds, and where that is from."""
    if backlog.typical_video_s is None:
        return rules.unknown_video_s, "unknown_video_s"
    return backlog.typical_video_s, "the median of the latest"
