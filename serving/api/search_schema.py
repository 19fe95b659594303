"""What a search is asked with, and what it answers."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from pipeline.record import Record
from serving.api.moments import zoned
from serving.api.page import DEFAULT_LIMIT, MAX_CURSOR, MAX_LIMIT
from serving.api.video_list import MAX_ENTRIES, Status, VideoFilters
from serving.errors import InvalidRequest
from serving.search.retrieving import Where
from serving.search.searching import GroupBy

#: Least score of a result, where nobody says: below it, more were wrong than right on libraries whose truth is known.
MIN_SCORE = 0.7

#: Things that may be looked for at once.
MAX_PARTS = 10

VideoName = Annotated[str, Meta(pattern=r"^vid_[0-9A-Z]{26}$")]
Weight = Annotated[float, Meta(ge=-10, le=10)]
Seconds = Annotated[float, Meta(ge=0)]


class MomentOf(Record, frozen=True, kw_only=True):
    """A frame of a video."""

    video_id: VideoName
    at_s: Seconds
    """The sampled frame nearest to this is taken."""


class SegmentOf(Record, frozen=True, kw_only=True):
    """A key segment of a video."""

    video_id: VideoName
    index: Annotated[int, Meta(ge=0, le=100_000)]
    """Its place in `GET /v1/videos/{id}/segments`, from 0 on."""


class QueryPart(Record, frozen=True, kw_only=True):
    """One thing that is looked for: exactly one of `text`, `image`, `moment` and `segment`."""

    text: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    image: Annotated[str, Meta(min_length=1, max_length=4_000_000)] | None = None
    """A JPEG, PNG or WebP file in base64."""
    moment: MomentOf | None = None
    segment: SegmentOf | None = None
    weight: Weight = 1.0
    """Beside other parts. Below 0: what results are not to show."""


class SearchFilters(Record, frozen=True, kw_only=True):
    """What results have to meet; all of it. The names are those of `GET /v1/videos`, and mean the same."""

    video_ids: Annotated[tuple[VideoName, ...], Meta(max_length=1000)] | None = None
    holds: Annotated[str, Meta(max_length=200)] | None = None
    """A label of a report that holds at the result itself, not only somewhere in its video."""
    after_s: Seconds | None = None
    """Seconds on each video's time line: results that are not over by then."""
    before_s: Seconds | None = None
    """Likewise: that have begun by then."""
    status: Status | None = None
    tag: Annotated[str, Meta(max_length=200)] | None = None
    min_tag_score: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Least probability of `tag`."""
    label: Annotated[str, Meta(max_length=100)] | None = None
    q: Annotated[str, Meta(max_length=200)] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    min_duration_s: Seconds | None = None
    max_duration_s: Seconds | None = None
    metadata: Annotated[tuple[Annotated[str, Meta(max_length=1000)], ...], Meta(max_length=MAX_ENTRIES)] = ()


class SearchRequest(Record, frozen=True, kw_only=True):
    """What is looked for, and where."""

    query: Annotated[tuple[QueryPart, ...], Meta(min_length=1, max_length=MAX_PARTS)]
    """One at least has a weight above 0."""
    group_by: GroupBy = "moments"
    """What results are: `moments`, one for each shot at most; key `segments`; or `videos`, each by its best moment."""
    where: SearchFilters = SearchFilters()
    words: bool = True
    """Whether what is said of videos (titles, tags, transcripts) counts beside how they look."""
    min_score: Annotated[float, Meta(ge=0, le=1)] = MIN_SCORE
    space: Annotated[str, Meta(max_length=64)] | None = None
    """That of a report's `models`; left out: the one that searches are answered from."""
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Meta(max_length=MAX_CURSOR)] | None = None
    """`next_cursor` of the page before; everything else as it was then."""


class Reason(Record, frozen=True, kw_only=True):
    """Why something is a result."""

    signal: Literal["look", "words"]
    """How it looks, or what is said of it."""
    about: str
    """Of a look, what it was compared with; of words, where they are said: `title`, `tag` or `transcript`."""
    score: float
    """Of a look, how probably it shows that; of words, how much of the query's words are said, by their rarity."""
    weight: float = 1.0
    """Of the part of the query; below 0: what was not wanted."""
    at_s: float | None = None
    """The sampled frame that was looked at, seconds; of words, from when on they are said, where that is known."""
    words: tuple[str, ...] = ()
    """Of the query that are said, in their stems."""
    both: str | None = None
    """Of a picture, a moment or a segment that was looked for: what its model calls the thing in both. Models without
    a list of what they tell apart, which is all but the bundled one, say nothing."""


class SearchResult(Record, frozen=True, kw_only=True):
    """Something that was found."""

    video_id: str
    title: str
    start_s: float
    end_s: float
    thumbnail_s: float
    """The frame that shows it, seconds."""
    score: float
    """How probably it is what was looked for: of results with 0.9, nine of ten are, whatever the query."""
    segment: int | None
    """Of segments, the place among its video's."""
    tags: tuple[str, ...]
    """Labels that hold in it, most probable first."""
    reasons: tuple[Reason, ...]


class Rejected(Record, frozen=True, kw_only=True):
    """The best of what `min_score` keeps out."""

    video_id: str
    start_s: float
    end_s: float
    score: float


class SearchPage(Record, frozen=True, kw_only=True):
    """Some of what was found, best first."""

    data: tuple[SearchResult, ...]
    """Empty where nothing is probable enough: then it is most likely not there."""
    next_cursor: str | None = None
    """For the next page; none after the last."""
    best_rejected: Rejected | None = None
    """Tells a search that found nothing how near it came."""
    space: str | None = None
    """In which all results were compared; None while no video was analysed."""
    way: str = ""
    """How candidates were looked for."""


def where_of(asked: SearchFilters) -> Where:
    """The filters, as searches know them. Raises InvalidRequest."""
    if asked.min_tag_score is not None and asked.tag is None:
        raise InvalidRequest("a least score without its tag", (("/where/min_tag_score", "goes with tag"),))
    if None not in (asked.after_s, asked.before_s) and asked.after_s >= asked.before_s:  # type: ignore[operator]
        raise InvalidRequest("no moment is in that stretch", (("/where/after_s", "not before before_s"),))
    videos = VideoFilters(
        status=asked.status,
        tag=asked.tag,
        min_score=asked.min_tag_score,
        label=asked.label,
        q=asked.q,
        created_after=asked.created_after and zoned(asked.created_after, "created_after"),
        created_before=asked.created_before and zoned(asked.created_before, "created_before"),
        min_duration_s=asked.min_duration_s,
        max_duration_s=asked.max_duration_s,
        metadata=asked.metadata,
    )
    return Where(
        videos=videos,
        video_ids=asked.video_ids,
        holds=asked.holds,
        after_s=asked.after_s,
        before_s=asked.before_s,
    )
