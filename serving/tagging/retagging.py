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
    WHERE tenant_id = :tenant AND id > :after AND EXISTS (
        SELECT FROM moment WHERE video_id = video.id AND space = :space)
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
    """Label -> videos that have it now, and had tags of this vocabulary before, without it."""
    lost: dict[str, list[str]] = field(default_factory=dict)


async def page_after(session: AsyncSession, tenant: str, space: str, cursor: str) -> Page:
    """The next videos with vectors in a space, locked for the rest of the transaction."""
    rows = (await execute(session, _PAGE, tenant=tenant, space=space, after=cursor, most=PAGE_VIDEOS)).all()
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
    """Tag videos anew by a vocabulary. Those without vectors in its space keep the tags that they have."""
    samples = await samples_of(session, standing, page.durations_s)
    said = await judgements(session, standing.tenant, list(samples), standing.vocabulary)
    before = await _found(session, standing, list(samples))
    found = await asyncio.to_thread(_all_found, standing, samples)
    labels, changes = standing.labels.labels, Changes()
    written: dict[str, Sequence[Tag]] = {}
    stamps: dict[str, str] = {}
    for video, tags in found.items():
        about = said.get((video, standing.vocabulary), ())
        old = before.get(video)
        duration_s, space = samples[video].duration_s, standing.space.space
        new = derived(tags, labels, about, duration_s, space)
        stamps[video] = stamp_of(new, labels)
        if old is not None:
            _compare(changes, video, derived(old.tags, labels, about, duration_s, old.space), new)
        if old is None or old.stamp != stamps[video]:
            written[video] = new
        elif (old.space, old.tags) == (space, tags):
            del stamps[video]
    await _write(session, standing, {video: found[video] for video in stamps}, stamps, written)
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


def _all_found(standing: Standing, samples: Mapping[str, Samples]) -> dict[str, tuple[Tag, ...]]:
    return {
        video: retagging.found(one, standing.labels, standing.likelihood, standing.taught, standing.source)
        for video, one in samples.items()
    }


def stamp_of(tags: Sequence[Tag], labels: Sequence[Label]) -> str:
    """Names what a video is found by: the same where its tags are, and the other names of those."""
    named = {tag.label for tag in tags}
    told = msgspec.json.encode((tags, [(label.name, label.aliases) for label in labels if label.name in named]))
    return hashlib.sha256(told).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class _Old:
    space: str
    tags: tuple[Tag, ...]
    stamp: str


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
