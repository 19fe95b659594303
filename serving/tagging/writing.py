"""What tags say of videos, as they are found by it: rows of videos and stretches, and their words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.report import Tag
from pipeline.spec import Label
from serving.db.statements import execute

#: The origin of what latest reports say.
REPORT: Final = ""

#: PostgreSQL's channel on which workers hear that there is something to be tagged.
TAGGING_CHANNEL: Final = "automations_tagging"

_OF_TAGS: Final = ("video", "label", "alias_of", "category", "score")
_OF_SPANS: Final = ("video", "label", "alias_of", "start_s", "end_s", "score")

#: Rows of one statement: some megabytes.
_AT_ONCE: Final = 500

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
        for first in range(0, len(rows), _AT_ONCE):
            columns = zip(*rows[first : first + _AT_ONCE], strict=True)
            await execute(
                session, statement, tenant=tenant, origin=origin, **dict(zip(names, map(list, columns), strict=True))
            )


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
