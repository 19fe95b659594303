"""Fetches videos from where they are: takes on what is due, reads it, and makes a video of it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.errors import VideoError
from serving.claiming import Bounds, Claimer, notices, told
from serving.db.database import Database
from serving.egress import Egress
from serving.errors import (
    AddressRefused,
    DatabaseUnavailable,
    FetchFailed,
    LeaseLost,
    MasterKeyMissing,
    QuotaExceeded,
    StorageUnavailable,
)
from serving.fetching import claims
from serving.fetching.claims import Claim
from serving.fetching.names import name_of
from serving.fetching.requests import FETCH_CHANNEL
from serving.jobs.listening import Listener
from serving.options import UploadOptions
from serving.storage.store import Store
from serving.uploads import quota, receive
from serving.uploads.receive import Stored

_LOG = logging.getLogger(__name__)

#: How long a fetcher may be silent before its uploads are anybody's, seconds.
LEASE_S: Final = 30.0

#: How often it says how far it is, and hears whether somebody canceled it, seconds.
TELL_S: Final = 1.0

#: Videos at once, by one fetcher, and of one tenant. They share this machine's line and disk.
BOUNDS: Final = Bounds(slots=4, per_owner=2)

#: Attempts that are told of, and those of fetchers that died over them besides.
_MOST_ATTEMPTS: Final = len(claims.RETRY_AFTER_S) + 1


@dataclass(slots=True)
class _Progress:
    received_bytes: int = 0
    size_bytes: int | None = None


class Fetcher:
    """Fetches uploads. As many as one likes may do so at once, in any process."""

    def __init__(
        self,
        database: Database,
        store: Store,
        options: UploadOptions,
        egress: Egress | None = None,
        *,
        listener: Listener | None = None,
        lease_s: float = LEASE_S,
    ) -> None:
        self._database, self._store, self._options = database, store, options
        self._egress = egress or Egress()
        self._listener = listener
        self._lease_s = lease_s

    async def serve(self, stop: asyncio.Event) -> None:
        """Fetch until `stop` is set; what takes longer than five seconds then is given back, and begun anew by the
        next."""
        await Claimer(self, BOUNDS, notices(self._listener, FETCH_CHANNEL)).serve(stop)

    async def claim(self, most: int, busy: Sequence[str]) -> list[Claim]:
        """See `Claims.claim`."""
        limits = {"most": most, "each": BOUNDS.per_owner}
        return await claims.claim(self._database, self._store.keyring, **limits, busy=busy, lease_s=self._lease_s)

    def owner(self, claim: Claim, /) -> str:
        """See `Claims.owner`."""
        return claim.tenant_id

    async def work(self, claim: Claim, /) -> None:
        """See `Claims.work`."""
        try:
            await self._see_through(claim)
        except asyncio.CancelledError:
            # If that fails, too, it is somebody's once the lease is over.
            with contextlib.suppress(DatabaseUnavailable):
                await claims.give_back(self._database, claim)
            raise
        except LeaseLost as error:
            _LOG.info("%s", error)
        except DatabaseUnavailable:
            _LOG.info("%s is left until its lease is over: the database cannot be reached", claim.id)

    async def _see_through(self, claim: Claim) -> None:
        """All of it, whatever comes of it."""
        if claim.attempt > _MOST_ATTEMPTS:
            died = FetchFailed("everybody who began to fetch it was not heard of again", retryable=False)
            await claims.record(self._database, claim, died, again=False)
            return
        try:
            stored, name = await self._told(claim)
            await claims.keep(self._database, self._store, claim, stored, name, self._options.tenant_max_bytes)
        except FetchFailed as error:
            await claims.record(self._database, claim, error, again=error.retryable, after_s=error.after_s)
        except (MasterKeyMissing, StorageUnavailable) as error:
            _LOG.warning("%s is not fetched yet: %s", claim.id, error)
            await claims.record(self._database, claim, error, again=True)
        except (AddressRefused, QuotaExceeded, VideoError) as error:
            await claims.record(self._database, claim, error, again=False)

    async def _told(self, claim: Claim) -> tuple[Stored, str | None]:
        """Fetch it, and say meanwhile how far that is. Raises as `_fetched`, and LeaseLost."""
        progress = _Progress()
        return await told(self._fetched(claim, progress), self._tell(claim, progress))

    async def _tell(self, claim: Claim, progress: _Progress) -> None:
        """Until it is canceled. Raises LeaseLost."""
        while True:
            await asyncio.sleep(TELL_S)
            # Whoever has it by the time the database is back is found out by the next.
            with contextlib.suppress(DatabaseUnavailable):
                await claims.renew(self._database, claim, progress.received_bytes, progress.size_bytes, self._lease_s)

    async def _fetched(self, claim: Claim, progress: _Progress) -> tuple[Stored, str | None]:
        """The object, and what it is called.

        Raises:
            AddressRefused: the address is not one that this server goes to, or leads to one that is not.
            FetchFailed: it cannot be read, or is too much.
            QuotaExceeded: it is more than the tenant may keep.
            Altered: the address is not what was kept of it.
            UnsupportedContainer: it does not begin as any video does.
        """
        limits = self._options
        if isinstance(claim.url, VideoError):
            raise claim.url
        async with self._database.read(claim.tenant_id) as session:
            room_bytes = await quota.room_bytes(session, claim.tenant_id, limits.tenant_max_bytes)
        fetching = self._egress.fetch(claim.url, max_bytes=limits.max_bytes, timeout_s=limits.fetch_timeout_s)
        async with fetching as fetched:
            length = fetched.headers.get("content-length", "")
            progress.size_bytes = int(length) if length.isascii() and length.isdigit() else None
            quota.require_within(progress.size_bytes or 0, room_bytes)
            name = claim.filename or name_of(fetched.url, fetched.headers)
            stored = await receive.put(
                self._store, claim.tenant_id, _counted(fetched.chunks, progress, room_bytes), name
            )
        return stored, name


async def _counted(chunks: AsyncIterator[bytes], progress: _Progress, room_bytes: int | None) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        progress.received_bytes += len(chunk)
        quota.require_within(progress.received_bytes, room_bytes)
        yield chunk
