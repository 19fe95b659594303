"""What is said of videos: titles, tags and transcripts, by the words of a query."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.statements import execute

#: Words of a query that count, and rows of one that are read: what is said everywhere tells nothing.
MAX_WORDS, _MAX_ROWS = 16, 5000

#: Videos that are looked at besides for what is said of them.
MAX_VIDEOS: Final = 50

_WORDS = text("SELECT search_words(:said)")
_SAID = text(
    """
    SELECT found.word, found.video_id, found.source, found.start_s, found.end_s
    FROM unnest(cast(:words AS text[])) AS wanted (word) CROSS JOIN LATERAL (
        SELECT word, video_id, source, start_s, end_s FROM lexeme
        WHERE tenant_id = :tenant AND word = wanted.word LIMIT :most
    ) found
    """
)
_VIDEOS = text("SELECT count(*) FROM (SELECT FROM video WHERE tenant_id = :tenant LIMIT 100000) seen")


@dataclass(frozen=True, slots=True)
class Said:
    """Something that is said of a video, and has words of the query."""

    source: str
    """`title`, `tag` or `transcript`."""
    words: tuple[str, ...]
    start_s: float
    """-1: of the whole video."""
    end_s: float
    share: float
    """Of the query's words, by their rarity: 0 to 1."""

    def covers(self, start_s: float, end_s: float) -> bool:
        """Whether it is said of a stretch."""
        return self.start_s < 0 or (self.start_s < end_s and self.end_s > start_s)


async def said(
    session: AsyncSession, tenant: str, query: str, rarity: Mapping[str, float] | None = None
) -> tuple[dict[str, list[Said]], dict[str, float]]:
    """Video -> what is said of it, most of the query's words first; and how much each word counts.

    Args:
        rarity: how much they counted on the pages before; None for the first one.
    """
    words: Sequence[str] = (await execute(session, _WORDS, said=query)).scalars().all()[:MAX_WORDS]
    if not words:
        return {}, {}
    rows = (await execute(session, _SAID, tenant=tenant, words=list(words), most=_MAX_ROWS)).all()
    videos = (await execute(session, _VIDEOS, tenant=tenant)).scalar_one()
    having: defaultdict[str, set[str]] = defaultdict(set)
    texts: defaultdict[tuple[str, str, float], dict[str, float]] = defaultdict(dict)
    for row in rows:
        having[row.word].add(row.video_id)
        texts[row.video_id, row.source, row.start_s][row.word] = row.end_s
    counts = dict(rarity or {word: log(1.0 + videos / (1 + len(having[word]))) for word in words})
    total = sum(counts.values())
    found: defaultdict[str, list[Said]] = defaultdict(list)
    for (video, source, start_s), ends in texts.items():
        share = sum(counts.get(word, 0.0) for word in ends) / total
        kind = source.partition(":")[0]
        found[video].append(Said(kind, tuple(sorted(ends)), start_s, max(ends.values()), share))
    return {video: sorted(some, key=lambda one: -one.share) for video, some in found.items()}, counts
