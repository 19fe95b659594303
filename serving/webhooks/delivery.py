"""Delivers what is in the outbox: takes on what is due, sends it, and writes down what came of it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from serving.claiming import Bounds, Claimer, notices
from serving.db.database import Database
from serving.egress import Egress
from serving.errors import AddressRefused, DatabaseUnavailable, FetchFailed
from serving.jobs.listening import Listener
from serving.jobs.outbox import DELIVERY_CHANNEL
from serving.storage.keyring import Keyring
from serving.webhooks import claims
from serving.webhooks.claims import Claim, Outcome
from serving.webhooks.signing import signed

_LOG = logging.getLogger(__name__)

#: How long a receiver has for its answer, from the look-up of its name on, seconds.
TIMEOUT_S: Final = 15.0

#: How long a deliverer may be silent before its deliveries are anybody's, seconds: an attempt, and what is around it.
LEASE_S: Final = 60.0

#: Attempts at once, by one deliverer, and to one endpoint. They wait for others most of the time.
BOUNDS: Final = Bounds(slots=16, per_owner=4)

#: A body is smaller than this. It says what happened and where to read more, not all that there is to know.
MAX_BODY_BYTES: Final = 20_000


class Deliverer:
    """Sends messages to endpoints. As many as one likes may do so at once, in any process."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        egress: Egress | None = None,
        *,
        listener: Listener | None = None,
        lease_s: float = LEASE_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._database, self._keyring = database, keyring
        self._egress = egress or Egress()
        self._listener = listener
        self._lease_s = lease_s
        self._timeout_s = timeout_s

    async def serve(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; then finish what is under way, or leave it to others after five seconds."""
        await Claimer(self, BOUNDS, notices(self._listener, DELIVERY_CHANNEL)).serve(stop)

    async def claim(self, most: int, busy: Sequence[str]) -> list[Claim]:
        """See `Claims.claim`; owners are endpoints."""
        limits = {"most": most, "each": BOUNDS.per_owner}
        return await claims.claim(self._database, self._keyring, **limits, busy=busy, lease_s=self._lease_s)

    def owner(self, claim: Claim, /) -> str:
        """See `Claims.owner`."""
        return claim.endpoint_id

    async def work(self, claim: Claim, /) -> None:
        """See `Claims.work`."""
        outcome = await self._attempt(claim)
        # Not written down, it is sent again once the lease is over: twice, under the same id.
        with contextlib.suppress(DatabaseUnavailable):
            await claims.record(self._database, self._keyring, claim, outcome)

    async def _attempt(self, claim: Claim) -> Outcome:
        if claim.unreadable is not None:
            return Outcome(None, claim.unreadable, 0)
        started = time.monotonic()
        status, error = None, None
        try:
            body = body_of(claim.type, claim.created_at, claim.payload)
            headers = signed(claim.message_id, body, datetime.now(UTC), claim.secrets)
            headers["content-type"] = "application/json"
            answer = await self._egress.post(claim.url, body.encode(), headers, timeout_s=self._timeout_s)
            status = answer.status
            if not 200 <= status < 300:
                error = f"it answered with HTTP status {status}"
        except (AddressRefused, FetchFailed) as failure:
            error = str(failure)
        except Exception:  # noqa: BLE001 - a fault of ours in one message must not keep all others from being sent
            _LOG.exception("delivery %s could not be attempted", claim.id)
            error = "a fault of the server; its log has more"
        return Outcome(status, error, round((time.monotonic() - started) * 1000))


def body_of(type_: str, at: datetime, data: Mapping[str, Any]) -> str:
    """What is sent: `{type, timestamp, data}`, the same at every attempt. Of data that is too much, the ids and the
    state are left; a receiver reads the rest at the API, as it should anyway."""

    def encoded(told: Mapping[str, Any]) -> bytes:
        return msgspec.json.encode({"type": type_, "timestamp": at.astimezone(UTC), "data": told}, order="sorted")

    body = encoded(data)
    if len(body) >= MAX_BODY_BYTES:
        kept = {name: value for name, value in data.items() if isinstance(value, str) and len(value) <= 200}
        body = encoded(kept | {"truncated": True})
    return body.decode()
