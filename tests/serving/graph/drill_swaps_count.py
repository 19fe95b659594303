"""What is left after `drill_swaps`, counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.report import Report
from serving.db.database import Database
from tests.serving.graph.drill_count import outcome
from tests.serving.graph.drill_swaps_load import Crowd, Result
from tests.serving.graph.drill_swaps_seen import UNREADY_S, Swap, Unready, trouble
from tests.serving.graph.drill_swaps_truth import Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapRow:
    """A swap."""

    kind: str
    version: str | None
    """That served after it."""
    posted: int
    deployed_s: float | None
    shown_s: float | None
    traffic_s: float | None
    results: int
    """Reports by its model; of a broken one, none."""
    under_way: int
    """Jobs that had begun when its model took over, and had not ended; of a broken one, none."""
    ended_with_the_old: int
    """Of those, the ones whose report is by the model that was replaced: they had begun with it."""
    cause: str | None
    """Why it did not replace the other, as `GET /v1/models` said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapOutcome:
    """What came of it."""

    swaps: tuple[SwapRow, ...]
    clients: int
    requests: int
    failed_requests: int
    jobs: int
    lost: int
    """Jobs that did not succeed."""
    duplicated: int
    again: int
    """Attempts beyond the first ones."""
    job_s: float
    """What a job took from its request to its end, with all clients at once: median."""
    reports: dict[str, int]
    """Version -> reports by it."""
    texts: dict[str, int]
    """Version -> texts that were embedded by it."""
    mistagged: int
    """Reports that do not name exactly one model, that of their embeddings and of their tags."""
    different: int
    """Reports that are not what the model that they name makes of the film."""
    stale: int
    """Reports by a model that was replaced before their job was posted."""
    unready: int
    """How often `GET /v1/models` said for a while that the model was not ready, though jobs and texts went on."""
    unready_worst_s: float
    wrong: list[str] = field(default_factory=list)
    """What is not as it has to be, in words."""


async def counted(
    crowd: Crowd,
    swaps: Sequence[Swap],
    unready: Sequence[Unready],
    truth: Truth,
    database: Database,
    left: Sequence[str],
) -> SwapOutcome:
    """Count, and compare with the truth, which takes a second for each model and film.

    Args:
        left: what was wrong with the end of the server, in words.
    """
    mistagged: dict[str, str] = {}
    for result in crowd.results:
        if result.report is not None:
            if (why := _mistagged(result.report)) is not None:
                mistagged[result.job.id] = why
            why = await truth.difference(result.report, result.client)
            crowd.different |= {} if why is None else {result.job.id: why}
    texts = [why for vector in crowd.vectors if (why := truth.text_difference(vector)) is not None]
    stale = [one for one in crowd.results if _is_stale(one, swaps)]
    reports = Counter(_space(one) for one in crowd.results if one.report is not None)
    rows = tuple(_row(swap, crowd.results, reports) for swap in swaps)
    ends = await outcome(crowd, (), database, left)
    versions = {space: loaded.model.info.version for space, loaded in truth.models.items()}
    by_client = Counter(one.client for one in crowd.results)
    wrong = [
        *ends.wrong,
        *(f"{job}: {why}" for job, why in mistagged.items()),
        *(f"a text's vector: {why}" for why in texts),
        *(f"{one.job.id} is by {_space(one)}, which was replaced before" for one in stale),
        *(f"{one.job.id} took another job's features" for one in crowd.results if one.features == "shared"),
        *(f"client {number} has no result" for number in range(len(crowd.clients)) if not by_client[number]),
        *(f"not ready for {one.lasted_s} s: {one.shown}" for one in unready if one.lasted_s > UNREADY_S),
        *(["no job went on with a model that was replaced"] if not any(row.ended_with_the_old for row in rows) else ()),
        *(f"swap {number}, {swap.kind}: {why}" for number, swap in enumerate(swaps, 1) for why in trouble(swap)),
    ]
    return SwapOutcome(
        swaps=rows,
        clients=len(crowd.clients),
        requests=crowd.asked,
        failed_requests=len(crowd.failures),
        jobs=len(crowd.jobs),
        lost=ends.lost,
        duplicated=ends.duplicated,
        again=ends.again,
        job_s=ends.undisturbed_s,
        reports={versions.get(space, space): count for space, count in reports.items()},
        texts={versions.get(space, space): count for space, count in Counter(v.space for v in crowd.vectors).items()},
        mistagged=len(mistagged),
        different=ends.different,
        stale=len(stale),
        unready=len(unready),
        unready_worst_s=max((one.lasted_s for one in unready), default=0.0),
        wrong=wrong,
    )


def _mistagged(report: Report) -> str | None:
    """What is wrong with the models that a report names, in words."""
    if len(report.models) != 1:
        return f"it names {len(report.models)} models"
    (model,) = report.models
    embeddings = report.features.embeddings
    found = {tag.source.version for tag in report.tags} | {"none" if embeddings is None else embeddings.space}
    return None if found == {model.space} else f"it names the space {model.space}, and in it is {sorted(found)}"


def _space(result: Result) -> str:
    """Of the model that it names first."""
    return result.report.models[0].space if result.report is not None and result.report.models else "none"


def _is_stale(result: Result, swaps: Sequence[Swap]) -> bool:
    """Whether a model that serves no more when the job was posted has done it."""
    over = [place for place, swap in enumerate(swaps) if swap.good and swap.shown_at < result.job.posted_at]
    if result.report is None or not over:
        return False
    return _space(result) not in {swap.space for swap in swaps[over[-1] :] if swap.good}


def _row(swap: Swap, results: Sequence[Result], reports: Counter[str]) -> SwapRow:
    at = None if swap.after is None or not swap.good else swap.after.loaded_at
    under_way = [one for one in results if at is not None and one.started_at < at < one.finished_at]
    return SwapRow(
        kind=swap.kind,
        version=None if swap.after is None else swap.after.version,
        posted=swap.posted,
        deployed_s=swap.deployed_s,
        shown_s=swap.shown_s,
        traffic_s=swap.traffic_s,
        results=reports[swap.space] if swap.space is not None else 0,
        under_way=len(under_way),
        ended_with_the_old=sum(_space(one) == swap.before.space for one in under_way),
        cause=None if swap.after is None else swap.after.swap_error,
    )
