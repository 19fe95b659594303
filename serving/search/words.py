"""What is said of videos: titles, tags and transcripts, by the words of a query."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Final

from sqlalchemy import Text, cast, func, select, text, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.search import Lexeme
from serving.db.statements import execute
from serving.search.retrieving import Scope

#: Words of a query that count, and rows of one that are read: what is said everywhere tells nothing.
MAX_WORDS, _MAX_ROWS = 16, 5000

#: Videos that are looked at besides for what is said of them.
MAX_VIDEOS: Final = 50

_WORDS = text("SELECT search_words(:said)")
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
    session: AsyncSession, scope: Scope, query: str, rarity: Mapping[str, float] | None = None
) -> tuple[dict[str, list[Said]], dict[str, float]]:
    """Video -> what is said of it, most of the query's words first; and how much each word counts. Raises
    InvalidRequest: a filter that cannot be.

    Args:
        scope: told of are those videos alone that have rows in it; words count as they do in the whole library.
        rarity: how much they counted on the pages before; None for the first one.
    """
    words: Sequence[str] = (await execute(session, _WORDS, said=query)).scalars().all()[:MAX_WORDS]
    if not words:
        return {}, {}
    everywhere = await _lexemes(session, scope.tenant, words)
    rows = everywhere
    if not scope.where.whole:
        met = select(col(scope.model.video_id)).where(*await scope.conditions(session))
        rows = await _lexemes(session, scope.tenant, words, col(Lexeme.video_id).in_(met))
    videos = (await execute(session, _VIDEOS, tenant=scope.tenant)).scalar_one()
    having: defaultdict[str, set[str]] = defaultdict(set)
    for row in everywhere:
        having[row.word].add(row.video_id)
    texts: defaultdict[tuple[str, str, float], dict[str, float]] = defaultdict(dict)
    for row in rows:
        texts[row.video_id, row.source, row.start_s][row.word] = row.end_s
    counts = dict(rarity or {word: log(1.0 + videos / (1 + len(having[word]))) for word in words})
    total = sum(counts.values())
    found: defaultdict[str, list[Said]] = defaultdict(list)
    for (video, source, start_s), ends in texts.items():
        share = sum(counts.get(word, 0.0) for word in ends) / total
        kind = source.partition(":")[0]
        found[video].append(Said(kind, tuple(sorted(ends)), start_s, max(ends.values()), share))
    return {video: sorted(some, key=lambda one: -one.share) for video, some in found.items()}, counts


async def _lexemes(session: AsyncSession, tenant: str, words: Sequence[str], *met: Any) -> Sequence[Any]:
    """Where each word is said, of what is said often always the same. `met`: what rows have to meet besides."""
    wanted = func.unnest(cast(list(words), ARRAY(Text))).table_valued("word", name="wanted").render_derived()
    found = (
        select(col(Lexeme.word), col(Lexeme.video_id), col(Lexeme.source), col(Lexeme.start_s), col(Lexeme.end_s))
        .where(col(Lexeme.tenant_id) == tenant, col(Lexeme.word) == wanted.c.word, *met)
        .order_by(col(Lexeme.video_id), col(Lexeme.source), col(Lexeme.start_s))
        .limit(_MAX_ROWS)
        .lateral("found")
    )
    return (await session.execute(select(*found.c).select_from(wanted).join(found, true()))).all()
