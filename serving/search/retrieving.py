"""Candidates from the database: rows of one tenant and space that meet the filters, nearest first. Filters are part of
the query, so that none is lost to them afterwards. What is nearest is told exactly by whoever has the vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from sqlalchemy import Float, Text, and_, cast, exists, func, literal, literal_column, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.record import Record
from serving.api.video_list import VideoFilters, narrowed
from serving.db.media import Video
from serving.db.search import SampledMoment, SegmentVector, Space, TagSpan, VideoVector
from serving.db.vectors import Halfvec, matrix
from serving.db.vectors import literal as vector_literal
from serving.search.indexes import index_name, is_whole, look_around
from serving.search.plan import EXACT_ROWS, Plan, plan

Table = Literal["moments", "segments", "videos"]

TABLES: Final[dict[Table, Any]] = {"moments": SampledMoment, "segments": SegmentVector, "videos": VideoVector}


class Where(Record, frozen=True, kw_only=True):
    """What moments have to meet; all of it."""

    videos: VideoFilters = VideoFilters()
    video_ids: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    """Videos of which nothing is looked at."""
    holds: str | None = None
    """A label that holds at the moment, not only somewhere in its video."""
    after_s: float | None = None
    before_s: float | None = None
    """Seconds on a video's time line: moments that are not over before `after_s`, and have begun by `before_s`."""

    @property
    def whole(self) -> bool:
        """Whether nothing is filtered."""
        return self == Where()


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate."""

    video_id: str
    position: int
    shot: int
    """-1 of what is no moment."""
    pts_s: float
    """Of the frame that stands for it."""
    start_s: float
    end_s: float

    @property
    def key(self) -> tuple[str, int]:
        """Names it within its table and space."""
        return self.video_id, self.position


@dataclass(frozen=True)
class Scope:
    """Where is looked."""

    tenant: str
    space: Space
    table: Table
    where: Where

    @cached_property
    def model(self) -> Any:
        """The table's rows."""
        return TABLES[self.table]

    async def conditions(self, session: AsyncSession) -> tuple[Any, ...]:
        """Of the rows that are looked at. Raises InvalidRequest: a filter that cannot be."""
        model, where = self.model, self.where
        # In the statement itself, so that it is known which graph it may use.
        space = literal(self.space.space, Text, literal_execute=True)
        met = [col(model.tenant_id) == self.tenant, col(model.space) == space]
        if where.videos != VideoFilters():
            videos = await narrowed(session, select(col(Video.id)), self.tenant, where.videos)
            met.append(col(model.video_id).in_(videos))
        if where.video_ids is not None:
            met.append(col(model.video_id) == func.any(cast(list(where.video_ids), ARRAY(Text))))
        if where.without:
            met.append(col(model.video_id) != func.all(cast(list(where.without), ARRAY(Text))))
        if where.after_s is not None:
            met.append(col(model.end_s) > where.after_s)
        if where.before_s is not None:
            met.append(col(model.start_s) < where.before_s)
        if where.holds is not None:
            holds = exists().where(
                col(TagSpan.tenant_id) == self.tenant,
                col(TagSpan.video_id) == col(model.video_id),
                col(TagSpan.label) == where.holds,
                col(TagSpan.start_s) < col(model.end_s),
                col(TagSpan.end_s) > col(model.start_s),
            )
            met.append(holds)
        return tuple(met)


async def counted(session: AsyncSession, scope: Scope) -> int:
    """Rows that meet the filters, counted no further than it matters."""
    conditions = await scope.conditions(session)
    some = select(true()).select_from(scope.model).where(*conditions).limit(EXACT_ROWS + 1).subquery()
    return (await session.execute(select(func.count()).select_from(some))).scalar_one()


async def planned(session: AsyncSession, scope: Scope, wanted: int, rows: int | None = None) -> Plan:
    """How to look for `wanted` candidates. `rows`: see `counted`, where that is known."""
    matching = await counted(session, scope) if rows is None else rows
    indexed = matching > EXACT_ROWS and await has_graph(session, scope)
    return plan(matching, indexed, wanted)


async def has_graph(session: AsyncSession, scope: Scope) -> bool:
    """Whether the HNSW of the space is there and whole."""
    return await is_whole(session, index_name(scope.model.__tablename__, scope.space.space))


async def nearest(
    session: AsyncSession, scope: Scope, how: Plan, probe: np.ndarray, wanted: int, *, only: Sequence[str] = ()
) -> tuple[list[Row], np.ndarray]:
    """The `wanted` rows nearest to a vector, or nearly so: with their vectors, float32 [N, D].

    Args:
        probe: float32 [D], of length 1.
        only: looked at are these videos alone; empty: all.
    """
    conditions = await scope.conditions(session)
    model, dim = scope.model, scope.space.dim
    if only:
        conditions = (*conditions, col(model.video_id) == func.any(cast(list(only), ARRAY(Text))))
        how = Plan("exact")
    if how.way == "none":
        return [], np.zeros((0, dim), np.float32)
    found = await _asked(session, model, dim, conditions, how, probe, wanted)
    if how.way == "graph" and len(found) < wanted:
        # Filters left too little near the query for the graph: what matches is found all the same.
        found = await _asked(session, model, dim, conditions, Plan("exact"), probe, wanted)
    vectors = matrix([row.sent for row in found], dim)
    return [Row(*row[:-1]) for row in found], vectors


async def nearest_of_each(
    session: AsyncSession, scope: Scope, probe: np.ndarray, stretches: Mapping[str, tuple[float, float]]
) -> tuple[list[Row], np.ndarray]:
    """Of each of some videos the row nearest to a vector: with their vectors, float32 [N, D].

    Args:
        probe: float32 [D], of length 1.
        stretches: video -> from when to when it is looked at, seconds; from below 0: all of it.
    """
    model, dim = scope.model, scope.space.dim
    starts, ends = zip(*stretches.values(), strict=True)
    videos = (cast(list(stretches), ARRAY(Text)), cast(list(starts), ARRAY(Float)), cast(list(ends), ARRAY(Float)))
    told = func.unnest(*videos).table_valued("video_id", "start_s", "end_s", name="told").render_derived()
    there = or_(told.c.start_s < 0, and_(col(model.start_s) < told.c.end_s, col(model.end_s) > told.c.start_s))
    distance = _distance(col(model.vector), dim, probe)
    query = (
        select(*_columns(model), func.halfvec_send(model.vector).label("sent"))
        .join_from(model, told, and_(col(model.video_id) == told.c.video_id, there))
        .where(*await scope.conditions(session))
        .distinct(col(model.video_id))
        .order_by(col(model.video_id), distance, "position")
    )
    found = (await session.execute(query)).all()
    return [Row(*row[:-1]) for row in found], matrix([row.sent for row in found], dim)


async def rows_of(session: AsyncSession, scope: Scope, *conditions: Any) -> tuple[list[Row], np.ndarray]:
    """Rows by what is known of them, in order; filters are not asked."""
    model = scope.model
    query = select(*_columns(model), func.halfvec_send(model.vector).label("sent")).where(
        col(model.tenant_id) == scope.tenant, col(model.space) == scope.space.space, *conditions
    )
    found = (await session.execute(query.order_by("video_id", "position"))).all()
    return [Row(*row[:-1]) for row in found], matrix([row.sent for row in found], scope.space.dim)


async def sample(session: AsyncSession, tenant: str, space: Space, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Moments of the library, drawn once and for all: float32 [M, D], and the videos that they are of, [M]."""
    query = (
        select(col(SampledMoment.video_id), func.halfvec_send(SampledMoment.vector))
        .where(col(SampledMoment.tenant_id) == tenant, col(SampledMoment.space) == space.space)
        .order_by(col(SampledMoment.lot))
        .limit(most)
    )
    rows = (await session.execute(query)).all()
    return matrix([row[1] for row in rows], space.dim), np.array([row[0] for row in rows])


async def drawn(session: AsyncSession, scope: Scope, most: int) -> tuple[list[Row], np.ndarray, np.ndarray]:
    """Segments or videos that meet the filters, of many always the same ones, drawn by lot: with their vectors, float32
    [N, D], and scores, float64 [N]."""
    model = scope.model
    query = select(*_columns(model), col(model.score).label("score"), func.halfvec_send(model.vector).label("sent"))
    query = query.where(*await scope.conditions(session)).order_by(col(model.lot)).limit(most)
    found = (await session.execute(query)).all()
    scores = np.array([row.score for row in found], np.float64)
    return [Row(*row[:-2]) for row in found], matrix([row.sent for row in found], scope.space.dim), scores


async def _asked(
    session: AsyncSession, model: Any, dim: int, conditions: Sequence[Any], how: Plan, probe: np.ndarray, wanted: int
) -> Sequence[Any]:
    stored: Any = col(model.vector)
    if how.way == "graph":
        await look_around(session, how.ef_search)
        # Written as the graph is.
        stored = cast(stored, Halfvec(dim))
    distance = _distance(stored, dim, probe)
    # Of equal ones always the same; a graph gives them as they lie in it.
    order = (distance,) if how.way == "graph" else (distance, "video_id", "position")
    near = select(*_columns(model), col(model.vector)).where(*conditions).order_by(*order).limit(wanted).subquery()
    # Of those that are near alone, the vectors are written out.
    *plain, vector = near.c
    return (await session.execute(select(*plain, func.halfvec_send(vector).label("sent")))).all()


def _distance(stored: Any, dim: int, probe: np.ndarray) -> Any:
    # Read once, and not for each row.
    there = select(cast(cast(vector_literal(probe), Text), Halfvec(dim))).scalar_subquery()
    return stored.op("<#>", return_type=Float())(there)


def _columns(model: Any) -> tuple[Any, ...]:
    moments = model is SampledMoment
    return (
        col(model.video_id),
        literal_column("0").label("position") if model is VideoVector else col(model.position),
        col(model.shot) if moments else literal_column("-1").label("shot"),
        (col(model.pts_s) if moments else col(model.thumbnail_s)).label("pts_s"),
        col(model.start_s),
        col(model.end_s),
    )
