"""Uploads that are to be fetched, in the database: taken on by one fetcher at a time, and the outcome written down.

Who takes one on moves its `next_at` on, and does so again while at it. If nothing is heard of them until then, it is
due again, for anybody, and begun anew. Each time it is taken on has its number, the fence: whoever has it writes only
as long as that is the latest.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text

from pipeline.errors import VideoError
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.db.uploads import Upload
from serving.errors import LeaseLost, NotFound, ServerError
from serving.storage.keyring import Keyring, TenantValues
from serving.storage.store import Store
from serving.uploads import confidential
from serving.uploads.becoming import become, told
from serving.uploads.receive import Stored, deleted_unless_kept
from serving.uploads.rows import looked_up

#: Waits before the second attempt, the third and so on, in seconds; after the last one fails, it is given up. All
#: together: most of an hour.
RETRY_AFTER_S: Final = (5, 30, 120, 600, 1800)

#: Each wait is up to this much shorter or longer, so that what failed together does not come back together.
JITTER: Final = 0.1

#: The longest wait that another server may ask for, seconds.
MAX_AFTER_S: Final = 3600.0

#: Some that are due, of each tenant a few: one that wants many keeps nobody else waiting.
_CLAIM = text(
    """
    WITH due AS MATERIALIZED (
        SELECT waiting.id FROM (
            SELECT t.id FROM tenant t
            WHERE t.id <> ALL(cast(:busy AS text[])) AND EXISTS (
                SELECT FROM upload u WHERE u.tenant_id = t.id
                    AND u.status = 'waiting' AND u.method = 'url' AND u.next_at <= now()
            )
            ORDER BY random()
        ) tenant CROSS JOIN LATERAL (
            SELECT u.id FROM upload u
            WHERE u.tenant_id = tenant.id AND u.status = 'waiting' AND u.method = 'url' AND u.next_at <= now()
            ORDER BY u.next_at LIMIT :each FOR UPDATE SKIP LOCKED
        ) waiting
        LIMIT :most
    )
    UPDATE upload u SET attempts = attempts + 1, fence = fence + 1, next_at = now() + make_interval(secs => :lease_s),
        received_bytes = 0, size_bytes = NULL
    FROM due WHERE u.id = due.id
    RETURNING u.id, u.tenant_id, u.attempts AS attempt, u.fence, u.sealed, u.url, u.tus_metadata, u.filename
    """
)

_RENEW = text(
    """
    UPDATE upload SET received_bytes = :received, size_bytes = :size, updated_at = now(),
        next_at = now() + make_interval(secs => :lease_s), expires_at = greatest(expires_at, now() + interval '1 hour')
    WHERE tenant_id = :tenant AND id = :id AND status = 'waiting' AND fence = :fence RETURNING id
    """
)

#: What was not finished costs no attempt; the fence stays as it is, so that no two ever have the same.
_GIVE_BACK = text(
    """
    UPDATE upload SET attempts = attempts - 1, next_at = now()
    WHERE tenant_id = :tenant AND id = :id AND status = 'waiting' AND fence = :fence
    """
)

_AFTER = text("now() + make_interval(secs => :wait_s)")


@dataclass(frozen=True, slots=True)
class Claim:
    """An upload that somebody took on."""

    id: str
    tenant_id: str
    attempt: int
    """Counts from 1."""
    fence: int
    """Nobody else has the same."""
    url: str | VideoError
    """Where it is; or why that is not known any more."""
    filename: str | None
    """None where the address is to say it."""


async def claim(
    database: Database, keyring: Keyring, *, most: int, each: int, busy: Collection[str], lease_s: float
) -> list[Claim]:
    """Take on what is due.

    Args:
        most: how many, at most.
        each: of one tenant, at most.
        busy: tenants that get no more now.
        lease_s: when they are due again if nothing is heard, seconds.
    """
    values = {"most": most, "each": each, "busy": list(busy), "lease_s": lease_s}
    async with database.write("fetch.claim", SYSTEM) as session:
        rows = (await execute(session, _CLAIM, **values)).all()
        opening = keyring.of_tenants(session)
        return [
            Claim(row.id, row.tenant_id, row.attempt, row.fence, await _url(opening, row), row.filename) for row in rows
        ]


async def _url(values: TenantValues, row: Any) -> str | VideoError:
    try:
        return (await confidential.opened(values, row)).url or ""
    except VideoError as error:
        # One that was tampered with keeps no other from being fetched.
        return error


async def renew(database: Database, claim: Claim, received_bytes: int, size_bytes: int | None, lease_s: float) -> None:
    """Say how far it is, and that somebody is at it. `size_bytes`: of the whole, if that was said.

    Raises:
        LeaseLost: it was canceled, or somebody else has it.
    """
    values = {"received": received_bytes, "size": size_bytes, "lease_s": lease_s}
    async with database.write("fetch.renew", claim.tenant_id) as session:
        if (await execute(session, _RENEW, **_this(claim), **values)).one_or_none() is None:
            raise LeaseLost(f"{claim.id} is not ours any more")


async def keep(
    database: Database, store: Store, claim: Claim, stored: Stored, filename: str | None, tenant_max_bytes: int
) -> None:
    """Make what was fetched a video.

    Raises:
        LeaseLost: it was canceled, or somebody else has it.
        QuotaExceeded: the tenant may not keep so much.
    """
    async with deleted_unless_kept(store, stored), database.write("upload.complete", claim.tenant_id) as session:
        upload = await _mine(session, claim)
        upload.filename = filename
        upload.size_bytes = upload.received_bytes = stored.written.size_bytes
        received = await become(session, store.keyring, upload, stored, tenant_max_bytes)
    if not received.created:
        await store.delete(stored.object_key)


async def record(
    database: Database, claim: Claim, error: VideoError | ServerError, *, again: bool, after_s: float = 0.0
) -> None:
    """Write down that an attempt failed, and when the next is, or that there is none.

    Args:
        again: whether another may go better. There are so many, and no more.
        after_s: the least to wait until then, seconds; no more than an hour.

    Raises:
        LeaseLost: it was canceled, or somebody else has it.
    """
    again = again and claim.attempt <= len(RETRY_AFTER_S)
    async with database.write("fetch.retry" if again else "upload.end", claim.tenant_id) as session:
        upload = await _mine(session, claim)
        upload.error = told(error)
        if again:
            wait_s = max(RETRY_AFTER_S[claim.attempt - 1], min(after_s, MAX_AFTER_S))
            wait_s *= random.uniform(1 - JITTER, 1 + JITTER)
            upload.next_at = _AFTER.bindparams(wait_s=wait_s)  # type: ignore[assignment]
        else:
            upload.status = "errored"
        session.add(upload)


async def give_back(database: Database, claim: Claim) -> None:
    """Leave it to others at once. The last thing that is done with a claim."""
    async with database.write("fetch.retry", claim.tenant_id) as session:
        await execute(session, _GIVE_BACK, **_this(claim))


async def _mine(session, claim: Claim) -> Upload:
    try:
        upload, _ = await looked_up(session, claim.tenant_id, claim.id, lock=True)
    except NotFound as error:
        raise LeaseLost(f"{claim.id} is gone") from error
    if upload.status != "waiting" or upload.fence != claim.fence:
        raise LeaseLost(f"{claim.id} is not ours any more")
    return upload


def _this(claim: Claim) -> dict[str, object]:
    return {"tenant": claim.tenant_id, "id": claim.id, "fence": claim.fence}
