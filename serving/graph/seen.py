"""What engines said of themselves last, and what is made of it: which version a job begins with, and what is reported.
Pure, so that nothing has to be asked to test it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from serving.graph.messages import ModelDescription, ReplicaDescription
from serving.workers import ModelReport

Rest = Literal["asleep", "loading"]
"""An engine on demand that nobody needs, and one that is being woken; see `args.WorkerConfig.on_demand`."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an engine said last."""

    replicas: tuple[ReplicaDescription, ...]
    at: float
    """When, by `time.monotonic`."""
    silent: str | None = None
    """Why it has said nothing since; of an engine on demand, why it could not be woken."""
    gone: bool = False
    """Whether it is one on demand, and had no replica when it was looked for last."""


NOTHING: Final = Seen((), -float("inf"))
"""Of an engine that was not asked yet."""


def chosen(replicas: Sequence[ReplicaDescription], model: str) -> tuple[ReplicaDescription, ModelDescription] | None:
    """What a job that asks for `model` begins with: of what replicas would give it now, the version that most of them
    have, whether for new jobs or for older ones; of several, the newest. So it is a new one as soon as all have it, and
    a job can go to any replica. None where there is no such model."""
    able = [replica for replica in replicas if replica.state == "ready"] or replicas
    now = [(one, found) for one in able if (found := _current(one, model)) is not None]
    if not now:
        return None

    def worth(item: tuple[ReplicaDescription, ModelDescription]) -> tuple[int, float]:
        replica, described = item
        holders = sum(_holds(other, described.info.identity) for other in able)
        return holders, -replica.generations[0].loaded_ago_s

    return max(now, key=worth)


def models_of(replicas: Sequence[ReplicaDescription]) -> list[str]:
    """Names that jobs may ask for."""
    return list(dict.fromkeys(model.name for one in replicas if one.generations for model in one.generations[0].models))


def reported(engine: str, model: str, seen: Seen, share: float | None, rest: Rest | None = None) -> ModelReport:
    """What there is to say about a model that an engine has.

    Args:
        share: of the jobs that ask for it, from 0 to 1; None: all.
        rest: how it is where what it said last does not count any more.
    """
    ago_s = time.monotonic() - seen.at
    found = chosen(seen.replicas, model)
    if found is None:
        return _unseen(engine, model, seen, share, rest)
    replica, described = found
    checked = [one.checked_ago_s for one in seen.replicas if one.state == "ready" and one.checked_ago_s is not None]
    error = seen.silent or (None if replica.state == "ready" else f"{replica.error or replica.state}")
    failures = [one.failure for one in seen.replicas if one.failure is not None and model in one.failure.wanted]
    coming = [one.coming[model] for one in seen.replicas if one.coming is not None and model in one.coming]
    return ModelReport(
        name=model,
        state=rest or ("ready" if error is None else "failed"),
        stands_for=described.info.name,
        version=described.info.version,
        space=described.info.space,
        dim=described.info.dim,
        device=described.info.device,
        dtype=described.info.dtype,
        kind=described.info.kind,
        loaded_ago_s=round(replica.generations[0].loaded_ago_s + ago_s, 3),
        checked_ago_s=round(min(checked) + ago_s, 3) if checked else None,
        error=error if rest is None else seen.silent,
        engine=engine,
        replicas=_answering(seen, rest),
        generation=replica.generations[0].number,
        share=share,
        # A replica that is started anew begins with whatever is configured by then.
        coming=coming[0] if coming and rest is None else None,
        swap_error=failures[0].error if failures and rest is None else None,
    )


def news(seen: Seen) -> object:
    """What of it others should be told at once; not how long ago something was."""
    replicas = [
        (one.replica, one.state, one.error, one.coming, one.failure and one.failure.error, _numbers(one))
        for one in seen.replicas
    ]
    return seen.silent is None, seen.gone, sorted(replicas, key=str)


def _unseen(engine: str, model: str, seen: Seen, share: float | None, rest: Rest | None) -> ModelReport:
    """Of an engine on demand that has said nothing yet: that it has the model, its configuration says."""
    return ModelReport(
        name=model,
        state=rest or "failed",
        stands_for=None,
        version=None,
        space=None,
        dim=None,
        device=None,
        dtype=None,
        loaded_ago_s=None,
        checked_ago_s=None,
        error=seen.silent,
        engine=engine,
        replicas=_answering(seen, rest),
        share=share,
    )


def _answering(seen: Seen, rest: Rest | None) -> int | None:
    """How many replicas; None where that is not known, for nobody asks."""
    if seen.gone or (seen.silent is not None and rest is None):
        return 0
    return len(seen.replicas) if rest is None else None


def _current(replica: ReplicaDescription, model: str) -> ModelDescription | None:
    models = replica.generations[0].models if replica.generations else ()
    return next((described for described in models if described.name == model), None)


def _holds(replica: ReplicaDescription, identity: str) -> bool:
    return any(model.info.identity == identity for one in replica.generations for model in one.models)


def _numbers(replica: ReplicaDescription) -> list[int]:
    return [generation.number for generation in replica.generations]
