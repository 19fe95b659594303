"""Candidates from the database: rows of one tenant and space that meet the filters, nearest first. Filters are part of
the query, so that none is lost to them afterwards. What is nearest is told exactly by whoever has the vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from sqlalchemy import Float, Text, and_, cast, exists, func, inspect, literal, literal_column, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased
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
        return (*await self.of_videos(session), *self.of_rows(self.model))

    async def of_videos(self, session: AsyncSession) -> tuple[Any, ...]:
        """Those that hold for all rows of a video, or for none. Raises InvalidRequest: a filter that cannot be."""
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
        return tuple(met)

    def of_rows(self, model: Any) -> tuple[Any, ...]:
        """Those of a row by itself. `model`: the table, or an alias of it."""
        where, met = self.where, []
        if where.after_s is not None:
            met.append(model.end_s > where.after_s)
        if where.before_s is not None:
            met.append(model.start_s < where.before_s)
        if where.holds is not None:
            holds = exists().where(
                col(TagSpan.tenant_id) == self.tenant,
                col(TagSpan.video_id) == model.video_id,
                col(TagSpan.label) == where.holds,
                col(TagSpan.start_s) < model.end_s,
                col(TagSpan.end_s) > model.start_s,
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
    if how.way == "none":
        return [], np.zeros((0, scope.space.dim), np.float32)
    conditions = await scope.conditions(session)
    if only:
        conditions = (*conditions, col(scope.model.video_id) == func.any(cast(list(only), ARRAY(Text))))
    found: Sequence[Any] = ()
    if how.way == "graph" and not only:
        await look_around(session, how.ef_search)
        among = _led if scope.table == "moments" else _in_graph
        found = await _sent(session, among(scope, await scope.of_videos(session), probe, wanted))
    if len(found) < wanted:
        # Also where filters left too little near the query for the graph: what matches is found all the same.
        found = await _sent(session, _nearest(scope.model, _distance(scope, scope.model, probe), conditions, wanted))
    return [Row(*row[:-1]) for row in found], matrix([row.sent for row in found], scope.space.dim)


async def nearest_of_each(
    session: AsyncSession, scope: Scope, probe: np.ndarray, stretches: Mapping[str, tuple[float, float]]
) -> tuple[list[Row], np.ndarray]:
    """Of each of some videos the row nearest to a vector: with their vectors, float32 [N, D].

    Args:
        probe: float32 [D], of length 1.
        stretches: video -> from when to when it is looked at, seconds; from below 0: all of it.
    """
    model = scope.model
    starts, ends = zip(*stretches.values(), strict=True)
    videos = (cast(list(stretches), ARRAY(Text)), cast(list(starts), ARRAY(Float)), cast(list(ends), ARRAY(Float)))
    told = func.unnest(*videos).table_valued("video_id", "start_s", "end_s", name="told").render_derived()
    there = or_(told.c.start_s < 0, and_(col(model.start_s) < told.c.end_s, col(model.end_s) > told.c.start_s))
    distance = _distance(scope, model, probe)
    query = (
        select(*_columns(model), func.halfvec_send(model.vector).label("sent"))
        .join_from(model, told, and_(col(model.video_id) == told.c.video_id, there))
        .where(*await scope.conditions(session))
        .distinct(col(model.video_id))
        .order_by(col(model.video_id), distance, "position")
    )
    found = (await session.execute(query)).all()
    return [Row(*row[:-1]) for row in found], matrix([row.sent for row in found], scope.space.dim)


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


def _in_graph(scope: Scope, of_videos: Sequence[Any], probe: np.ndarray, wanted: int) -> Any:
    """Rows by the graph of all of them, in the order that they lie in it: the nearest first, more or less."""
    distance = _distance(scope, scope.model, probe, as_in_graph=True)
    return _some(scope.model, (*of_videos, *scope.of_rows(scope.model)), (distance,), wanted)


def _led(scope: Scope, of_videos: Sequence[Any], probe: np.ndarray, wanted: int) -> Any:
    """Moments by the graph of those that lead others: of what the nearest of these lead, the nearest."""
    lead, led = scope.model, aliased(scope.model)

    def theirs(moment: Any, leader: Any, until: Any) -> tuple[Any, ...]:
        within = (moment.position >= leader.position, moment.position < until)
        space = literal(scope.space.space, Text, literal_execute=True)
        same = (moment.tenant_id == scope.tenant, moment.space == space, moment.video_id == leader.video_id)
        return (*same, *within, *scope.of_rows(moment))

    until = col(lead.position) + col(lead.alike)
    met = [*of_videos, col(lead.alike) > 0]
    if scope.of_rows(lead):
        # One that does not meet the filters may lead one that does.
        one = aliased(scope.model)
        met.append(exists().where(*theirs(one, lead, until)))
    leads = (
        # The end as a column: row-level security lets no sum, which might fail, be part of how an index is asked.
        select(col(lead.video_id), col(lead.position), until.label("until"))
        .where(*met)
        .order_by(_distance(scope, lead, probe, as_in_graph=True))
        .limit(wanted)
        .subquery()
    )
    order = (_distance(scope, led, probe), led.video_id, led.position)
    return _some(led, theirs(led, leads.c, leads.c.until), order, wanted)


def _nearest(model: Any, distance: Any, conditions: Sequence[Any], wanted: int) -> Any:
    """Rows by looking at all that meet the conditions; of equal ones always the same."""
    return _some(model, conditions, (distance, "video_id", "position"), wanted)


def _some(model: Any, conditions: Sequence[Any], order: Sequence[Any], wanted: int) -> Any:
    return select(*_columns(model), col(model.vector)).where(*conditions).order_by(*order).limit(wanted).subquery()


async def _sent(session: AsyncSession, near: Any) -> Sequence[Any]:
    """Rows with their vectors, written out of those that are near alone."""
    *plain, vector = near.c
    return (await session.execute(select(*plain, func.halfvec_send(vector).label("sent")))).all()


def _distance(scope: Scope, model: Any, probe: np.ndarray, *, as_in_graph: bool = False) -> Any:
    """To the row's vector. `as_in_graph`: written as the graph is, or it would not be used."""
    dim = scope.space.dim
    stored = cast(col(model.vector), Halfvec(dim)) if as_in_graph else col(model.vector)
    # Read once, and not for each row.
    there = select(cast(cast(vector_literal(probe), Text), Halfvec(dim))).scalar_subquery()
    return stored.op("<#>", return_type=Float())(there)


def _columns(model: Any) -> tuple[Any, ...]:
    kind = inspect(model).mapper.class_
    moments = kind is SampledMoment
    return (
        col(model.video_id),
        literal_column("0").label("position") if kind is VideoVector else col(model.position),
        col(model.shot) if moments else literal_column("-1").label("shot"),
        (col(model.pts_s) if moments else col(model.thumbnail_s)).label("pts_s"),
        col(model.start_s),
        col(model.end_s),
    )
