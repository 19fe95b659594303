"""What recommendations are asked with, and what is answered."""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.diversity import Near
from pipeline.record import Record
from serving.api.page import MAX_LIMIT
from serving.api.search_schema import MomentOf, SearchFilters, SegmentOf, VideoName
from serving.errors import InvalidRequest
from serving.recommending.items import Item, Known
from serving.recommending.recommending import Answered, Hidden, Picked, Suggested
from serving.search.retrieving import Row

#: Recommendations, where nobody says how many.
FEW = 10

#: Items that may be liked, and disliked.
MAX_ITEMS = 100

#: Of variety for relevance, where nobody says.
DIVERSITY = 0.3


class ItemOf(Record, frozen=True, kw_only=True):
    """Something that was liked or disliked: exactly one of `video_id`, `segment` and `moment`."""

    video_id: VideoName | None = None
    """A video as a whole."""
    segment: SegmentOf | None = None
    moment: MomentOf | None = None


Items = Annotated[tuple[ItemOf, ...], Meta(max_length=MAX_ITEMS)]


class RecommendationRequest(Record, frozen=True, kw_only=True):
    """What is known of somebody's taste; nothing has to be."""

    liked: Items = ()
    """Each speaks for itself: several interests are all served. Empty: a start, which shows what there is."""
    disliked: Items = ()
    """What is about as near to one of these as to something liked loses."""
    kind: Picked = "videos"
    """What is recommended."""
    diversity: Annotated[float, Meta(ge=0, le=1)] = DIVERSITY
    """0: the most relevant, however alike they are; 1: the most different of what is near. Of a start it changes
    nothing: that shows as much as it can."""
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = FEW
    where: SearchFilters = SearchFilters()
    """As in `POST /v1/search`; of videos, `after_s`, `before_s` and `holds` are about any part of them."""
    exclude: Annotated[tuple[VideoName, ...], Meta(max_length=1000)] = ()
    """Videos that are not recommended, nor segments of them: those that were seen already, say."""


class NamedItem(Record, frozen=True, kw_only=True):
    """An item, as a reason names it."""

    video_id: str
    segment: int | None = None
    """Of a segment, its place among those of its video."""
    at_s: float
    """The frame that stands for it, seconds."""


class Because(Record, frozen=True, kw_only=True):
    """Why something is recommended, or is no higher up."""

    signal: Literal["liked", "disliked", "picked_before", "represents"]
    """`liked`: the nearest of what was liked. `disliked`: one of what was disliked is about as near, which cost it
    something. `picked_before`: one that was picked before it is like it, which cost it something by `diversity`.
    `represents`: of a start, a share of the library is nearer to it than to the others."""
    item: NamedItem | None
    similarity: float
    """Cosine in the space; of `represents`, that share, 0 to 1."""


class StandIn(Record, frozen=True, kw_only=True):
    """Something that is not recommended besides, since another item shows the same."""

    item: NamedItem
    similarity: float
    """Cosine in the space; 1 of a known copy."""
    copy: bool
    """Whether it is known as a copy (`GET /v1/copies`); else it only looks the same."""


class LeftOut(StandIn, frozen=True, kw_only=True):
    """Likewise, since something that was named shows the same."""

    like: NamedItem
    """What was liked or disliked."""


class Recommendation(Record, frozen=True, kw_only=True):
    """Something that is recommended."""

    video_id: str
    title: str
    segment: int | None
    """Of segments, the place among its video's."""
    start_s: float
    end_s: float
    thumbnail_s: float
    """The frame that stands for it, seconds."""
    score: float
    """What it was picked by: relevance less likeness to what was picked before, by `diversity`."""
    relevance: float
    """How near it is to what was liked; of a start, how good it is."""
    reasons: tuple[Because, ...]
    stands_for: tuple[StandIn, ...]
    """Copies and near-duplicates of it, which are not recommended besides."""


class Recommendations(Record, frozen=True, kw_only=True):
    """What is recommended, in the order of picking."""

    data: tuple[Recommendation, ...]
    left_out: tuple[LeftOut, ...] = ()
    """What shows the same as something that was named."""
    space: str | None = None
    """In which all was compared; None while no video was analysed."""
    way: str = ""
    """How candidates were looked for."""


def items_of(asked: tuple[ItemOf, ...], pointer: str) -> tuple[Item, ...]:
    """The items, as they are looked up. Raises InvalidRequest: one is not one thing."""
    found = []
    for at, one in enumerate(asked):
        given = [name for name in ("video_id", "segment", "moment") if getattr(one, name) is not None]
        if len(given) != 1:
            told = f"exactly one of video_id, segment and moment, not {', '.join(given) or 'none'}"
            raise InvalidRequest("an item is not one thing", ((f"{pointer}/{at}", told),))
        if one.segment is not None:
            found.append(Item("segment", one.segment.video_id, number=one.segment.index))
        elif one.moment is not None:
            found.append(Item("moment", one.moment.video_id, at_s=one.moment.at_s))
        else:
            found.append(Item("video", str(one.video_id)))
    return tuple(found)


def recommendation(one: Suggested, answered: Answered, title: str, kind: Picked) -> Recommendation:
    """A pick as callers see it."""
    return Recommendation(
        video_id=one.row.video_id,
        title=title,
        segment=_segment(one.row, kind),
        start_s=one.row.start_s,
        end_s=one.row.end_s,
        thumbnail_s=one.row.pts_s,
        score=one.pick.score,
        relevance=round(one.pick.relevance, 6),
        reasons=tuple(_reasons(one, answered, kind)),
        stands_for=tuple(
            StandIn(item=_of_row(other.row, kind), similarity=other.similarity, copy=other.copy)
            for other in one.stands_for
        ),
    )


def left_out(one: Hidden, like: str, answered: Answered, kind: Picked) -> LeftOut:
    """A candidate that shows the same as something that was named."""
    return LeftOut(
        item=_of_row(one.row, kind),
        similarity=one.similarity,
        copy=one.copy,
        like=_named(answered.named[like], kind),
    )


def _reasons(one: Suggested, answered: Answered, kind: Picked) -> list[Because]:
    pick = one.pick
    nears: list[tuple[Literal["liked", "disliked", "picked_before"], Near | None]] = [
        ("liked", pick.because_of),
        ("disliked", pick.despite),
        ("picked_before", pick.like if answered.spread else None),
    ]
    found = [
        Because(signal=signal, item=_named(answered.named[near.item], kind), similarity=near.similarity)
        for signal, near in nears
        if near is not None
    ]
    if pick.because_of is None:
        found.append(Because(signal="represents", item=None, similarity=round(pick.represents, 6)))
    return found


def _named(one: Known | Row, kind: Picked) -> NamedItem:
    if isinstance(one, Row):
        return _of_row(one, kind)
    segment = one.item.number if one.item.kind == "segment" else None
    return NamedItem(video_id=one.row.video_id, segment=segment, at_s=one.row.pts_s)


def _of_row(row: Row, kind: Picked) -> NamedItem:
    return NamedItem(video_id=row.video_id, segment=_segment(row, kind), at_s=row.pts_s)


def _segment(row: Row, kind: Picked) -> int | None:
    return row.position if kind == "segments" else None
