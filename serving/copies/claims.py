"""Videos whose copies are to be looked for, in the database: taken on by one finder at a time.

Who takes one on moves its `next_at` on, and does so again while at it. If nothing is heard of them until then, it is
due again, for anybody, and begun anew: nothing is written before all of it is known. A new report of the video counts
the fence up, as everybody does who takes it on: whoever has an old number writes nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import text

from serving.copies.pairs import Found
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import LeaseLost
from serving.ids import new_id

#: After so many who were not heard of again, it is given up.
MOST_ATTEMPTS: Final = 5

#: Some that are due, of each tenant a few: one that has many keeps nobody else waiting.
_CLAIM = text(
    """
    WITH due AS MATERIALIZED (
        SELECT waiting.video_id FROM (
            SELECT t.id FROM tenant t
            WHERE t.id <> ALL(cast(:busy AS text[])) AND EXISTS (
                SELECT FROM video_looks l WHERE l.tenant_id = t.id AND l.state = 'due' AND l.next_at <= now()
            )
            ORDER BY random()
        ) tenant CROSS JOIN LATERAL (
            SELECT l.video_id FROM video_looks l
            WHERE l.tenant_id = tenant.id AND l.state = 'due' AND l.next_at <= now()
            ORDER BY l.next_at LIMIT :each FOR UPDATE SKIP LOCKED
        ) waiting
        LIMIT :most
    )
    UPDATE video_looks l SET attempts = attempts + 1, fence = fence + 1,
        next_at = now() + make_interval(secs => :lease_s)
    FROM due WHERE l.video_id = due.video_id
    RETURNING l.video_id, l.tenant_id, l.attempts AS attempt, l.fence
    """
)

_RENEW = text(
    """
    UPDATE video_looks SET next_at = now() + make_interval(secs => :lease_s)
    WHERE tenant_id = :tenant AND video_id = :video AND state = 'due' AND fence = :fence RETURNING video_id
    """
)

#: What was not finished costs no attempt; the fence stays as it is, so that no two ever have the same.
_GIVE_BACK = text(
    """
    UPDATE video_looks SET attempts = attempts - 1, next_at = now() + make_interval(secs => :wait_s)
    WHERE tenant_id = :tenant AND video_id = :video AND state = 'due' AND fence = :fence
    """
)

#: Pairs are written by one at a time, so that of two who find the same one neither waits for the other's row.
_ONE_BY_ONE = text("SELECT pg_advisory_xact_lock(hashtextextended('copies of ' || :tenant, 0))")

_END = text(
    """
    UPDATE video_looks SET state = :state, looked_at = now()
    WHERE tenant_id = :tenant AND video_id = :video AND state = 'due' AND fence = :fence RETURNING video_id
    """
)

_GONE = text("DELETE FROM video_copy WHERE tenant_id = :tenant AND :video IN (first_id, second_id)")

#: First of all, and in order: whoever deletes one of them waits for this, or this for them. Of a video that was deleted
#: meanwhile nothing is written.
_STILL = text(
    """
    SELECT id FROM video WHERE tenant_id = :tenant AND id = ANY(cast(:ids AS text[])) ORDER BY id FOR KEY SHARE
    """
)

_PAIR = text(
    """
    INSERT INTO video_copy (id, tenant_id, first_id, second_id, first_share, second_share, likeness, moments, stretches)
    VALUES (:id, :tenant, :first_id, :second_id, :first_share, :second_share, :likeness, :moments,
        cast(:stretches AS jsonb))
    """
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A video that somebody took on."""

    video_id: str
    tenant_id: str
    attempt: int
    """Counts from 1."""
    fence: int
    """Nobody else has the same."""


async def claim(database: Database, *, most: int, each: int, busy: Collection[str], lease_s: float) -> list[Claim]:
    """Take on what is due.

    Args:
        most: how many, at most.
        each: of one tenant, at most.
        busy: tenants that get no more now.
        lease_s: when they are due again if nothing is heard, seconds.
    """
    values = {"most": most, "each": each, "busy": list(busy), "lease_s": lease_s}
    async with database.write("copies.claim", SYSTEM) as session:
        return [Claim(**row) for row in (await execute(session, _CLAIM, **values)).mappings()]


async def renew(database: Database, claim: Claim, lease_s: float) -> None:
    """Say that somebody is at it. Raises LeaseLost: it was analysed anew, deleted, or somebody else has it."""
    async with database.write("copies.renew", claim.tenant_id) as session:
        if (await execute(session, _RENEW, **_this(claim), lease_s=lease_s)).one_or_none() is None:
            raise _lost(claim)


async def give_back(database: Database, claim: Claim, wait_s: float = 0.0) -> None:
    """Leave it to others, at once or in so many seconds. The last thing that is done with a claim."""
    async with database.write("copies.renew", claim.tenant_id) as session:
        await execute(session, _GIVE_BACK, **_this(claim), wait_s=wait_s)


async def give_up(database: Database, claim: Claim) -> None:
    """Nobody looks for its copies any more, until it is analysed anew. Raises LeaseLost."""
    async with database.write("copies.done", claim.tenant_id) as session:
        if (await execute(session, _END, **_this(claim), state="failed")).one_or_none() is None:
            raise _lost(claim)


async def record(database: Database, claim: Claim, found: Sequence[Found]) -> None:
    """Write down its pairs, in place of those that it had. Raises LeaseLost."""
    async with database.write("copies.done", claim.tenant_id) as session:
        await execute(session, _ONE_BY_ONE, tenant=claim.tenant_id)
        ids = [claim.video_id, *(one.video_id for one in found)]
        still = set((await execute(session, _STILL, tenant=claim.tenant_id, ids=ids)).scalars())
        if (await execute(session, _END, **_this(claim), state="done")).one_or_none() is None:
            raise _lost(claim)
        await execute(session, _GONE, tenant=claim.tenant_id, video=claim.video_id)
        for one in found:
            if one.video_id in still:
                pair = one.of(claim.video_id)
                values = msgspec.structs.asdict(pair) | {"stretches": msgspec.json.encode(pair.stretches).decode()}
                await execute(session, _PAIR, id=new_id("cpy"), tenant=claim.tenant_id, **values)


def _lost(claim: Claim) -> LeaseLost:
    return LeaseLost(f"{claim.video_id} is not ours any more")


def _this(claim: Claim) -> dict[str, object]:
    return {"tenant": claim.tenant_id, "video": claim.video_id, "fence": claim.fence}
