"""Deliveries in the database: taken on by one deliverer at a time, and what came of it written down.

Who takes one on moves its `next_at` on. If nothing is heard of them until then, it is due again, for anybody: it may be
sent twice, under the same id, but is never lost.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, text
from sqlmodel import col, select

from pipeline.errors import VideoError
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.db.work import Attempt, Delivery, Endpoint
from serving.storage.keyring import Keyring, TenantValues
from serving.webhooks import confidential, endpoints

#: Waits before the second attempt, the third and so on, in seconds; after the last one fails, it is given up. All
#: together: a day.
RETRY_AFTER_S: Final = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800)

#: Each wait is up to this much shorter or longer, so that what failed together does not come back together.
JITTER: Final = 0.1

#: Attempts that are kept, of one delivery.
KEPT_ATTEMPTS: Final = 50

#: 410: whoever answers so wants to hear no more.
_GONE: Final = 410

#: Some that are due, of each endpoint a few: one that has many keeps nobody else waiting.
_CLAIM = text(
    """
    WITH due AS MATERIALIZED (
        SELECT waiting.id FROM (
            SELECT e.id FROM webhook_endpoint e
            WHERE e.disabled_at IS NULL AND e.id <> ALL(cast(:busy AS text[])) AND EXISTS (
                SELECT FROM webhook_delivery d
                WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.next_at <= now()
            )
            ORDER BY random()
        ) endpoint CROSS JOIN LATERAL (
            SELECT d.id FROM webhook_delivery d
            WHERE d.endpoint_id = endpoint.id AND d.state = 'pending' AND d.next_at <= now()
            ORDER BY d.next_at LIMIT :each FOR UPDATE SKIP LOCKED
        ) waiting
        LIMIT :most
    )
    UPDATE webhook_delivery d SET next_at = now() + make_interval(secs => :lease_s)
    FROM due, webhook_endpoint e, webhook_message m
    WHERE d.id = due.id AND e.id = d.endpoint_id AND m.id = d.message_id
    RETURNING d.id AS delivery_id, d.tenant_id, d.next_at AS until, coalesce(e.previous_until > now(), false) AS both,
        e.id, e.sealed, e.url, e.secret, e.previous_secret, m.id AS message_id, m.type, m.payload, m.created_at
    """
)

_AFTER = text("now() + make_interval(secs => :wait_s)")


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that somebody took on, and all that is needed for it."""

    id: str
    endpoint_id: str
    tenant_id: str
    until: datetime
    """When it is due again if nothing is heard of them; nobody else has the same."""
    url: str
    secrets: tuple[str, ...]
    unreadable: str | None
    """Why neither of these is known; None where they are."""
    message_id: str
    type: str
    payload: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt."""

    status: int | None
    """HTTP status; None where no answer came."""
    error: str | None
    """What was wrong; None where it was delivered."""
    duration_ms: int


async def claim(
    database: Database, keyring: Keyring, *, most: int, each: int, busy: Collection[str], lease_s: float
) -> list[Claim]:
    """Take on what is due.

    Args:
        most: how many, at most.
        each: of one endpoint, at most.
        busy: endpoints that get no more now.
        lease_s: when they are due again, seconds; longer than an attempt takes.
    """
    values = {"most": most, "each": each, "busy": list(busy), "lease_s": lease_s}
    async with database.write("delivery.claim", SYSTEM) as session:
        rows = (await execute(session, _CLAIM, **values)).all()
        opening = keyring.of_tenants(session)
        return [await _claimed(opening, row) for row in rows]


async def _claimed(values: TenantValues, row: Any) -> Claim:
    url, keys, unreadable = "", (), None
    try:
        known = await confidential.opened(values, row)
        url, keys = known.url, (known.secret, *([known.previous_secret] if row.both and known.previous_secret else ()))
    except VideoError as error:
        # One that was tampered with keeps no other from being told.
        unreadable = str(error)
    return Claim(
        id=row.delivery_id,
        endpoint_id=row.id,
        tenant_id=row.tenant_id,
        until=row.until,
        url=url,
        secrets=keys,
        unreadable=unreadable,
        message_id=row.message_id,
        type=row.type,
        payload=row.payload,
        created_at=row.created_at,
    )


async def record(database: Database, keyring: Keyring, claim: Claim, outcome: Outcome) -> None:
    """Write down what came of it, and when it is tried again. An attempt took place, whoever has the delivery by now;
    but that it failed decides nothing any more where somebody else has it, or it was asked for anew."""
    async with database.write("delivery.done", SYSTEM) as session:
        if outcome.status == _GONE:
            # Locked before its deliveries, as everywhere.
            endpoint = await session.get(Endpoint, claim.endpoint_id, with_for_update={"key_share": True})
            # What was answered at another URL says nothing about the one it has now.
            opening = keyring.of_tenants(session)
            if endpoint is not None and (await confidential.opened(opening, endpoint)).url == claim.url:
                await endpoints.disable(session, endpoint, "it answered 410 Gone")
        delivery = await session.get(Delivery, claim.id, with_for_update=True)
        if delivery is None:
            return
        latest = select(func.coalesce(func.max(Attempt.number), 0)).where(Attempt.delivery_id == claim.id)
        number = (await session.exec(latest)).one() + 1
        session.add(
            Attempt(
                delivery_id=claim.id,
                number=number,
                tenant_id=claim.tenant_id,
                status=outcome.status,
                error=outcome.error,
                duration_ms=outcome.duration_ms,
            )
        )
        old = delete(Attempt).where(col(Attempt.delivery_id) == claim.id, col(Attempt.number) <= number - KEPT_ATTEMPTS)
        await session.exec(old)
        delivery.attempts += 1
        if outcome.error is None:
            delivery.state, delivery.last_status, delivery.last_error = "delivered", outcome.status, None
            delivery.delivered_at = text("now()")  # type: ignore[assignment]
        elif delivery.state != "delivered" and delivery.next_at == claim.until:
            delivery.last_status = outcome.status
            if delivery.state == "pending":
                delivery.last_error = outcome.error
                wait_s = retry_after_s(delivery.attempts)
                if wait_s is None:
                    delivery.state = "given_up"
                else:
                    delivery.next_at = _AFTER.bindparams(wait_s=wait_s)  # type: ignore[assignment]
        session.add(delivery)


def retry_after_s(attempts: int) -> float | None:
    """How long to wait after so many attempts that failed; None to give up."""
    if attempts > len(RETRY_AFTER_S):
        return None
    return RETRY_AFTER_S[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
