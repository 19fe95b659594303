"""Delivers what is in the outbox: takes on what is due, sends it, and writes down what came of it."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from serving.db.database import Database
from serving.egress import Egress
from serving.errors import AddressRefused, DatabaseUnavailable, FetchFailed
from serving.jobs.listening import Listener
from serving.jobs.outbox import DELIVERY_CHANNEL
from serving.webhooks import claims
from serving.webhooks.claims import Claim, Outcome
from serving.webhooks.signing import signed

_LOG = logging.getLogger(__name__)

#: How long a receiver has for its answer, from the look-up of its name on, seconds.
TIMEOUT_S: Final = 15.0

#: How long a deliverer may be silent before its deliveries are anybody's, seconds: an attempt, and what is around it.
LEASE_S: Final = 60.0

#: Attempts at once, by one deliverer. They wait for others most of the time.
SLOTS: Final = 16

#: Attempts at once to one endpoint, by one deliverer, so that a slow one leaves slots to others.
PER_ENDPOINT: Final = 4

#: How long an idle deliverer waits before it looks again, seconds. A notice of new messages only makes it sooner.
POLL_S: Final = 1.0

#: How long attempts may go on after the deliverer was told to stop, seconds; then they are left to the next.
GRACE_S: Final = 5.0

#: A body is smaller than this. It says what happened and where to read more, not all that there is to know.
MAX_BODY_BYTES: Final = 20_000


class Deliverer:
    """Sends messages to endpoints. As many as one likes may do so at once, in any process."""

    def __init__(
        self,
        database: Database,
        egress: Egress | None = None,
        *,
        listener: Listener | None = None,
        lease_s: float = LEASE_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._database = database
        self._egress = egress or Egress()
        self._listener = listener
        self._lease_s = lease_s
        self._timeout_s = timeout_s
        self._running: dict[asyncio.Task[None], str] = {}

    async def serve(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; then finish what is under way, or leave it to others after five seconds."""
        try:
            while not stop.is_set():
                if not await self._take_on():
                    await self._wait(stop)
            if self._running:
                await asyncio.wait(self._running, timeout=GRACE_S)
        finally:
            unfinished = list(self._running)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)

    async def _take_on(self) -> bool:
        """Start what is due, as far as there are slots; whether there was any."""
        free = SLOTS - len(self._running)
        if free == 0:
            return False
        busy = [endpoint for endpoint, count in Counter(self._running.values()).items() if count >= PER_ENDPOINT]
        try:
            claimed = await claims.claim(self._database, most=free, each=PER_ENDPOINT, busy=busy, lease_s=self._lease_s)
        except DatabaseUnavailable:
            return False
        for claim in claimed:
            task = asyncio.create_task(self._deliver(claim))
            self._running[task] = claim.endpoint_id
            task.add_done_callback(self._ended)
        return bool(claimed)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled() and (fault := task.exception()) is not None:
            # It is sent again once the lease is over.
            _LOG.error("what came of a delivery could not be written down", exc_info=fault)

    async def _wait(self, stop: asyncio.Event) -> None:
        """Until there may be something to do, or nothing is wanted any more."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
        if self._listener is not None:
            waits.append(asyncio.create_task(self._listener.wait(DELIVERY_CHANNEL)))
        try:
            # One that ends makes room, perhaps for the same endpoint's next.
            await asyncio.wait({*waits, *self._running}, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _deliver(self, claim: Claim) -> None:
        outcome = await self._attempt(claim)
        # Not written down, it is sent again once the lease is over: twice, under the same id.
        with contextlib.suppress(DatabaseUnavailable):
            await claims.record(self._database, claim, outcome)

    async def _attempt(self, claim: Claim) -> Outcome:
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
