"""What a job leaves to be found by, written in the transaction that it succeeds in."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.report import Tag
from pipeline.spec import Label
from serving.db.statements import execute
from serving.db.vectors import literals
from serving.jobs.events import notify

if TYPE_CHECKING:
    # The API, which writes no vectors, keeps clear of what it brings along.
    from pipeline.indexing import Index

#: The origin of what latest reports say.
REPORT: Final = ""

#: PostgreSQL's channel on which workers hear that there is something to be tagged.
TAGGING_CHANNEL: Final = "automations_tagging"

_OF_TAGS: Final = ("video", "label", "alias_of", "category", "score")
_OF_SPANS: Final = ("video", "label", "alias_of", "start_s", "end_s", "score")

#: Rows of one statement: some megabytes.
_AT_ONCE: Final = 500

_KNOWN = text("SELECT dim FROM space WHERE tenant_id = :tenant AND space = :space")

#: Held until the end of the transaction, so that of two first spaces one is active.
_ONE_BY_ONE = text("SELECT pg_advisory_xact_lock(hashtextextended('space of ' || :tenant, 0))")

_NEW_SPACE = text(
    """
    INSERT INTO space (tenant_id, space, dim, model, scale, bias, state)
    SELECT :tenant, :space, :dim, :model, :scale, :bias, CASE WHEN EXISTS (
        SELECT FROM space WHERE tenant_id = :tenant AND state = 'active') THEN 'side' ELSE 'active' END
    ON CONFLICT (tenant_id, space) DO NOTHING
    """
)

_MOMENTS = text(
    """
    INSERT INTO moment (tenant_id, video_id, space, position, shot, pts_s, start_s, end_s, lot, vector)
    SELECT :tenant, :video, :space, position, shot, pts_s, start_s, end_s, random(), vector::halfvec
    FROM unnest(cast(:position AS int[]), cast(:shot AS int[]), cast(:pts_s AS float8[]), cast(:start_s AS float8[]),
        cast(:end_s AS float8[]), cast(:vector AS text[])) AS new (position, shot, pts_s, start_s, end_s, vector)
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

_SPANS = text(
    """
    INSERT INTO tag_span (tenant_id, origin, video_id, label, alias_of, start_s, end_s, score)
    SELECT :tenant, :origin, video, label, alias_of, start_s, end_s, score
    FROM unnest(cast(:video AS text[]), cast(:label AS text[]), cast(:alias_of AS text[]), cast(:start_s AS float8[]),
        cast(:end_s AS float8[]), cast(:score AS float8[])) AS new (video, label, alias_of, start_s, end_s, score)
    """
)

_TAGS = text(
    """
    INSERT INTO video_tag (tenant_id, origin, video_id, label, alias_of, category, score)
    SELECT :tenant, :origin, video, label, alias_of, category, score
    FROM unnest(cast(:video AS text[]), cast(:label AS text[]), cast(:alias_of AS text[]), cast(:category AS text[]),
        cast(:score AS float8[])) AS new (video, label, alias_of, category, score)
    """
)

_FORGET = (
    text("DELETE FROM video_tag WHERE tenant_id = :tenant AND origin = :origin AND video_id = ANY(:videos)"),
    text("DELETE FROM tag_span WHERE tenant_id = :tenant AND origin = :origin AND video_id = ANY(:videos)"),
    text(
        "DELETE FROM lexeme WHERE tenant_id = :tenant AND video_id = ANY(:videos) "
        "AND starts_with(source, 'tag:' || cast(:origin AS text) || ':')"
    ),
)

_NEW = text(
    "INSERT INTO untagged (tenant_id, video_id) VALUES (:tenant, :video) "
    "ON CONFLICT (video_id) DO UPDATE SET run_after = now()"
)


async def write_vectors(session: AsyncSession, tenant: str, video: str, index: "Index") -> None:
    """The vectors of a video in one space, in place of those that it had in that space. Vocabularies that stand for
    the library are to look at them, see `serving.tagging`."""
    this = {"tenant": tenant, "video": video, "space": index.space}
    await _make_space(session, tenant, index)
    await execute(session, _NEW, tenant=tenant, video=video)
    await notify(session, TAGGING_CHANNEL)
    for table in ("moment", "segment_vector"):
        await execute(
            session,
            text(f"DELETE FROM {table} WHERE tenant_id = :tenant AND video_id = :video AND space = :space"),
            **this,
        )
    columns = {
        "position": np.arange(len(index.pts_s)),
        "shot": index.shots,
        "pts_s": index.pts_s,
        "start_s": index.starts_s,
        "end_s": index.ends_s,
    }
    for rows in _slices(len(index.pts_s)):
        some = {name: column[rows].tolist() for name, column in columns.items()}
        await execute(session, _MOMENTS, **this, **some, vector=literals(index.vectors[rows]))
    if index.segments:
        await execute(
            session,
            _SEGMENTS,
            **this,
            position=[place for place, _ in index.segments],
            start_s=[one.start_s for _, one in index.segments],
            end_s=[one.end_s for _, one in index.segments],
            thumbnail_s=[one.thumbnail_s for _, one in index.segments],
            score=[one.score for _, one in index.segments],
            vector=literals(index.segment_vectors),
        )


async def write_tags(
    session: AsyncSession,
    tenant: str,
    found: Mapping[str, Sequence[Tag]],
    labels: Iterable[Label],
    origin: str = REPORT,
) -> None:
    """What videos are found by of what one origin says, in place of what it said before; and the words of that.

    Args:
        found: video -> its tags and categories.
        labels: that were looked for; their other names lead to them, too.
        origin: id of a vocabulary that stands for the library; else it is their latest reports.
    """
    aliases = {label.name: label.aliases for label in labels if label.aliases}
    for gone in _FORGET:
        await execute(session, gone, tenant=tenant, origin=origin, videos=list(found))
    tags = [row for video, some in found.items() for row in _tags(video, some, aliases)]
    spans = [row for video, some in found.items() for row in _spans(video, some, aliases)]
    for statement, rows, names in ((_TAGS, tags, _OF_TAGS), (_SPANS, spans, _OF_SPANS)):
        for some in _slices(len(rows)):
            columns = zip(*rows[some], strict=True)
            await execute(
                session, statement, tenant=tenant, origin=origin, **dict(zip(names, map(list, columns), strict=True))
            )


def _slices(count: int) -> Iterator[slice]:
    return (slice(first, first + _AT_ONCE) for first in range(0, count, _AT_ONCE))


def _names(label: str, aliases: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str | None]]:
    """A label, and its other names with what they are names of."""
    yield label, None
    for alias in aliases.get(label, ()):
        yield alias, label


def _tags(video: str, tags: Iterable[Tag], aliases: Mapping[str, Sequence[str]]) -> Iterator[tuple[Any, ...]]:
    """`_OF_TAGS` of each. A name may be both a label and a category; a video is found by the surer of the two."""
    best: dict[str, Tag] = {}
    for tag in tags:
        if tag.label not in best or tag.score >= best[tag.label].score:
            best[tag.label] = tag
    given: set[str] = set(best)
    for tag in best.values():
        for name, alias_of in _names(tag.label, aliases):
            if alias_of is None or name not in given:
                given.add(name)
                yield video, name, alias_of, tag.parent, tag.score


def _spans(video: str, tags: Iterable[Tag], aliases: Mapping[str, Sequence[str]]) -> list[tuple[Any, ...]]:
    """`_OF_SPANS` of each. A name may be both a label and a category, and hold from the same time on."""
    found: dict[tuple[str, float], tuple[float, float]] = {}
    for tag in tags:
        for span in tag.ranges:
            end_s, score = found.get((tag.label, span.start_s), (span.end_s, span.score))
            found[tag.label, span.start_s] = max(end_s, span.end_s), max(score, span.score)
    rows: dict[tuple[str, float], tuple[Any, ...]] = {}
    for (label, start_s), (end_s, score) in found.items():
        for name, alias_of in _names(label, aliases):
            if alias_of is None or (name, start_s) not in found:
                rows[name, start_s] = video, name, alias_of, start_s, end_s, score
    return list(rows.values())


async def _make_space(session: AsyncSession, tenant: str, index: "Index") -> None:
    if (await execute(session, _KNOWN, tenant=tenant, space=index.space)).one_or_none() is not None:
        return
    await execute(session, _ONE_BY_ONE, tenant=tenant)
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
