"""What was erased: that it was, and nothing of what was in it."""

from datetime import datetime
from typing import Annotated, Literal, cast

from litestar import get
from litestar.params import Parameter
from sqlmodel import select

from pipeline.record import Record
from serving.api.access import Principal, needs
from serving.api.page import DEFAULT_LIMIT, MAX_CURSOR, MAX_LIMIT, Order, Page, page_of
from serving.db.database import Database
from serving.db.rights import Erasure


class ErasureView(Record, frozen=True, kw_only=True):
    """That a video was erased."""

    id: str
    video_id: str
    reason: Literal["request", "retention"]
    """Whether somebody deleted it, or a rule of retention did."""
    rule_id: str | None
    """Which rule."""
    counts: dict[str, int]
    """What there was of it: kind -> number."""
    at: datetime
    """From when on nobody could read it."""
    finished_at: datetime | None
    """When its sealed objects were gone from the store, too; null: they are about to be."""


@get(
    "/v1/erasures",
    operation_id="list_erasures",
    **needs("rights:manage"),
    tags=["rights"],
    summary="What was erased, latest first",
)
async def erasures(
    principal: Principal,
    database: Database,
    video_id: Annotated[str | None, Parameter(max_length=64, required=False, description="Of this video.")] = None,
    limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Parameter(max_length=MAX_CURSOR, required=False)] = None,
) -> Page[ErasureView]:
    """Records of erasures. They hold nothing that was in a video, and stay."""
    query = select(Erasure).where(Erasure.tenant_id == principal.tenant_id)
    if video_id is not None:
        query = query.where(Erasure.video_id == video_id)
    order = Order(column=Erasure.at, id=Erasure.id, kind=datetime, downwards=True, asked=f"{video_id}")
    async with database.read(principal.tenant_id) as session:
        found = (await session.exec(order.page(query, limit, cursor))).all()
    return page_of(found, limit, _view, order.place)


def _view(row: Erasure) -> ErasureView:
    return ErasureView(
        id=row.id,
        video_id=row.video_id,
        reason=cast(Literal["request", "retention"], row.reason),
        rule_id=row.rule_id,
        counts=row.counts,
        at=row.at,
        finished_at=row.finished_at,
    )
