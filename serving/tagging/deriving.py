"""The tags that a video has: what its report and each vocabulary that stands found, with what people said of it.

`tags_of` is the one place that answers this; what videos are found by (`video_tag`, `tag_span`, words) is written from
the same functions. Thousands of things may be said of a video: tags are derived in a thread, beside the event loop.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.judging import CORRECTED, Judgement, judged
from pipeline.report import Report, Source, Tag
from pipeline.spec import Label
from serving.db.media import Video
from serving.db.tagging import Correction, FoundTags
from serving.db.vocabularies import Vocabulary
from serving.storage import reports
from serving.storage.keyring import Keyring
from serving.tagging.naming import true_names
from serving.tagging.writing import REPORT, write_tags

#: Stands for the end of a video in a correction.
TO_THE_END: Final = -1.0

_NOBODYS: Final = Source(name=CORRECTED, version="1")


@dataclass(frozen=True, slots=True)
class Tagged:
    """What one origin says of a video."""

    vocabulary: Vocabulary | None
    """None: its latest report."""
    tags: tuple[Tag, ...]


async def tags_of(session: AsyncSession, keyring: Keyring, tenant: str, video: Video) -> tuple[Tagged, ...]:
    """All tags that a video has, its report's first, then those of vocabularies in the order of their names."""
    said = await judgements(session, tenant, [video.id])
    found: list[Tagged] = []
    report = await latest_report(session, keyring, tenant, video.id)
    if report is not None:
        tags = await asyncio.to_thread(of_report, report, said.get((video.id, REPORT), ()))
        found.append(Tagged(None, tags))
    query = (
        select(FoundTags, Vocabulary)
        .join(Vocabulary, col(Vocabulary.id) == col(FoundTags.vocabulary_id))
        .where(FoundTags.tenant_id == tenant, FoundTags.video_id == video.id, Vocabulary.tenant_id == tenant)
        .order_by(Vocabulary.name)
    )
    for row, vocabulary in (await session.exec(query)).all():
        about = said.get((video.id, vocabulary.id), ())
        tags = await asyncio.to_thread(of_vocabulary, row, labels_of(vocabulary), about, video.duration_s)
        found.append(Tagged(vocabulary, tags))
    return tuple(found)


async def latest_report(session: AsyncSession, keyring: Keyring, tenant: str, video: str) -> Report | None:
    """The one that a video's resources show; None where it has none. Raises as `reports.latest`."""
    latest = await reports.latest(session, keyring, tenant, video)
    return None if latest is None else await asyncio.to_thread(latest.report)


async def judgements(
    session: AsyncSession, tenant: str, videos: Sequence[str], origin: str | None = None
) -> dict[tuple[str, str], list[Judgement]]:
    """(video, origin) -> what was said of its tags, earliest first. `origin`: of this one only."""
    query = select(Correction).where(Correction.tenant_id == tenant, col(Correction.video_id).in_(videos))
    if origin is not None:
        query = query.where(func.coalesce(Correction.vocabulary_id, REPORT) == origin)
    found: dict[tuple[str, str], list[Judgement]] = {}
    for row in (await session.exec(query.order_by(col(Correction.judged_at), col(Correction.id)))).all():
        found.setdefault((row.video_id, row.vocabulary_id or REPORT), []).append(judgement(row))
    return found


def judgement(row: Correction) -> Judgement:
    """A correction as what it says."""
    end_s = None if row.to_s == TO_THE_END else row.to_s
    return Judgement(row.label, row.accepted, row.from_s, end_s)


def labels_of(vocabulary: Vocabulary) -> tuple[Label, ...]:
    """Those that it has now."""
    return msgspec.convert(vocabulary.labels, tuple[Label, ...])


def of_vocabulary(
    row: FoundTags, labels: Sequence[Label], said: Sequence[Judgement], duration_s: float | None
) -> tuple[Tag, ...]:
    """What a vocabulary finds in a video, with what was said of that."""
    found = msgspec.convert(row.tags, tuple[Tag, ...])
    return derived(found, labels, said, duration_s or 0.0, row.space)


def derived(
    found: Sequence[Tag], labels: Sequence[Label], said: Sequence[Judgement], duration_s: float, space: str
) -> tuple[Tag, ...]:
    """The same of tags that are in no row yet."""
    parents = {label.name: label.parent for label in labels}
    # What was said of a label that has another name now.
    names = true_names(labels)
    said = [replace(one, label=names.get(one.label, one.label)) for one in said]
    name = found[0].source.name.partition(",")[0] if found else CORRECTED
    return judged(found, said, parents, duration_s=duration_s, source=Source(name=name, version=space))


def of_report(report: Report, said: Sequence[Judgement]) -> tuple[Tag, ...]:
    """A report's tags with what was said of them: each model's, and what it draws categories from, by themselves."""
    if not said:
        return report.tags
    by_source: dict[Source, list[Tag]] = {}
    for tag in report.tags:
        by_source.setdefault(tag.source, []).append(tag)
    known = {label.name: label.parent for label in report.spec.labels or ()}
    found: list[Tag] = []
    # What no model found, or looked for, is with the first one: whoever says that it is there need not ask a model.
    rest = dict.fromkeys((one.label for one in said), None) | known
    for source, tags in (by_source or {_NOBODYS: []}).items():
        parents = rest | {tag.label: tag.parent for tag in tags}
        about = [one for one in said if one.label in parents or one.label in parents.values()]
        found += judged(tags, about, parents, duration_s=report.video.duration_s, source=source)
        rest = {}
    return (*(tag for tag in found if tag.kind == "tag"), *(tag for tag in found if tag.kind == "category"))


async def write_report_tags(session: AsyncSession, tenant: str, video: str, report: Report) -> None:
    """What a video is found by of its latest report."""
    said = await judgements(session, tenant, [video], REPORT)
    tags = await asyncio.to_thread(of_report, report, said.get((video, REPORT), ()))
    await write_tags(session, tenant, {video: tags}, report.spec.labels or ())
