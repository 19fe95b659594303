"""From what somebody liked, or from nothing, to picks with their reasons. Composes, no more: rows are had by
`retrieving` and `items`, picks made by `pipeline.taste`."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import msgspec
import numpy as np
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline import taste
from pipeline.diversity import DIGITS, SAME_FROM, Near, Pick
from pipeline.taste import Taste
from serving.db.search import Space
from serving.recommending.items import Item, Known, known
from serving.recommending.relations import Relations
from serving.search import retrieving
from serving.search.retrieving import Row, Scope, Where

#: What picks are, by the names of tables.
Picked = Literal["videos", "segments"]

#: Candidates near to all liked items together, near to each at least, and in all at most.
_CANDIDATES, _LEAST_EACH, _MOST = 600, 60, 6000

#: Of a start without anything liked: items that are drawn, by lots that stay as they are.
POOL: Final = 2048

#: Similarity from which two are near-duplicates. That of videos is one of means, which are alike more easily.
SAME: Final[dict[Picked, float]] = {"videos": 0.995, "segments": SAME_FROM}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted."""

    tenant: str
    kind: Picked
    liked: tuple[Item, ...]
    disliked: tuple[Item, ...] = ()
    where: Where = field(default_factory=Where)
    diversity: float = 0.3
    limit: int = 10


@dataclass(frozen=True, slots=True)
class Hidden:
    """A candidate that is no pick, since another item stands for it."""

    row: Row
    similarity: float
    copy: bool
    """Whether it is known as a copy; else it only looks the same."""


@dataclass(frozen=True, slots=True)
class Suggested:
    """A pick."""

    row: Row
    pick: Pick
    stands_for: tuple[Hidden, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """What comes of it."""

    picks: tuple[Suggested, ...]
    left_out: tuple[tuple[Hidden, str], ...]
    """Candidates that show what was liked or disliked itself, and the name of that."""
    named: dict[str, Known | Row]
    """What picks have as reasons, by name."""
    spread: bool
    """Whether likeness to other picks cost anything."""
    way: str
    """How candidates were looked for."""


@dataclass(frozen=True, slots=True)
class _Candidates:
    """N rows with their vectors, float32 [N, D], and scores, float64 [N]; None where these do not matter."""

    rows: list[Row]
    vectors: np.ndarray
    scores: np.ndarray | None
    way: str

    def only(self, kept: Sequence[int]) -> "_Candidates":
        scores = None if self.scores is None else self.scores[list(kept)]
        return _Candidates([self.rows[at] for at in kept], self.vectors[list(kept)], scores, self.way)


async def answer(session: AsyncSession, asked: Asked, space: Space) -> Answered:
    """Recommend what is in a space.

    Raises:
        NotInSpace: an item that was named is not in the space.
        InvalidRequest: a filter that cannot be.
    """
    named = await known(session, asked.tenant, space, {"/liked": asked.liked, "/disliked": asked.disliked})
    # In whatever order they are named, and candidates come: products of matrices are the same to the last bit.
    liked, disliked = (sorted(some, key=lambda one: one.item.name) for some in named)
    own = [*liked, *disliked]
    found = await _candidates(session, _without(asked, own), space, liked, own)
    videos = {row.video_id for row in found.rows} | {one.row.video_id for one in own}
    relations = await Relations.read(session, asked.tenant, videos)
    return await asyncio.to_thread(_picked, asked, liked, disliked, found, relations)


async def _candidates(
    session: AsyncSession, asked: Asked, space: Space, liked: Sequence[Known], own: Sequence[Known]
) -> _Candidates:
    """Other ones than those that were named, in the order of their ids."""
    scope = Scope(asked.tenant, space, asked.kind, asked.where)
    if not liked:
        drawn = await retrieving.drawn(session, scope, POOL)
        told = f"{len(drawn[0])} of the library, drawn by lot"
        return await asyncio.to_thread(lambda: _others(_Candidates(*drawn, told), own))
    each = max(_LEAST_EACH, -(-_CANDIDATES // len(liked)), 2 * asked.limit)
    # Segments that were named themselves take places of those that are looked for. Videos are left out by the query.
    wanted = each + (sum(one.item.kind != "video" for one in own) if asked.kind == "segments" else 0)
    how = await retrieving.planned(session, scope, wanted)
    found: list[_Candidates] = []
    for probe in _probes(liked):
        near = _Candidates(*await retrieving.nearest(session, scope, how, probe, wanted), None, how.reason)
        found.append(await asyncio.to_thread(_nearest_others, near, own, probe, each))
    return await asyncio.to_thread(_pooled, found)


def _nearest_others(found: _Candidates, own: Sequence[Known], probe: np.ndarray, most: int) -> _Candidates:
    """Those that were not named, the nearest first."""
    others = _others(found, own)
    return others.only(np.argsort(-(others.vectors @ probe), kind="stable")[:most].tolist())


def _others(found: _Candidates, own: Sequence[Known]) -> _Candidates:
    """Those that were not named, in the order of their ids."""
    named: dict[str, list[Known]] = {}
    for one in own:
        named.setdefault(one.row.video_id, []).append(one)
    rows = found.rows
    others = (at for at, row in enumerate(rows) if not any(_is_own(row, one) for one in named.get(row.video_id, ())))
    return found.only(sorted(others, key=lambda at: rows[at].key))


def _pooled(found: Sequence[_Candidates]) -> _Candidates:
    """What several probes are near to, each once and in the order of ids; of too many, what is nearest to each."""
    places = sorted((rank, n) for n, one in enumerate(found) for rank in range(len(one.rows)))
    kept: dict[tuple[str, int], tuple[int, int]] = {}
    for rank, n in places:
        if len(kept) < _MOST:
            kept.setdefault(found[n].rows[rank].key, (n, rank))
    chosen = [kept[key] for key in sorted(kept)]
    vectors = [found[n].vectors[rank] for n, rank in chosen]
    stacked = np.stack(vectors) if vectors else found[0].vectors[:0]
    return _Candidates([found[n].rows[rank] for n, rank in chosen], stacked, None, found[0].way)


def _probes(liked: Sequence[Known]) -> list[np.ndarray]:
    """What candidates lie near to: each liked item, and what they have in common."""
    vectors = [one.vector for one in liked]
    if len(vectors) > 1:
        mean = np.mean(vectors, axis=0)
        vectors.append((mean / max(float(np.linalg.norm(mean)), 1e-6)).astype(np.float32))
    return vectors


def _without(asked: Asked, own: Iterable[Known]) -> Asked:
    """The same, of other videos than those that were named, or that what was named is a part of."""
    videos = {one.row.video_id for one in own if asked.kind == "videos" or one.item.kind == "video"}
    where = msgspec.structs.replace(asked.where, without=tuple(sorted({*asked.where.without, *videos})))
    return replace(asked, where=where)


def _is_own(row: Row, one: Known) -> bool:
    """Whether a segment was named itself, or has the moment that was."""
    if one.row.video_id != row.video_id or one.item.kind == "video":
        return False
    if one.item.kind == "segment":
        return one.row.position == row.position
    return row.start_s <= one.row.pts_s < row.end_s


def _picked(
    asked: Asked, liked: Sequence[Known], disliked: Sequence[Known], found: _Candidates, relations: Relations
) -> Answered:
    whole = asked.kind == "videos"
    hidden = _hidden((*liked, *disliked), found, relations, asked.kind)
    left = found.only([at for at in range(len(found.rows)) if at not in hidden])
    names = [_name(row, whole=whole) for row in left.rows]
    groups = relations.groups(left.rows, whole=whole)
    who = Taste(
        tuple(one.item.name for one in liked),
        _stacked(liked, found.vectors),
        tuple(one.item.name for one in disliked),
        _stacked(disliked, found.vectors),
    )
    picks = taste.recommend(
        who,
        names,
        left.vectors,
        asked.limit,
        quality=left.scores,
        diversity=asked.diversity,
        same_from=SAME[asked.kind],
        copies=groups,
    )
    rows = dict(zip(names, left.rows, strict=True))
    group = dict(zip(names, groups.tolist(), strict=True))

    def stand_in(pick: Pick, near: Near) -> Hidden:
        return Hidden(rows[near.item], near.similarity, group[near.item] >= 0 and group[near.item] == group[pick.item])

    return Answered(
        picks=tuple(
            Suggested(rows[pick.item], pick, tuple(stand_in(pick, near) for near in pick.stands_for)) for pick in picks
        ),
        left_out=tuple(sorted(hidden.values(), key=lambda one: (-one[0].similarity, one[0].row.key))),
        named=rows | {one.item.name: one for one in (*liked, *disliked)},
        spread=asked.diversity > 0 and bool(liked),
        way=found.way,
    )


def _hidden(
    own: Sequence[Known], found: _Candidates, relations: Relations, kind: Picked
) -> dict[int, tuple[Hidden, str]]:
    """Places of candidates that show what was named itself -> that, and the name of what they are most like."""
    if not own or not found.rows:
        return {}
    whole = kind == "videos"
    of_video: dict[str, list[int]] = {}
    for at, row in enumerate(found.rows):
        of_video.setdefault(row.video_id, []).append(at)
    near = np.round((found.vectors @ np.stack([one.vector for one in own]).T).astype(np.float64), DIGITS)
    copy = np.zeros(near.shape, bool)
    for n, one in enumerate(own):
        # Of a video that was named, everything that is in it; of a part of one, what lies on that.
        part = not whole and one.item.kind == "video"
        for video in relations.partners(one.row.video_id):
            for at in of_video.get(video, ()):
                row = found.rows[at]
                copy[at, n] = relations.within(one.row, row) if part else relations.same(one.row, row, whole=whole)
    near[copy] = 1.0
    near[~copy & (near < SAME[kind])] = -np.inf
    # Of equally like ones the first that was named.
    most = near.argmax(axis=1)
    return {
        at: (Hidden(found.rows[at], float(near[at, n]), bool(copy[at, n])), own[n].item.name)
        for at, n in enumerate(most.tolist())
        if near[at, n] > -np.inf
    }


def _name(row: Row, *, whole: bool) -> str:
    return Item("video" if whole else "segment", row.video_id, row.position).name


def _stacked(items: Sequence[Known], others: np.ndarray) -> np.ndarray:
    return np.stack([one.vector for one in items]) if items else others[:0]
