"""Which candidates are known to be copies of each other."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline import copies
from serving.copies.pairs import Stretch, alike, relation, within
from serving.db.documents import Document
from serving.db.statements import execute
from serving.search.retrieving import Row

_PAIRS = text(
    """
    SELECT first_id, second_id, first_share, second_share, stretches FROM video_copy
    WHERE tenant_id = :tenant AND first_id = ANY(cast(:ids AS text[])) AND second_id = ANY(cast(:ids AS text[]))
    """
)

_STRETCHES: Final[Document[tuple[Stretch, ...]]] = Document(tuple[Stretch, ...])


class Relations:
    """Between some videos of a tenant."""

    def __init__(self, pairs: dict[tuple[str, str], tuple[bool, tuple[Stretch, ...]]]) -> None:
        """`pairs`: ids of two videos, in order -> whether one is all but contained in the other, what they share."""
        self._pairs = pairs
        self._partners: defaultdict[str, set[str]] = defaultdict(set)
        for first, second in pairs:
            self._partners[first].add(second)
            self._partners[second].add(first)

    @classmethod
    async def read(cls, session: AsyncSession, tenant: str, videos: Collection[str]) -> "Relations":
        """Of these videos with each other."""
        rows = (await execute(session, _PAIRS, tenant=tenant, ids=sorted(videos))).all()
        return cls(
            {
                (row.first_id, row.second_id): (
                    relation(row.first_share, row.second_share) != "overlap",
                    _STRETCHES.read(row.stretches),
                )
                for row in rows
            }
        )

    def partners(self, video: str) -> Collection[str]:
        """The videos that one shares something with: `same` and `within` are false of all others."""
        return self._partners.get(video, ())

    def same(self, first: Row, second: Row, *, whole: bool) -> bool:
        """Whether two rows are copies: of videos as a `whole`, that one is contained in the other; of stretches, that
        both show the same for the most part."""
        contained, stretches = self._between(first, second)
        return contained if whole else alike((first.start_s, first.end_s), (second.start_s, second.end_s), stretches)

    def within(self, video: Row, part: Row) -> bool:
        """Whether a video shows a part of another one, for the most part."""
        _, stretches = self._between(video, part)
        return within((part.start_s, part.end_s), stretches)

    def _between(self, first: Row, second: Row) -> tuple[bool, tuple[Stretch, ...]]:
        """Whether one is all but contained in the other, and what they share, from the first one's side."""
        if first.video_id <= second.video_id:
            return self._pairs.get((first.video_id, second.video_id), (False, ()))
        contained, stretches = self._pairs.get((second.video_id, first.video_id), (False, ()))
        return contained, tuple(one.turned for one in stretches)

    def groups(self, rows: Sequence[Row], *, whole: bool) -> np.ndarray:
        """int64 [N], the number of the group of copies that each row belongs to; -1: none."""
        of_video: dict[str, list[int]] = {}
        for at, row in enumerate(rows):
            of_video.setdefault(row.video_id, []).append(at)
        found = [
            (a, b)
            for first, second in self._pairs
            for a in of_video.get(first, ())
            for b in of_video.get(second, ())
            if self.same(rows[a], rows[b], whole=whole)
        ]
        return copies.groups(len(rows), found)
