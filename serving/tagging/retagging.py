"""Videos of a page, tagged anew from their vectors within one transaction. What is as before is not written."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline import retagging
from pipeline.judging import Judgement
from pipeline.report import Tag
from pipeline.retagging import Samples
from pipeline.spec import Label
from serving.db.statements import execute
from serving.db.tagging import FoundTags
from serving.db.vectors import matrix
from serving.tagging.deriving import derived, judgements
from serving.tagging.standing import Standing
from serving.tagging.writing import write_tags

#: Videos of a page, and samples of all of them together, unless one alone has more.
PAGE_VIDEOS, PAGE_ROWS = 25, 20_000

#: Locked, so that nobody corrects a tag, analyses or deletes the video meanwhile: who does waits for this, or this for
#: them. In the order of their ids, as all who lock several.
_PAGE = text(
    """
    SELECT id, coalesce(duration_s, 0) AS duration_s,
        (SELECT count(*) FROM moment WHERE video_id = video.id AND space = :space) AS rows
    FROM video
    WHERE tenant_id = :tenant AND id > :after AND (
        EXISTS (SELECT FROM moment WHERE video_id = video.id AND space = :space)
        OR EXISTS (SELECT FROM correction WHERE video_id = video.id AND origin = :vocabulary))
    ORDER BY id LIMIT :most FOR NO KEY UPDATE
    """
)
_SOME = text(
    """
    SELECT id, coalesce(duration_s, 0) AS duration_s FROM video
    WHERE tenant_id = :tenant AND id = ANY(:videos) ORDER BY id FOR NO KEY UPDATE
    """
)
_MOMENTS = text(
    """
    SELECT video_id, array_agg(pts_s ORDER BY position) AS pts_s,
        array_agg(halfvec_send(vector) ORDER BY position) AS sent
    FROM moment WHERE tenant_id = :tenant AND space = :space AND video_id = ANY(:videos)
    GROUP BY video_id ORDER BY video_id
    """
)
_FOUND = text(
    """
    INSERT INTO found_tags (tenant_id, vocabulary_id, space, video_id, tags, stamp)
    SELECT :tenant, :vocabulary, :space, video, cast(tags AS jsonb), stamp
    FROM unnest(cast(:videos AS text[]), cast(:tags AS text[]), cast(:stamps AS text[])) AS new (video, tags, stamp)
    ON CONFLICT (video_id, vocabulary_id) DO UPDATE
        SET space = excluded.space, tags = excluded.tags, stamp = excluded.stamp, tagged_at = now()
    """
)


@dataclass(frozen=True, slots=True)
class Page:
    """Videos that are locked."""

    durations_s: Mapping[str, float]
    """Video -> its length, in the order of ids."""
    last: bool
    """Whether none comes after it."""


@dataclass(slots=True)
class Changes:
    """What came of it."""

    changed: int = 0
    """Videos whose tags are others now."""
    gained: dict[str, list[str]] = field(default_factory=dict)
    """Label -> videos that have it now, and had not before."""
    lost: dict[str, list[str]] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    """Videos that this vocabulary had not looked at before: all that they have is gained."""


async def page_after(session: AsyncSession, standing: Standing, cursor: str) -> Page:
    """The next videos with vectors in its space, or of which something was said, locked for the rest of the
    transaction."""
    which = {"tenant": standing.tenant, "vocabulary": standing.vocabulary, "space": standing.space.space}
    rows = (await execute(session, _PAGE, **which, after=cursor, most=PAGE_VIDEOS)).all()
    taken: dict[str, float] = {}
    total = 0
    for row in rows:
        total += row.rows
        if taken and total > PAGE_ROWS:
            break
        taken[row.id] = row.duration_s
    return Page(taken, last=len(rows) < PAGE_VIDEOS and len(taken) == len(rows))


async def some(session: AsyncSession, tenant: str, videos: Sequence[str]) -> Page:
    """These videos, locked; those that are gone are not among them."""
    rows = (await execute(session, _SOME, tenant=tenant, videos=list(videos))).all()
    return Page({row.id: row.duration_s for row in rows}, last=True)


async def retag(session: AsyncSession, standing: Standing, page: Page) -> Changes:
    """Tag videos anew by a vocabulary. Those without vectors in its space keep what was found in them, with what was
    said of that."""
    samples, videos = await samples_of(session, standing, page.durations_s), list(page.durations_s)
    said = await judgements(session, standing.tenant, videos, standing.vocabulary)
    before = await _found(session, standing, videos)
    about = {video: said.get((video, standing.vocabulary), []) for video in videos}
    results = await asyncio.to_thread(_results, standing, page, samples, about, before)
    changes = Changes()
    found: dict[str, tuple[Tag, ...]] = {}
    stamps: dict[str, str] = {}
    written: dict[str, Sequence[Tag]] = {}
    for video, one in results.items():
        old = before.get(video)
        if old is None:
            changes.new.add(video)
        _compare(changes, video, one.before, one.after)
        if old is None or old.stamp != one.stamp:
            written[video] = one.after
        elif (old.space, old.tags) == (standing.space.space, one.found):
            continue
        found[video], stamps[video] = one.found, one.stamp
    await _write(session, standing, found, stamps, written)
    changes.changed = len(written)
    return changes


async def samples_of(session: AsyncSession, standing: Standing, durations_s: Mapping[str, float]) -> dict[str, Samples]:
    """Video -> what is kept of it in the space."""
    space, videos = standing.space, list(durations_s)
    rows = (await execute(session, _MOMENTS, tenant=standing.tenant, space=space.space, videos=videos)).all()
    found = {}
    for row in rows:
        pts_s = np.array(row.pts_s, np.float64)
        # A video whose length is not known lasts to its last sample.
        duration_s = durations_s[row.video_id] or float(pts_s[-1])
        found[row.video_id] = Samples(pts_s, matrix(row.sent, space.dim), duration_s)
    return found


@dataclass(frozen=True, slots=True)
class _Old:
    space: str
    tags: tuple[Tag, ...]
    stamp: str


@dataclass(frozen=True, slots=True)
class _Result:
    found: tuple[Tag, ...]
    before: tuple[Tag, ...]
    """With what was said, as `after`."""
    after: tuple[Tag, ...]
    stamp: str


def _results(
    standing: Standing,
    page: Page,
    samples: Mapping[str, Samples],
    about: Mapping[str, Sequence[Judgement]],
    before: Mapping[str, _Old],
) -> dict[str, _Result]:
    """Of the videos that have vectors, or of which something was said. Beside the event loop: it takes its time."""
    labels, space = standing.labels.labels, standing.space.space
    results = {}
    for video, duration_s in page.durations_s.items():
        sample, said, old = samples.get(video), about[video], before.get(video)
        if sample is not None:
            duration_s = sample.duration_s
            found = retagging.found(sample, standing.labels, standing.likelihood, standing.taught, standing.source)
        elif said:
            found = () if old is None else old.tags
        else:
            continue
        had = () if old is None else derived(old.tags, labels, said, duration_s, old.space)
        has = derived(found, labels, said, duration_s, space)
        results[video] = _Result(found, had, has, stamp_of(has, labels))
    return results


def stamp_of(tags: Sequence[Tag], labels: Sequence[Label]) -> str:
    """Names what a video is found by: the same where its tags are, and the other names of those."""
    named = {tag.label for tag in tags}
    told = msgspec.json.encode((tags, [(label.name, label.aliases) for label in labels if label.name in named]))
    return hashlib.sha256(told).hexdigest()[:32]


async def _found(session: AsyncSession, standing: Standing, videos: Sequence[str]) -> dict[str, _Old]:
    """Video -> what was found before."""
    query = select(FoundTags.video_id, FoundTags.space, FoundTags.tags, FoundTags.stamp).where(
        FoundTags.tenant_id == standing.tenant,
        FoundTags.vocabulary_id == standing.vocabulary,
        col(FoundTags.video_id).in_(videos),
    )
    rows = (await session.exec(query)).all()
    return {video: _Old(space, msgspec.convert(tags, tuple[Tag, ...]), stamp) for video, space, tags, stamp in rows}


async def _write(
    session: AsyncSession,
    standing: Standing,
    found: Mapping[str, tuple[Tag, ...]],
    stamps: Mapping[str, str],
    written: Mapping[str, Sequence[Tag]],
) -> None:
    if found:
        await execute(
            session,
            _FOUND,
            tenant=standing.tenant,
            vocabulary=standing.vocabulary,
            space=standing.space.space,
            videos=list(found),
            tags=[msgspec.json.encode(tags).decode() for tags in found.values()],
            stamps=[stamps[video] for video in found],
        )
    if written:
        await write_tags(session, standing.tenant, written, standing.labels.labels, standing.vocabulary)


def _compare(changes: Changes, video: str, old: Sequence[Tag], new: Sequence[Tag]) -> None:
    had, has = ({tag.label for tag in tags if tag.kind == "tag"} for tags in (old, new))
    for labels, into in ((has - had, changes.gained), (had - has, changes.lost)):
        for label in labels:
            into.setdefault(label, []).append(video)
