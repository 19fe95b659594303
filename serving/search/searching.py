"""A search from its parts to scored results. Composes, no more: models are asked by `asking`, rows had by `retrieving`,
scores made by `pipeline.finding`."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import msgspec
import numpy as np
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base import Likelihood
from pipeline import calibration, finding
from pipeline.calibration import Background
from pipeline.finding import Held, Part
from serving.db.database import Database
from serving.db.search import Space
from serving.errors import NotFound
from serving.search import retrieving, words
from serving.search.plan import EXACT_ROWS, Plan
from serving.search.retrieving import Row, Scope, Where
from serving.search.spaces import active_space
from serving.search.words import Said

GroupBy = Literal["moments", "segments", "videos"]

#: Candidates of a probe for the first page, and at most: with each page that was seen there are more.
_CANDIDATES, _MOST = 200, 1000

#: How often a probe is asked at most, where what it finds is all of a few shots or videos.
_ROUNDS: Final = 8

#: Libraries that are kept, and how long until they are looked at again, seconds.
_KEPT, _FRESH_S = 64, 30.0

#: A moment reaches to the samples beside it that are this much as good.
_AS_GOOD: Final = 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for, and where."""

    tenant: str
    space: Space
    parts: tuple[Part, ...]
    said: str
    """Words to look for in what is said; empty: none."""
    where: Where
    group_by: GroupBy
    held: tuple[tuple[float, float], ...] | None = None
    """What the pages before were calibrated by; None for the first one."""
    rarity: Mapping[str, float] | None = None
    """How much words counted on them."""
    seen: int = 0
    """Results on the pages before."""
    limit: int = 20
    """Results that are wanted besides those."""


@dataclass(frozen=True, slots=True)
class Found:
    """A result."""

    row: Row
    start_s: float
    end_s: float
    score: float
    looks: tuple[tuple[str, float, float, str | None], ...]
    """(what was looked for, its weight, its probability here, what both show by name)."""
    said: Said | None

    @property
    def place(self) -> tuple[float, str, int]:
        """What results are sorted by: best first, and never two alike."""
        return -self.score, self.row.video_id, self.row.position


@dataclass(frozen=True, slots=True)
class Answered:
    """All results that there are candidates for, best first."""

    results: tuple[Found, ...]
    held: tuple[tuple[float, float], ...]
    rarity: Mapping[str, float]
    way: str
    """How candidates were looked for."""
    cut: bool
    """Whether there may be more than there were candidates for."""


@dataclass(frozen=True, slots=True)
class Library:
    """A tenant's moments in a space, as they were a moment ago."""

    background: Background
    rows: int
    """How many there are, see `retrieving.counted`."""


class Libraries:
    """What is known of each library."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], tuple[float, Library]] = OrderedDict()

    async def get(self, session: AsyncSession, tenant: str, space: Space) -> Library:
        """Of a tenant's library in a space, as it was half a minute ago at most."""
        key, now = (tenant, space.space), time.monotonic()
        kept = self._kept.get(key)
        if kept is None or now - kept[0] > _FRESH_S:
            drawn = await retrieving.sample(session, tenant, space, calibration.SAMPLE)
            rows = await retrieving.counted(session, Scope(tenant, space, "moments", Where()))
            kept = now, Library(await asyncio.to_thread(calibration.background, *drawn), rows)
            self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return kept[1]


async def space_of(database: Database, tenant: str, name: str | None) -> Space | None:
    """The space that is searched: the one of this name, or the one that answers. None: nothing is there to be found.

    Raises:
        NotFound: the tenant has none of this name.
    """
    async with database.read(tenant) as session:
        if name is None:
            return await active_space(session, tenant)
        named = select(Space).where(Space.tenant_id == tenant, Space.space == name)
        found = (await session.exec(named.where(col(Space.state).not_in(("leaving", "removed"))))).one_or_none()
    if found is None:
        raise NotFound(f"no video was analysed in the space {name}")
    return found


async def answer(session: AsyncSession, asked: Asked, libraries: Libraries) -> Answered:
    """Search. Raises InvalidRequest: a filter that cannot be."""
    scope = Scope(asked.tenant, asked.space, "segments" if asked.group_by == "segments" else "moments", asked.where)
    library = await libraries.get(session, asked.tenant, asked.space)
    wanted = min(_MOST, _CANDIDATES + 2 * asked.seen)
    # A large library is large a little later, too.
    known = library.rows if scope.where.whole and scope.table == "moments" and library.rows > EXACT_ROWS else None
    how = await retrieving.planned(session, scope, wanted, known)
    gathered = _Gathered(asked.space.dim)
    cut = await _gather(session, asked, scope, how, wanted, gathered)
    said: Mapping[str, list[Said]] = {}
    rarity: Mapping[str, float] = {}
    if asked.said and how.way != "none":
        said, rarity = await words.said(session, scope, asked.said, asked.rarity)
        telling = sorted(said, key=lambda video: (-said[video][0].share, video))[: words.MAX_VIDEOS]
        if telling:
            probe = finding.probes(asked.parts)[0]
            gathered.add(*await retrieving.nearest(session, scope, how, probe, wanted, only=telling))
            where_said = {video: (said[video][0].start_s, said[video][0].end_s) for video in telling}
            gathered.add(*await retrieving.nearest_of_each(session, scope, probe, where_said))
    rows, vectors = gathered.all
    held, results = await asyncio.to_thread(_scored, asked, rows, vectors, library.background, said)
    return Answered(results, held, rarity, how.reason, cut)


async def _gather(
    session: AsyncSession, asked: Asked, scope: Scope, how: Plan, wanted: int, gathered: "_Gathered"
) -> bool:
    """Have the nearest of each probe, and more where they are all of a few shots or videos; whether there may be
    others."""
    probes = list(finding.probes(asked.parts))
    for _ in range(_ROUNDS):
        filled: list[np.ndarray] = []
        for probe in probes:
            rows, vectors = await retrieving.nearest(session, scope, how, probe, wanted)
            gathered.add(rows, vectors)
            if len(rows) == wanted:
                filled.append(probe)
        probes = filled
        enough = asked.group_by == "segments" or gathered.groups(asked.group_by) > asked.seen + asked.limit
        if enough or not probes:
            break
        # The other shots of a video count, as long as they can be had without it being left out.
        if asked.group_by == "videos" or wanted == _MOST:
            seen = {video for video, _ in gathered.rows}
            without = tuple(sorted({*asked.where.without, *seen}))
            scope = replace(scope, where=msgspec.structs.replace(asked.where, without=without))
        wanted = min(_MOST, 2 * wanted)
        how = await retrieving.planned(session, scope, wanted)
    return bool(probes)


@dataclass(slots=True)
class _Gathered:
    """Candidates of several probes, each once."""

    dim: int
    rows: dict[tuple[str, int], Row] = field(default_factory=dict)
    vectors: list[np.ndarray] = field(default_factory=list)

    def add(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        new = [at for at, row in enumerate(rows) if row.key not in self.rows]
        self.rows |= {rows[at].key: rows[at] for at in new}
        self.vectors.append(vectors[new])

    def groups(self, group_by: GroupBy) -> int:
        """Of how many results they are."""
        return len({_group(row, group_by) for row in self.rows.values()})

    @property
    def all(self) -> tuple[list[Row], np.ndarray]:
        empty = np.zeros((0, self.dim), np.float32)
        return list(self.rows.values()), np.concatenate([empty, *self.vectors])


def _scored(
    asked: Asked, rows: Sequence[Row], vectors: np.ndarray, library: Background, said: Mapping[str, list[Said]]
) -> tuple[tuple[tuple[float, float], ...], tuple[Found, ...]]:
    likelihood = Likelihood(scale=asked.space.scale, bias=asked.space.bias)
    if asked.held is None:
        held = [finding.hold(part, library, likelihood) for part in asked.parts]
    else:
        held = [Held(part, *told) for part, told in zip(asked.parts, asked.held, strict=True)]
    told = tuple((one.first, one.second) for one in held)
    if not rows:
        return told, ()
    looks = [finding.looks(one, vectors, likelihood) for one in held]
    scores = finding.together(np.stack([one.probabilities for one in looks]), [part.weight for part in asked.parts])
    tellings = [
        next((one for one in said.get(row.video_id, ()) if one.covers(row.start_s, row.end_s)), None) for row in rows
    ]
    shares = np.array([0.0 if one is None else one.share for one in tellings])
    scores = finding.with_words(scores, shares)
    found = [
        Found(
            row,
            row.start_s,
            row.end_s,
            float(scores[at]),
            tuple(
                (part.told, part.weight, float(look.probabilities[at]), look.both[at])
                for part, look in zip(asked.parts, looks, strict=True)
            ),
            tellings[at],
        )
        for at, row in enumerate(rows)
    ]
    return told, tuple(sorted(_grouped(found, asked.group_by), key=lambda one: one.place))


def _grouped(found: Sequence[Found], group_by: GroupBy) -> list[Found]:
    """One result for each shot, or each video: the best one in it."""
    if group_by == "segments":
        return list(found)
    groups: dict[tuple[str, int], list[Found]] = {}
    for one in found:
        groups.setdefault(_group(one.row, group_by), []).append(one)
    return [_reaching(group) for group in groups.values()]


def _group(row: Row, group_by: GroupBy) -> tuple[str, int]:
    """What a row is shown as a part of: its shot, or its video."""
    return row.video_id, row.shot if group_by == "moments" else -1


def _reaching(group: Sequence[Found]) -> Found:
    """The best of a group, with the stretch around it that is about as good."""
    best = min(group, key=lambda one: one.place)
    within = {one.row.position: one for one in group if one.row.shot == best.row.shot}
    first = last = best.row.position
    while first - 1 in within and within[first - 1].score >= _AS_GOOD * best.score:
        first -= 1
    while last + 1 in within and within[last + 1].score >= _AS_GOOD * best.score:
        last += 1
    return Found(best.row, within[first].row.start_s, within[last].row.end_s, best.score, best.looks, best.said)


async def moment_near(session: AsyncSession, tenant: str, space: Space, video: str, at_s: float) -> np.ndarray:
    """float32 [D], of the sampled frame nearest to a time of a video. Raises NotFound."""
    scope = Scope(tenant, space, "moments", Where())
    rows, vectors = await retrieving.rows_of(session, scope, col(scope.model.video_id) == video)
    if not rows:
        raise NotFound(f"there is no moment of such a video in the space {space.space}")
    return vectors[int(np.argmin([abs(row.pts_s - at_s) for row in rows]))]


async def segment_at(session: AsyncSession, tenant: str, space: Space, video: str, number: int) -> np.ndarray:
    """float32 [D], of a key segment of a video's latest report. Raises NotFound."""
    scope = Scope(tenant, space, "segments", Where())
    conditions = (col(scope.model.video_id) == video, col(scope.model.position) == number)
    rows, vectors = await retrieving.rows_of(session, scope, *conditions)
    if not rows:
        raise NotFound(f"there is no such segment of such a video in the space {space.space}")
    return vectors[0]
