"""Items that somebody names, and their vectors: videos, key segments and moments of a tenant in a space."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from sqlalchemy import Text, cast, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.search import Space
from serving.db.statements import execute
from serving.db.vectors import matrix
from serving.errors import NotInSpace
from serving.search import retrieving
from serving.search.retrieving import Row, Scope, Where

Kind = Literal["video", "segment", "moment"]

#: Names of items that an error tells in its text; its pointers tell all.
_TOLD: Final = 5

_MOMENTS = text(
    """
    SELECT asked.number, near.video_id, near.position, near.shot, near.pts_s, near.start_s, near.end_s, near.sent
    FROM unnest(cast(:videos AS text[]), cast(:at_s AS float8[])) WITH ORDINALITY AS asked (video_id, at_s, number)
    CROSS JOIN LATERAL (
        SELECT video_id, position, shot, pts_s, start_s, end_s, halfvec_send(vector) AS sent FROM moment
        WHERE tenant_id = :tenant AND space = :space AND video_id = asked.video_id
        ORDER BY abs(pts_s - asked.at_s), position LIMIT 1
    ) near
    """
)


@dataclass(frozen=True, slots=True)
class Item:
    """Something that was named."""

    kind: Kind
    video_id: str
    number: int = 0
    """Of a segment, its place among those of its video."""
    at_s: float = 0.0
    """Of a moment, seconds."""

    @property
    def name(self) -> str:
        """As the command line has it, and `pipeline.taste` knows it by."""
        signs = {"video": "", "segment": f"#{self.number}", "moment": f"@{self.at_s:g}"}
        return f"{self.video_id}{signs[self.kind]}"


@dataclass(frozen=True, slots=True)
class Known:
    """An item that is there."""

    item: Item
    row: Row
    """Of a moment, that of the sampled frame nearest to it."""
    vector: np.ndarray
    """float32 [D], of length 1."""

    def __repr__(self) -> str:
        return f"Known({self.item.name})"


async def known(
    session: AsyncSession, tenant: str, space: Space, named: Mapping[str, Sequence[Item]]
) -> list[list[Known]]:
    """What is there of lists of items, in their order; of one that comes twice in a list, the first.

    Args:
        named: JSON pointer of a list -> the list.

    Raises:
        NotInSpace: some are not in the space; says which.
    """
    every = [item for items in named.values() for item in items]
    found = await _of_table(session, tenant, space, [item for item in every if item.kind == "video"])
    found |= await _of_table(session, tenant, space, [item for item in every if item.kind == "segment"])
    found |= await _moments(session, tenant, space, [item for item in every if item.kind == "moment"])
    require_in_space(named, found, f"of {space.model} ({space.space})")
    return [[found[name] for name in dict.fromkeys(item.name for item in items)] for items in named.values()]


def require_in_space(named: Mapping[str, Sequence[Item]], found: Container[str], space: str) -> None:
    """Raises NotInSpace: names of items are not among those that were found."""
    missing = tuple(
        (f"{pointer}/{at}", f"{item.name} is not in the space {space}")
        for pointer, items in named.items()
        for at, item in enumerate(items)
        if item.name not in found
    )
    if missing:
        names = ", ".join(what.partition(" ")[0] for _, what in missing[:_TOLD])
        more = f" and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
        raise NotInSpace(f"not in the space {space}: {names}{more}", missing)


async def _of_table(session: AsyncSession, tenant: str, space: Space, items: Sequence[Item]) -> dict[str, Known]:
    if not items:
        return {}
    scope = Scope(tenant, space, "videos" if items[0].kind == "video" else "segments", Where())
    videos = sorted({item.video_id for item in items})
    among = col(scope.model.video_id) == func.any(cast(videos, ARRAY(Text)))
    rows, vectors = await retrieving.rows_of(session, scope, among)
    there = {row.key: at for at, row in enumerate(rows)}
    places = ((item, there.get((item.video_id, item.number))) for item in items)
    return {item.name: Known(item, rows[at], vectors[at]) for item, at in places if at is not None}


async def _moments(session: AsyncSession, tenant: str, space: Space, items: Sequence[Item]) -> dict[str, Known]:
    if not items:
        return {}
    rows = (
        await execute(
            session,
            _MOMENTS,
            tenant=tenant,
            space=space.space,
            videos=[item.video_id for item in items],
            at_s=[item.at_s for item in items],
        )
    ).all()
    vectors = matrix([row.sent for row in rows], space.dim)
    named = ((items[row.number - 1], Row(*row[1:-1]), vectors[at]) for at, row in enumerate(rows))
    return {item.name: Known(item, row, vector) for item, row, vector in named}
