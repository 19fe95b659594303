"""Videos that are to be encoded anew, in the database: asked for once, taken on by one worker at a time, as in
`serving.copies.claims`."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import LeaseLost
from serving.jobs.events import notify
from serving.storage.keyring import Keyring
from serving.storage.store import Written
from serving.uploads import quota

if TYPE_CHECKING:
    # With what it loads, which those who ask do not need.
    from pipeline.rendition.encoding import Encoded

#: What is told when there is one to encode.
RENDITION_CHANNEL: Final = "automations_rendition"

#: After so many who were not heard of again, it is given up.
MOST_ATTEMPTS: Final = 3

#: So many times something else may be the matter, as a disk that is full.
MOST_FAULTS: Final = 30

#: One that failed is tried again where somebody asks again; so is one whose object is gone.
_ASK = text(
    """
    INSERT INTO rendition AS r (video_id, tenant_id, state, attempts, fence) VALUES (:video, :tenant, 'due', 0, 0)
    ON CONFLICT (video_id) DO UPDATE SET state = 'due', attempts = 0, faults = 0, next_at = now(), code = NULL,
        detail = NULL, object_key = NULL, sha256 = NULL, size_bytes = NULL, width = NULL, height = NULL, done_at = NULL
    WHERE r.state = 'failed' OR (r.state = 'done' AND r.object_key = :gone)
    RETURNING video_id
    """
)

_GOES_ON = text(
    """
    SELECT 1 FROM rendition r WHERE r.tenant_id = :tenant AND r.video_id = :video
        AND (r.state = 'due' OR (r.state = 'done' AND r.object_key IS DISTINCT FROM cast(:gone AS text)))
    """
)

_CLAIM = text(
    """
    WITH due AS MATERIALIZED (
        SELECT waiting.video_id FROM (
            SELECT t.id FROM tenant t
            WHERE t.id <> ALL(cast(:busy AS text[])) AND EXISTS (
                SELECT FROM rendition r WHERE r.tenant_id = t.id AND r.state = 'due' AND r.next_at <= now()
            )
            ORDER BY random()
        ) tenant CROSS JOIN LATERAL (
            SELECT r.video_id FROM rendition r
            WHERE r.tenant_id = tenant.id AND r.state = 'due' AND r.next_at <= now()
            ORDER BY r.next_at LIMIT 1 FOR UPDATE SKIP LOCKED
        ) waiting
        LIMIT :most
    )
    UPDATE rendition r SET attempts = attempts + 1, fence = fence + 1,
        next_at = now() + make_interval(secs => :lease_s)
    FROM due, video v WHERE r.video_id = due.video_id AND v.id = due.video_id
    RETURNING r.video_id, r.tenant_id, v.object_key, r.attempts AS attempt, r.fence
    """
)

_OURS: Final = "tenant_id = :tenant AND video_id = :video AND state = 'due' AND fence = :fence RETURNING video_id"

_RENEW = text(f"UPDATE rendition SET next_at = now() + make_interval(secs => :lease_s) WHERE {_OURS}")

#: What was not finished costs no attempt; the fence stays as it is, so that no two ever have the same.
_GIVE_BACK = text(
    f"""
    UPDATE rendition SET attempts = attempts - 1, next_at = now() + make_interval(secs => :wait_s) WHERE {_OURS}
    """
)

#: The next is twice as far away each time, up to an hour: so they are a day.
_FAULT = text(
    f"""
    UPDATE rendition SET attempts = attempts - 1, faults = faults + 1,
        next_at = now() + make_interval(secs => least(3600, 60 * power(2, faults))),
        state = CASE WHEN faults + 1 < :most THEN state ELSE 'failed' END,
        code = CASE WHEN faults + 1 < :most THEN code ELSE :code END,
        detail = CASE WHEN faults + 1 < :most THEN detail ELSE :detail END
    WHERE {_OURS}
    """
)

_FAIL = text(f"UPDATE rendition SET state = 'failed', code = :code, detail = :detail WHERE {_OURS}")

_DONE = text(
    f"""
    UPDATE rendition SET state = 'done', object_key = :object_key, sha256 = :sha256, size_bytes = :size_bytes,
        width = :width, height = :height, done_at = now()
    WHERE {_OURS}
    """
)

#: First of all: whoever deletes the video holds it, and then wants the row of its rendition, which goes with it.
_STILL = text("SELECT id FROM video WHERE tenant_id = :tenant AND id = :video FOR KEY SHARE")


@dataclass(frozen=True, slots=True)
class Claim:
    """A video that somebody took on."""

    video_id: str
    tenant_id: str
    object_key: str
    """Of the video."""
    attempt: int
    """Counts from 1."""
    fence: int
    """Nobody else has the same."""


async def goes_on(session: AsyncSession, tenant: str, video: str, gone: str | None = None) -> bool:
    """Whether a video is being encoded, or is already, so that `ask` changes nothing."""
    return (await execute(session, _GOES_ON, tenant=tenant, video=video, gone=gone)).one_or_none() is not None


async def ask(session: AsyncSession, tenant: str, video: str, gone: str | None = None) -> None:
    """Have a video encoded, which is there; nothing happens where it is or was already, unless that failed.

    Args:
        gone: object of a rendition that was found not to be there any more.
    """
    if (await execute(session, _ASK, tenant=tenant, video=video, gone=gone)).one_or_none() is not None:
        await notify(session, RENDITION_CHANNEL)


async def claim(database: Database, *, most: int, busy: Collection[str], lease_s: float) -> list[Claim]:
    """Take on what is due, one of each tenant.

    Args:
        most: how many, at most.
        busy: tenants that get no more now.
        lease_s: when they are due again if nothing is heard, seconds.
    """
    async with database.write("rendition.claim", SYSTEM) as session:
        found = await execute(session, _CLAIM, most=most, busy=list(busy), lease_s=lease_s)
        return [Claim(**row) for row in found.mappings()]


async def renew(database: Database, claim: Claim, lease_s: float) -> None:
    """Say that somebody is at it. Raises LeaseLost: it was deleted, or somebody else has it."""
    async with database.write("rendition.renew", claim.tenant_id) as session:
        _held(claim, await execute(session, _RENEW, **_this(claim), lease_s=lease_s))


async def give_back(database: Database, claim: Claim, wait_s: float = 0.0) -> None:
    """Leave it to others, at once or in so many seconds, as if it had not been begun. The last thing that is done
    with a claim."""
    async with database.write("rendition.renew", claim.tenant_id) as session:
        await execute(session, _GIVE_BACK, **_this(claim), wait_s=wait_s)


async def fault(database: Database, claim: Claim, code: str, detail: str) -> None:
    """Something was the matter that is neither the video nor ours. It is tried again, later each time; after
    `MOST_FAULTS` it failed: why. Raises LeaseLost."""
    async with database.write("rendition.done", claim.tenant_id) as session:
        _held(claim, await execute(session, _FAULT, **_this(claim), most=MOST_FAULTS, code=code, detail=detail))


async def fail(database: Database, claim: Claim, code: str, detail: str) -> None:
    """It cannot be encoded. Raises LeaseLost."""
    async with database.write("rendition.done", claim.tenant_id) as session:
        _held(claim, await execute(session, _FAIL, **_this(claim), code=code, detail=detail))


async def record(
    database: Database,
    keyring: Keyring,
    claim: Claim,
    object_key: str,
    written: Written,
    encoded: "Encoded",
    tenant_max_bytes: int,
) -> None:
    """It is done; its key is kept with it. `tenant_max_bytes`: as for `quota.require_room`.

    Raises:
        LeaseLost: it was deleted, or somebody else has it.
        QuotaExceeded: the tenant may not keep so much.
    """
    values = {"object_key": object_key, "sha256": written.sha256, "size_bytes": written.size_bytes}
    async with database.write("rendition.done", claim.tenant_id) as session:
        await quota.require_room(session, claim.tenant_id, written.size_bytes, tenant_max_bytes)
        _held(claim, await execute(session, _STILL, tenant=claim.tenant_id, video=claim.video_id))
        done = await execute(session, _DONE, **_this(claim), **values, width=encoded.width, height=encoded.height)
        _held(claim, done)
        await keyring.keep(session, claim.tenant_id, object_key, written.key, video_id=claim.video_id)


def _held(claim: Claim, found: object) -> None:
    if found.one_or_none() is None:  # type: ignore[attr-defined]
        raise LeaseLost(f"{claim.video_id} is not ours any more")


def _this(claim: Claim) -> dict[str, object]:
    return {"tenant": claim.tenant_id, "video": claim.video_id, "fence": claim.fence}
