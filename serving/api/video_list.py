"""What lists of videos can be filtered and sorted by. Each filter has an index of its own (migration 0009)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar.params import Parameter
from sqlalchemy import Select, Text, cast, false, func, literal, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.record import Record
from serving.api.constraints import FROM_ZERO
from serving.api.moments import zoned
from serving.api.page import Order
from serving.db.media import Video, VideoKey, VideoTag
from serving.db.statements import execute
from serving.errors import InvalidRequest

Status = Literal["uploaded", "analyzing", "analyzed", "failed"]
Sort = Literal[
    "-created_at",
    "created_at",
    "-updated_at",
    "updated_at",
    "title",
    "-title",
    "duration_s",
    "-duration_s",
    "size_bytes",
    "-size_bytes",
]

#: What a list is sorted by -> the column, and the type of its values.
_SORTED: dict[str, tuple[Any, Any]] = {
    "created_at": (Video.created_at, datetime),
    "updated_at": (Video.updated_at, datetime),
    "title": (Video.by_title, str),
    "duration_s": (Video.by_duration, float),
    "size_bytes": (Video.size_bytes, int),
}

#: Entries of metadata, and words, that may be asked for at once.
MAX_ENTRIES, MAX_WORDS = 10, 10

#: Sorts behind every text that begins with what is before it.
_HIGHEST = "\U0010ffff"

_WORDS = text("SELECT video_words(:said)")


class VideoFilters(Record, frozen=True, kw_only=True):
    """What videos have to meet; all of it."""

    status: Status | None = None
    tag: str | None = None
    min_score: float | None = None
    label: str | None = None
    q: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    min_duration_s: float | None = None
    max_duration_s: float | None = None
    metadata: tuple[str, ...] = ()


def filters(
    status: Status | None = None,
    tag: Annotated[
        str | None, Parameter(max_length=200, required=False, description="That it has, by any of its names.")
    ] = None,
    min_score: Annotated[
        float | None,
        Parameter(ge=0, schema_extra=FROM_ZERO, le=1, required=False, description="Least probability of `tag`."),
    ] = None,
    label: Annotated[str | None, Parameter(max_length=100, required=False, description="Given by a caller.")] = None,
    q: Annotated[
        str | None,
        Parameter(max_length=200, required=False, description="Words; each begins one of its title or file name."),
    ] = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    min_duration_s: Annotated[float | None, Parameter(ge=0, schema_extra=FROM_ZERO, required=False)] = None,
    max_duration_s: Annotated[float | None, Parameter(ge=0, schema_extra=FROM_ZERO, required=False)] = None,
    metadata: Annotated[
        list[str] | None,
        Parameter(
            required=False,
            max_items=MAX_ENTRIES,
            description="`key:value`, an entry on the top level of its metadata; may be repeated. A value that reads "
            'as a JSON number, `true`, `false` or `null` is that; a text that does is written as one: `year:"2024"`.',
        ),
    ] = None,
) -> VideoFilters:
    """What a request asks for. Raises InvalidRequest."""
    if min_score is not None and tag is None:
        raise InvalidRequest("a least score without its tag", (("?min_score", "goes with ?tag"),))
    return VideoFilters(
        status=status,
        tag=tag,
        min_score=min_score,
        label=label,
        q=q,
        created_after=created_after and zoned(created_after, "created_after"),
        created_before=created_before and zoned(created_before, "created_before"),
        min_duration_s=min_duration_s,
        max_duration_s=max_duration_s,
        metadata=tuple(metadata or ()),
    )


def ordered(asked: VideoFilters, sort: Sort) -> Order:
    """How the list is sorted that this asks for."""
    column, kind = _SORTED[sort.removeprefix("-")]
    told = msgspec.json.encode(asked).decode()
    return Order(col(column), col(Video.id), kind, downwards=sort.startswith("-"), asked=told)


async def narrowed(session: AsyncSession, query: Any, tenant: str, asked: VideoFilters) -> Any:
    """The query for a tenant's videos that meet what is asked. Raises InvalidRequest."""
    query = query.where(Video.tenant_id == tenant)
    if asked.status is not None:
        query = query.where(Video.status == asked.status)
    if asked.tag is not None:
        tagged = select(col(VideoTag.video_id)).where(
            col(VideoTag.tenant_id) == tenant, col(VideoTag.label) == asked.tag
        )
        if asked.min_score is not None:
            tagged = tagged.where(col(VideoTag.score) >= asked.min_score)
        query = query.where(col(Video.id).in_(tagged))
    if asked.created_after is not None:
        query = query.where(Video.created_at > asked.created_after)
    if asked.created_before is not None:
        query = query.where(Video.created_at < asked.created_before)
    if asked.min_duration_s is not None:
        query = query.where(col(Video.by_duration) >= asked.min_duration_s)
    if asked.max_duration_s is not None:
        # One whose duration is not known is not known to be short.
        query = query.where(col(Video.by_duration) <= asked.max_duration_s, col(Video.by_duration) >= 0)
    # Taken apart as titles are, by whom takes those apart.
    words = () if asked.q is None else (await execute(session, _WORDS, said=asked.q)).scalars().all()
    if asked.q is not None and not words:
        return query.where(false())
    for keys in _keys(tenant, asked, words[:MAX_WORDS]):
        query = query.where(col(Video.id).in_(keys))
    return query


def _keys(tenant: str, asked: VideoFilters, words: Sequence[str]) -> list[Select[Any]]:
    """Ids of the videos that have each of the words, labels and entries."""
    found = []
    value = col(VideoKey.value)

    def key(kind: str, *meets: Any) -> None:
        of_tenant = select(col(VideoKey.video_id)).where(col(VideoKey.tenant_id) == tenant)
        found.append(of_tenant.where(col(VideoKey.kind) == kind, *meets))

    if asked.label is not None:
        key("label", value == asked.label)
    for word in words:
        key("word", value >= word, value < word + _HIGHEST)
    for entry in asked.metadata:
        name, colon, said = entry.partition(":")
        if not colon or len(entry) > 1000:
            raise InvalidRequest("metadata is asked for as `key:value`", (("?metadata", "no such entry"),))
        scalar = literal(msgspec.json.encode(_scalar(said)).decode())
        key("metadata", value == func.video_metadata_value(name, cast(cast(scalar, Text), JSONB)))
    return found


def _scalar(said: str) -> Any:
    """What a value means: `7` a number, `"7"` and `seven` texts."""
    try:
        value = msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeError):
        return said
    return said if isinstance(value, dict | list) else value
