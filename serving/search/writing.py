"""What a job leaves to be found by, written in the transaction that it succeeds in."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.indexing import Index, means
from pipeline.report import Segment
from serving.db.statements import execute
from serving.db.vectors import literal, literals, matrix
from serving.jobs.events import notify
from serving.search.spaces import space_lock
from serving.tagging.writing import TAGGING_CHANNEL

#: Rows of one statement: some megabytes.
_AT_ONCE: Final = 500

_KNOWN = text("SELECT state FROM space WHERE tenant_id = :tenant AND space = :space")

_NEW_SPACE = text(
    """
    INSERT INTO space (tenant_id, space, dim, model, scale, bias, state)
    SELECT :tenant, :space, :dim, :model, :scale, :bias, CASE WHEN EXISTS (
        SELECT FROM space WHERE tenant_id = :tenant AND state = 'active') THEN 'side' ELSE 'active' END
    ON CONFLICT (tenant_id, space) DO UPDATE SET state = excluded.state
        WHERE space.state IN ('leaving', 'removed')
    """
)

_MOMENTS = text(
    """
    INSERT INTO moment (tenant_id, video_id, space, position, shot, pts_s, start_s, end_s, lot, alike, vector)
    SELECT :tenant, :video, :space, position, shot, pts_s, start_s, end_s, random(), alike, vector::halfvec
    FROM unnest(cast(:position AS int[]), cast(:shot AS int[]), cast(:pts_s AS float8[]), cast(:start_s AS float8[]),
        cast(:end_s AS float8[]), cast(:alike AS int[]), cast(:vector AS text[]))
        AS new (position, shot, pts_s, start_s, end_s, alike, vector)
    """
)

_SEGMENTS = text(
    """
    INSERT INTO segment_vector (tenant_id, video_id, space, position, start_s, end_s, thumbnail_s, score, vector)
    SELECT :tenant, :video, :space, position, start_s, end_s, thumbnail_s, score, vector::halfvec
    FROM unnest(cast(:position AS int[]), cast(:start_s AS float8[]), cast(:end_s AS float8[]),
        cast(:thumbnail_s AS float8[]), cast(:score AS float8[]), cast(:vector AS text[]))
        AS new (position, start_s, end_s, thumbnail_s, score, vector)
    """
)

_NO_MOMENTS = text("DELETE FROM moment WHERE tenant_id = :tenant AND video_id = :video AND space = :space")
_NO_SEGMENTS = text("DELETE FROM segment_vector WHERE tenant_id = :tenant AND video_id = :video AND space = :space")
_NO_DUE = text("DELETE FROM space_due WHERE tenant_id = :tenant AND video_id = :video AND space = :space")
_NO_WHOLE = text("DELETE FROM video_vector WHERE tenant_id = :tenant AND video_id = :video AND space = :space")

_ELSEWHERE = text(
    """
    SELECT s.space, s.dim FROM space s WHERE s.tenant_id = :tenant AND s.space IS DISTINCT FROM :space
        AND s.state NOT IN ('leaving', 'removed')
        AND EXISTS (SELECT FROM moment m WHERE m.video_id = :video AND m.space = s.space)
    """
)

_MOMENTS_OF = text(
    """
    SELECT pts_s, halfvec_send(vector) AS sent FROM moment
    WHERE tenant_id = :tenant AND video_id = :video AND space = :space ORDER BY position
    """
)

_WHOLE = text(
    """
    INSERT INTO video_vector (tenant_id, video_id, space, start_s, end_s, thumbnail_s, score, vector)
    VALUES (:tenant, :video, :space, :start_s, :end_s, :thumbnail_s, :score, cast(:vector AS text)::halfvec)
    """
)

_NEW = text(
    "INSERT INTO untagged (tenant_id, video_id) VALUES (:tenant, :video) "
    "ON CONFLICT (video_id) DO UPDATE SET run_after = now()"
)


async def write_vectors(session: AsyncSession, tenant: str, video: str, index: Index) -> None:
    """The vectors of a video in one space, in place of those that it had in that space. Vocabularies that stand for
    the library are to look at them, see `serving.tagging`."""
    this = {"tenant": tenant, "video": video, "space": index.space}
    await _make_space(session, tenant, index)
    await execute(session, _NEW, tenant=tenant, video=video)
    await notify(session, TAGGING_CHANNEL)
    for gone in (_NO_DUE, _NO_MOMENTS, _NO_SEGMENTS, _NO_WHOLE):
        await execute(session, gone, **this)
    columns = {
        "position": np.arange(len(index.pts_s)),
        "shot": index.shots,
        "pts_s": index.pts_s,
        "start_s": index.starts_s,
        "end_s": index.ends_s,
        "alike": index.alike,
    }
    for rows in _slices(len(index.pts_s)):
        some = {name: column[rows].tolist() for name, column in columns.items()}
        await execute(session, _MOMENTS, **this, **some, vector=literals(index.vectors[rows]))
    await _write_segments(session, this, index.segments, index.segment_vectors)
    whole, nearest = index.whole
    await execute(
        session,
        _WHOLE,
        **this,
        start_s=float(index.starts_s[0]),
        end_s=float(index.ends_s[-1]),
        thumbnail_s=float(index.pts_s[nearest]),
        score=max((one.score for _, one in index.segments), default=0.0),
        vector=literal(whole),
    )


async def write_segments_elsewhere(
    session: AsyncSession, tenant: str, video: str, segments: Sequence[Segment], space: str | None
) -> None:
    """The key segments of a new report in all spaces that the video is in but `space`, by what is there of it."""
    spaces = (await execute(session, _ELSEWHERE, tenant=tenant, video=video, space=space)).all()
    for one in spaces:
        this = {"tenant": tenant, "video": video, "space": one.space}
        rows = (await execute(session, _MOMENTS_OF, **this)).all()
        vectors = matrix([row.sent for row in rows], one.dim)
        await execute(session, _NO_SEGMENTS, **this)
        await _write_segments(session, this, *means(segments, np.array([row.pts_s for row in rows]), vectors))


async def _write_segments(
    session: AsyncSession, this: Mapping[str, str], segments: Sequence[tuple[int, Segment]], vectors: np.ndarray
) -> None:
    """`this`: tenant, video and space."""
    if segments:
        await execute(
            session,
            _SEGMENTS,
            **this,
            position=[place for place, _ in segments],
            start_s=[one.start_s for _, one in segments],
            end_s=[one.end_s for _, one in segments],
            thumbnail_s=[one.thumbnail_s for _, one in segments],
            score=[one.score for _, one in segments],
            vector=literals(vectors),
        )


def _slices(count: int) -> Iterator[slice]:
    return (slice(first, first + _AT_ONCE) for first in range(0, count, _AT_ONCE))


async def _make_space(session: AsyncSession, tenant: str, index: Index) -> None:
    known = (await execute(session, _KNOWN, tenant=tenant, space=index.space)).scalar_one_or_none()
    if known is not None and known not in ("leaving", "removed"):
        return
    # Of two first spaces one is active.
    await space_lock(session, tenant)
    await execute(
        session,
        _NEW_SPACE,
        tenant=tenant,
        space=index.space,
        dim=index.vectors.shape[1],
        model=index.model,
        scale=index.likelihood.scale,
        bias=index.likelihood.bias,
    )
