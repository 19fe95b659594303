"""Search: find moments by words, pictures, and what was found before."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from litestar import post
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from models.things import things_of
from pipeline import finding, tags
from pipeline.calibration import Kind
from pipeline.finding import Part
from serving.api.access import Principal, needs
from serving.api.page import decode_cursor, encode_cursor
from serving.api.search_schema import (
    QueryPart,
    Reason,
    Rejected,
    SearchPage,
    SearchRequest,
    SearchResult,
    where_of,
)
from serving.api.titles import titles_of
from serving.db.database import Database
from serving.db.search import Space
from serving.db.statements import execute
from serving.errors import InvalidRequest
from serving.search import searching
from serving.search.asking import Asking
from serving.search.searching import Answered, Asked, Found, Libraries

#: JSON has no infinite numbers, but some that are read as such; none of ours is anywhere near.
_Bounded = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
_Rarity = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
_Seen = Annotated[int, msgspec.Meta(ge=0, le=2**31)]

_Cursor = tuple[str, _Bounded, str, int, _Seen, tuple[tuple[_Bounded, _Bounded], ...], dict[str, _Rarity], str]
"""Stamp of what was asked, place of the last result, results so far, what scores were calibrated by, how much
words count, the space."""

#: Tags of a result that are told.
_MAX_TAGS = 10

_TAGS = text(
    """
    SELECT result.number, span.label
    FROM unnest(cast(:ids AS text[]), cast(:starts AS float8[]), cast(:ends AS float8[]))
        WITH ORDINALITY AS result (video_id, start_s, end_s, number)
    JOIN tag_span span ON span.tenant_id = :tenant AND span.video_id = result.video_id
        AND span.start_s < result.end_s AND span.end_s > result.start_s AND span.alias_of IS NULL
    GROUP BY result.number, span.label ORDER BY result.number, max(span.score) DESC, span.label
    """
)


@post(
    "/v1/search",
    operation_id="search",
    **needs("videos:read"),
    tags=["search"],
    status_code=200,
    summary="Find moments",
)
async def search(
    principal: Principal, database: Database, asking: Asking, libraries: Libraries, data: SearchRequest
) -> SearchPage:
    """Find moments, key segments or videos by what they show and what is said of them: by texts, pictures, moments and
    segments, weighted, also by what they are not to show. Scores are probabilities; what is not there is not answered
    with the least bad, but with nothing and `best_rejected`.

    Texts and pictures are turned into vectors by a worker; while none answers, this is 503 (`engine_unavailable`) with
    `Retry-After`."""
    tenant = principal.tenant_id
    _require_whole(data)
    where = where_of(data.where)
    stamp = _stamp(data)
    after: _Cursor | None = None
    if data.cursor is not None:
        after = decode_cursor(data.cursor, _Cursor)
        if after[0] != stamp or len(after[5]) != len(data.query):
            raise InvalidRequest("the cursor is of another search", (("/cursor", "of another search"),))
    # Pages are of one space, whichever answers by now.
    space = await searching.space_of(database, tenant, data.space if after is None else after[7])
    if space is None:
        return SearchPage(data=(), way="no video was analysed yet")
    parts = [await _part(one, at, tenant, space, database, asking) for at, one in enumerate(data.query)]
    if after is not None and not all(
        finding.may_be_held(part, *told) for part, told in zip(parts, after[5], strict=True)
    ):
        raise InvalidRequest("the cursor is not one that was given out here", (("/cursor", "not a cursor"),))
    asked = Asked(
        tenant=tenant,
        space=space,
        parts=tuple(parts),
        said=" ".join(one.text for one in data.query if one.text is not None and one.weight > 0) if data.words else "",
        where=where,
        group_by=data.group_by,
        held=None if after is None else after[5],
        rarity=None if after is None else after[6],
        seen=0 if after is None else after[4],
        limit=data.limit,
    )
    async with database.read(tenant) as session:
        answered = await searching.answer(session, asked, libraries)
        return await _page(session, asked, answered, data, stamp, after)


async def _page(
    session: AsyncSession, asked: Asked, answered: Answered, data: SearchRequest, stamp: str, after: _Cursor | None
) -> SearchPage:
    good = [one for one in answered.results if one.score >= data.min_score]
    bad = next((one for one in answered.results if one.score < data.min_score), None)
    rest = good if after is None else [one for one in good if one.place > after[1:4]]
    shown = rest[: data.limit]
    cursor = None
    if len(rest) > data.limit or (shown and answered.cut):
        cursor = encode_cursor(
            (stamp, *shown[-1].place, asked.seen + len(shown), answered.held, answered.rarity, asked.space.space)
        )
    return SearchPage(
        data=await _results(session, asked, shown),
        next_cursor=cursor,
        best_rejected=bad
        and Rejected(video_id=bad.row.video_id, start_s=bad.start_s, end_s=bad.end_s, score=round(bad.score, 4)),
        space=asked.space.space,
        way=answered.way,
    )


async def _results(session: AsyncSession, asked: Asked, shown: Sequence[Found]) -> tuple[SearchResult, ...]:
    if not shown:
        return ()
    ids = [one.row.video_id for one in shown]
    titles = await titles_of(session, asked.tenant, ids)
    starts, ends = [one.start_s for one in shown], [one.end_s for one in shown]
    labels: dict[int, list[str]] = {}
    for row in (await execute(session, _TAGS, tenant=asked.tenant, ids=ids, starts=starts, ends=ends)).all():
        labels.setdefault(row.number - 1, []).append(row.label)
    return tuple(
        SearchResult(
            video_id=one.row.video_id,
            title=titles.get(one.row.video_id, ""),
            start_s=one.start_s,
            end_s=one.end_s,
            thumbnail_s=one.row.pts_s,
            score=round(one.score, 4),
            segment=one.row.position if asked.group_by == "segments" else None,
            tags=tuple(labels.get(at, [])[:_MAX_TAGS]),
            reasons=_reasons(one),
        )
        for at, one in enumerate(shown)
    )


def _reasons(found: Found) -> tuple[Reason, ...]:
    looks = [
        Reason(signal="look", about=about, score=round(score, 4), weight=weight, at_s=found.row.pts_s, both=both)
        for about, weight, score, both in found.looks
    ]
    if found.said is None:
        return tuple(looks)
    said = found.said
    at_s = None if said.start_s < 0 else said.start_s
    return (
        *looks,
        Reason(signal="words", about=said.source, score=round(said.share, 4), at_s=at_s, words=said.words),
    )


async def _part(asked: QueryPart, at: int, tenant: str, space: Space, database: Database, asking: Asking) -> Part:
    """What is looked for, as a vector of the space."""
    kind: Kind = "picture"
    rivals: np.ndarray | None = None
    if asked.text is not None:
        kind, told = "text", asked.text
        vector = (await asking.texts(tenant, space.model, space.space, [asked.text]))[0]
        if space.bias is None:
            phrases = tags.background()
            bank = await asking.texts(tenant, space.model, space.space, [f"a photo of {one}" for one in phrases])
            rivals = finding.rivals_of(asked.text, vector, phrases, bank)
    elif asked.image is not None:
        told = "the picture"
        vector = await asking.picture(tenant, space.model, space.space, _bytes_of(asked.image, at))
    else:
        async with database.read(tenant) as session:
            if asked.moment is not None:
                there, at_s = asked.moment.video_id, asked.moment.at_s
                told = f"{there} at {at_s:g} s"
                vector = await searching.moment_near(session, tenant, space, there, at_s)
            else:
                assert asked.segment is not None
                there, number = asked.segment.video_id, asked.segment.index
                told = f"segment {number} of {there}"
                vector = await searching.segment_at(session, tenant, space, there, number)
    return Part(kind, asked.weight, told, vector, rivals, None if kind == "text" else things_of(space.space))


def _require_whole(data: SearchRequest) -> None:
    for at, part in enumerate(data.query):
        given = [name for name in ("text", "image", "moment", "segment") if getattr(part, name) is not None]
        if len(given) != 1:
            told = f"exactly one of text, image, moment and segment, not {', '.join(given) or 'none'}"
            raise InvalidRequest("a part of the query is not one thing", ((f"/query/{at}", told),))
        if part.weight == 0:
            raise InvalidRequest("a part of the query has no weight", ((f"/query/{at}/weight", "is 0"),))
    if all(part.weight < 0 for part in data.query):
        raise InvalidRequest("nothing is looked for", (("/query", "one weight at least has to be above 0"),))


def _bytes_of(image: str, at: int) -> bytes:
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("a picture is no base64", ((f"/query/{at}/image", "not base64"),)) from error


def _stamp(data: SearchRequest) -> str:
    asked: Any = msgspec.structs.replace(data, cursor=None, limit=1)
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()[:16]
