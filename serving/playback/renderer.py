"""Encodes videos anew that browsers do not play: takes on what is due, one at a time, behind the jobs. What comes of it
is sealed while it is made; nothing of it touches a disk as it is."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Sequence
from typing import Final

from pipeline.errors import VideoError
from pipeline.rendition.encoding import Encoded
from serving.claiming import Bounds, Claimer, notices, told
from serving.db.database import Database
from serving.derived.priming import Primer
from serving.errors import (
    DatabaseUnavailable,
    LeaseLost,
    MasterKeyMissing,
    QuotaExceeded,
    StorageFull,
    StorageUnavailable,
)
from serving.jobs.listening import Listener
from serving.playback import renditions
from serving.playback.encoder import Encoder, Ended
from serving.playback.fronting import put_behind
from serving.playback.renditions import RENDITION_CHANNEL, Claim
from serving.settings import Settings
from serving.storage.opening import opened
from serving.storage.store import Store
from serving.uploads import minutes, quota

_LOG = logging.getLogger(__name__)

#: How long a renderer may be silent before its video is anybody's, seconds.
LEASE_S: Final = 60.0

#: One video at a time, of each worker: it takes about as long as the video is.
BOUNDS: Final = Bounds(slots=1, per_owner=1)

#: Pieces that wait to be sealed at most.
_AHEAD: Final = 4

#: How long it is left alone when the store or something else that it needs is away, seconds.
AWAY_S: Final = 60.0

#: How long the database is left alone that could not be told so, seconds.
_AGAIN_S: Final = 5.0


#: How long encoding may take: this, and so many times as long as the video is, seconds. A worker encodes one video at a
#: time, so that one without an end would keep all others waiting; far more than large videos take beside busy jobs.
MOST_S: Final = 600.0
MOST_TIMES: Final = 20.0

#: And how long it may take, however long the video is. Nothing names what is written until it is whole: were it older
#: than `cleaning.ORPHANED_S`, the sweep would delete it while it is copied.
MOST_EVER_S: Final = 80_000.0


#: What is told of what else was the matter. Where, and what it was, is in the log.
_FAULTY: Final = (
    "the server could not read or write what it needs for it, or had no room, as often as it tried for a day"
)


class _TooLong(Exception):
    """Encoding took longer than it may."""


class Renderer:
    """Encodes. As many as one likes may do so at once, in any process."""

    def __init__(
        self,
        database: Database,
        store: Store,
        settings: Settings,
        *,
        listener: Listener | None = None,
        primer: Primer | None = None,
    ) -> None:
        """
        Args:
            listener: hears `RENDITION_CHANNEL`.
            primer: is told of videos that have a rendition.
        """
        self._primer = primer
        self._database, self._store, self._settings, self._listener = database, store, settings, listener
        self._encoder = Encoder(settings)

    async def serve(self, stop: asyncio.Event) -> None:
        """Encode until `stop` is set; what takes longer than five seconds then is given back, and begun anew by the
        next."""
        try:
            await Claimer(self, BOUNDS, notices(self._listener, RENDITION_CHANNEL)).serve(stop)
        finally:
            self._encoder.close()

    async def claim(self, most: int, busy: Sequence[str]) -> list[Claim]:
        """See `Claims.claim`."""
        return await renditions.claim(self._database, most=most, busy=busy, lease_s=LEASE_S)

    def owner(self, claim: Claim, /) -> str:
        """See `Claims.owner`."""
        return claim.tenant_id

    async def work(self, claim: Claim, /) -> None:
        """See `Claims.work`."""
        try:
            if claim.attempt > renditions.MOST_ATTEMPTS:
                await renditions.fail(
                    self._database, claim, "quarantined", "nobody who began to encode it was heard of again"
                )
            else:
                await told(self._render(claim), self._tell(claim))
        except asyncio.CancelledError:
            # If that fails, too, it is somebody's once the lease is over.
            with contextlib.suppress(DatabaseUnavailable):
                await renditions.give_back(self._database, claim)
            raise
        except LeaseLost as error:
            _LOG.info("%s", error)
        except (DatabaseUnavailable, MasterKeyMissing, StorageUnavailable) as error:
            # Nothing is wrong with the video: it is begun anew once that is there.
            _LOG.warning("%s is encoded later: %s: %s", claim.video_id, type(error).__name__, error)
            await self._left(claim)
        except OSError as error:
            # Nor is there here; but that may never be otherwise, as where the disk is full because of the video.
            _LOG.warning("%s is perhaps encoded later: %s: %s", claim.video_id, type(error).__name__, error)
            code = error.code if isinstance(error, StorageFull) else StorageUnavailable.code
            await self._settled(claim, renditions.fault(self._database, claim, code, _FAULTY))
        except _TooLong as error:
            await self._failed(claim, "deadline_exceeded", str(error))
        except (VideoError, QuotaExceeded) as error:
            await self._failed(claim, error.code, str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours costs this video its rendition, and no other anything
            _LOG.exception("%s cannot be encoded", claim.video_id)
            await self._failed(claim, "internal_error", f"a fault of the server: {type(error).__name__}")

    async def _left(self, claim: Claim) -> None:
        """Give it back, once the database can be reached: left to its lease, it would be an attempt."""
        while True:
            try:
                await renditions.give_back(self._database, claim, AWAY_S)
            except DatabaseUnavailable:
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def _failed(self, claim: Claim, code: str, detail: str) -> None:
        await self._settled(claim, renditions.fail(self._database, claim, code, detail))

    async def _settled(self, claim: Claim, told: Awaitable[None]) -> None:
        try:
            await told
        except LeaseLost as error:
            _LOG.info("%s", error)
        except DatabaseUnavailable:
            await self._left(claim)

    async def _render(self, claim: Claim) -> None:
        done: asyncio.Future[Encoded] | None = None
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        over = threading.Event()
        tenant_max_bytes = self._settings.upload.tenant_max_bytes
        async with self._database.read(claim.tenant_id) as session:
            room_bytes = await quota.room_bytes(session, claim.tenant_id, tenant_max_bytes)

        def write(piece: bytes) -> None:
            if over.is_set():
                raise Ended
            asyncio.run_coroutine_threadsafe(pieces.put(piece), loop).result()

        async def coming() -> AsyncGenerator[bytes]:
            assert done is not None
            done.add_done_callback(lambda _: asyncio.ensure_future(pieces.put(None)))
            size = 0
            while (piece := await pieces.get()) is not None:
                size += len(piece)
                quota.require_within(size, room_bytes)
                yield piece
            # What went wrong leaves no object.
            await done

        def head() -> bytes:
            assert done is not None
            return done.result().head

        ends = loop.time() + MOST_EVER_S
        deadline = asyncio.timeout_at(ends)

        async def measure(duration_s: float) -> None:
            await self._measured(claim, duration_s)
            if not over.is_set():
                deadline.reschedule(min(ends, loop.time() + MOST_S + MOST_TIMES * duration_s))

        def measured(duration_s: float) -> None:
            asyncio.run_coroutine_threadsafe(measure(duration_s), loop).result()

        async with opened(self._database, self._store, claim.tenant_id, claim.object_key) as file:
            done = self._encoder.begin(file, claim.video_id, measured, write, over)
            try:
                async with deadline:
                    object_key, written = await put_behind(self._store, claim.tenant_id, coming(), head)
            except TimeoutError as error:
                if not deadline.expired():
                    raise
                most = f"{MOST_S:g} s and {MOST_TIMES:g} times its length, and {MOST_EVER_S / 3600:.0f} hours"
                raise _TooLong(f"not encoded within {most}, which is what it may take") from error
            finally:
                over.set()
                while not done.done():
                    # Whoever waits to hand on a piece is let go.
                    with contextlib.suppress(asyncio.QueueEmpty):
                        pieces.get_nowait()
                    await asyncio.wait({done}, timeout=0.05)
                # It is known, or nobody wants to know it.
                done.exception()
        try:
            values = (object_key, written, done.result(), tenant_max_bytes)
            await renditions.record(self._database, self._store.keyring, claim, *values)
        except (LeaseLost, QuotaExceeded):
            # Nothing was written, for sure. After all else it may have been, though nobody heard of it: whether
            # anything names the object, the sweep finds out.
            await self._store.delete(object_key)
            raise
        if self._primer is not None:
            self._primer.due(claim.tenant_id, claim.video_id)

    async def _measured(self, claim: Claim, duration_s: float) -> None:
        """Write down how long it is, as a job does. Raises QuotaExceeded: it is more than the tenant may keep."""
        most = self._settings.upload.tenant_max_minutes
        async with self._database.write("rendition.write", claim.tenant_id) as session:
            refused = await minutes.measured(session, claim.tenant_id, claim.video_id, duration_s, most)
        if refused is not None:
            raise refused

    async def _tell(self, claim: Claim) -> None:
        """Until it is canceled. Raises LeaseLost."""
        while True:
            await asyncio.sleep(LEASE_S / 4)
            # Whoever has it by the time the database is back is found out by the next.
            with contextlib.suppress(DatabaseUnavailable):
                await renditions.renew(self._database, claim, LEASE_S)
