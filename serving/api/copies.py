"""Copies: which videos share stretches, as far as they were looked at."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from litestar import get
from litestar.params import Parameter
from sqlalchemy import or_, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.record import Record
from serving.api.access import Principal, needs
from serving.api.page import DEFAULT_LIMIT, MAX_CURSOR, MAX_LIMIT, Order, page_of
from serving.api.titles import titles_of
from serving.api.videos import VideoId, find
from serving.copies.pairs import Relation, Stretch, relation
from serving.db.copies import VideoCopy, VideoLooks
from serving.db.database import Database
from serving.db.documents import Document
from serving.db.statements import execute

State = Literal["done", "pending", "failed", "not_looked_at"]

#: What pairs are sorted by -> the column, and the type of its values.
_SORTED: Final[dict[str, tuple[Any, Any]]] = {
    "moments": (VideoCopy.moments, float),
    "found_at": (VideoCopy.found_at, datetime),
}

_STRETCHES: Final[Document[tuple[Stretch, ...]]] = Document(tuple[Stretch, ...])

#: Videos are counted no further than this.
_COUNTED: Final = 10_000

_LEFT = text(
    """
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM video_looks WHERE tenant_id = :tenant AND state = 'due' LIMIT :most) seen) AS pending,
        (SELECT count(*) FROM (
            SELECT FROM video_looks WHERE tenant_id = :tenant AND state = 'failed' LIMIT :most) seen) AS failed,
        (SELECT count(*) FROM (
            SELECT FROM video v WHERE v.tenant_id = :tenant AND EXISTS (SELECT FROM report r WHERE r.video_id = v.id)
                AND NOT EXISTS (SELECT FROM video_looks l WHERE l.video_id = v.id) LIMIT :most) seen) AS not_looked_at
    """
)


class SharedVideo(Record, frozen=True, kw_only=True):
    """One of two videos that share stretches."""

    video_id: str
    title: str
    share: float
    """How much of it the other one shows, 0 to 1."""


class CopyView(Record, frozen=True, kw_only=True):
    """Two videos that share stretches."""

    id: str
    first: SharedVideo
    second: SharedVideo
    relation: Relation
    """Which is contained in which, but for a fifth; `overlap`: both have more besides."""
    likeness: float
    """How much alike both are along what they share, 0 to 1."""
    moments: float
    """How many different pictures agree, of all stretches: what it is evidenced by."""
    stretches: tuple[Stretch, ...]
    """The best first."""
    found_at: datetime


class VideoCopies(Record, frozen=True, kw_only=True):
    """Videos that share stretches with one, most shared moments first."""

    state: State
    """`done`: all of the library was looked at since its last report. `pending`: that is about to be done. `failed`: it
    could not be done. `not_looked_at`: nobody knows what it looks like, for it was not analysed, or before there was
    such a search; analyse it again."""
    data: tuple[CopyView, ...]
    """`first` is the video that was asked about. While it is not `done`, these are those that are known."""
    next_cursor: str | None = None
    """For the next page; none after the last."""


class LibraryCopies(Record, frozen=True, kw_only=True):
    """Pairs of videos that share stretches."""

    data: tuple[CopyView, ...]
    next_cursor: str | None = None
    """For the next page; none after the last."""
    pending: int
    """Videos whose copies are still to be looked for."""
    failed: int
    """Videos whose copies could not be looked for."""
    not_looked_at: int
    """Videos that were analysed before there was such a search: of them nothing is known until they are analysed
    again. None of the three counts beyond 10,000."""


@get(
    "/v1/videos/{video_id:str}/copies",
    operation_id="list_video_copies",
    **needs("videos:read"),
    tags=["copies"],
    summary="Its copies",
)
async def video_copies(
    principal: Principal,
    database: Database,
    video_id: VideoId,
    limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Parameter(max_length=MAX_CURSOR, required=False)] = None,
) -> VideoCopies:
    """Videos of the library that share stretches with this one, however they were cut, scaled, cropped, framed or sped
    up a little, with the ranges of both. Workers look for them after each analysis; `state` says whether they did."""
    tenant, order = principal.tenant_id, _order("moments", video_id)
    query = order.page(select(VideoCopy), limit, cursor).where(
        VideoCopy.tenant_id == tenant, or_(col(VideoCopy.first_id) == video_id, col(VideoCopy.second_id) == video_id)
    )
    async with database.read(tenant) as session:
        await find(session, tenant, video_id)
        state = (
            await session.exec(
                select(VideoLooks.state).where(VideoLooks.tenant_id == tenant, VideoLooks.video_id == video_id)
            )
        ).one_or_none()
        rows = (await session.exec(query)).all()
        titles = await _titles(session, tenant, rows)
    page = page_of(rows, limit, lambda row: _view(row, titles, row.second_id == video_id), order.place)
    states: Mapping[str | None, State] = {None: "not_looked_at", "due": "pending", "failed": "failed"}
    return VideoCopies(state=states.get(state, "done"), data=page.data, next_cursor=page.next_cursor)


@get("/v1/copies", operation_id="list_copies", **needs("videos:read"), tags=["copies"], summary="Copies in the library")
async def library_copies(
    principal: Principal,
    database: Database,
    sort: Annotated[
        Literal["-moments", "-found_at"],
        Parameter(description="`-moments`: the best evidenced first; `-found_at`: the latest."),
    ] = "-moments",
    limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Parameter(max_length=MAX_CURSOR, required=False)] = None,
) -> LibraryCopies:
    """All pairs of videos of the library that share stretches, and how many videos were not looked at yet."""
    tenant, order = principal.tenant_id, _order(sort.removeprefix("-"), "")
    query = order.page(select(VideoCopy), limit, cursor).where(VideoCopy.tenant_id == tenant)
    async with database.read(tenant) as session:
        rows = (await session.exec(query)).all()
        titles = await _titles(session, tenant, rows)
        left = (await execute(session, _LEFT, tenant=tenant, most=_COUNTED)).one()
    page = page_of(rows, limit, lambda row: _view(row, titles, turned=False), order.place)
    return LibraryCopies(
        data=page.data,
        next_cursor=page.next_cursor,
        pending=left.pending,
        failed=left.failed,
        not_looked_at=left.not_looked_at,
    )


def _order(by: str, asked: str) -> Order:
    column, kind = _SORTED[by]
    return Order(col(column), col(VideoCopy.id), kind, downwards=True, asked=asked)


async def _titles(session: AsyncSession, tenant: str, rows: Any) -> Mapping[str, str]:
    return await titles_of(session, tenant, [name for row in rows for name in (row.first_id, row.second_id)])


def _view(row: VideoCopy, titles: Mapping[str, str], turned: bool) -> CopyView:
    """A pair as callers see it; `turned`: from the other side."""
    stretches = _STRETCHES.read(row.stretches)
    first = SharedVideo(video_id=row.first_id, title=titles.get(row.first_id, ""), share=row.first_share)
    second = SharedVideo(video_id=row.second_id, title=titles.get(row.second_id, ""), share=row.second_share)
    if turned:
        first, second, stretches = second, first, tuple(one.turned for one in stretches)
    return CopyView(
        id=row.id,
        first=first,
        second=second,
        relation=relation(first.share, second.share),
        likeness=row.likeness,
        moments=row.moments,
        stretches=stretches,
        found_at=row.found_at,
    )
