"""Looks for the copies of videos that were analysed: takes on what is due, one at a time, behind the jobs."""

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pipeline import copies
from pipeline.tracks import Track
from serving.claiming import Bounds, Claimer, notices, told
from serving.copies import claims
from serving.copies.claims import Claim
from serving.copies.keeping import COPIES_CHANNEL, track_of
from serving.copies.neighbours import GraphMissing, neighbours
from serving.copies.pairs import Found
from serving.db.database import Database
from serving.errors import DatabaseUnavailable, LeaseLost
from serving.jobs.listening import Listener

_LOG = logging.getLogger(__name__)

#: How long a finder may be silent before its video is anybody's, seconds.
LEASE_S: Final = 60.0

#: One video at a time, of each worker: it takes milliseconds to seconds, and nobody waits for it.
BOUNDS: Final = Bounds(slots=1, per_owner=1)

#: How long a video is put off that can be looked for by a graph only, seconds: workers make one meanwhile.
_GRAPH_WAIT_S: Final = 60.0

#: Nice value of the thread that computes: the frames of jobs go first.
_NICE: Final = 10


class Finder:
    """Looks for copies. As many as one likes may do so at once, in any process."""

    def __init__(self, database: Database, *, listener: Listener | None = None, lease_s: float = LEASE_S) -> None:
        """`listener`: hears `COPIES_CHANNEL`."""
        self._database, self._listener, self._lease_s = database, listener, lease_s
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="copies", initializer=_behind_others)

    async def serve(self, stop: asyncio.Event) -> None:
        """Look until `stop` is set; what takes longer than five seconds then is given back, and begun anew by the
        next."""
        try:
            await Claimer(self, BOUNDS, notices(self._listener, COPIES_CHANNEL)).serve(stop)
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def claim(self, most: int, busy: Sequence[str]) -> list[Claim]:
        """See `Claims.claim`."""
        each = BOUNDS.per_owner
        return await claims.claim(self._database, most=most, each=each, busy=busy, lease_s=self._lease_s)

    def owner(self, claim: Claim, /) -> str:
        """See `Claims.owner`."""
        return claim.tenant_id

    async def work(self, claim: Claim, /) -> None:
        """See `Claims.work`."""
        try:
            if claim.attempt > claims.MOST_ATTEMPTS:
                _LOG.error("copies of %s are not looked for: nobody who began to was heard of again", claim.video_id)
                await claims.give_up(self._database, claim)
            else:
                finding = find(self._database, claim.tenant_id, claim.video_id, self._pool)
                await claims.record(self._database, claim, await told(finding, self._tell(claim)))
        except asyncio.CancelledError:
            # If that fails, too, it is somebody's once the lease is over.
            with contextlib.suppress(DatabaseUnavailable):
                await claims.give_back(self._database, claim)
            raise
        except LeaseLost as error:
            _LOG.info("%s", error)
        except GraphMissing as error:
            _LOG.info("copies of %s are looked for later: %s", claim.video_id, error)
            # If that fails, its lease is as long a wait.
            with contextlib.suppress(DatabaseUnavailable):
                await claims.give_back(self._database, claim, _GRAPH_WAIT_S)
        except DatabaseUnavailable:
            _LOG.info("%s is left until its lease is over: the database cannot be reached", claim.video_id)

    async def _tell(self, claim: Claim) -> None:
        """Until it is canceled. Raises LeaseLost."""
        while True:
            await asyncio.sleep(self._lease_s / 4)
            # Whoever has it by the time the database is back is found out by the next.
            with contextlib.suppress(DatabaseUnavailable):
                await claims.renew(self._database, claim, self._lease_s)


async def find(database: Database, tenant: str, video: str, pool: ThreadPoolExecutor) -> list[Found]:
    """The videos of a tenant that share stretches with one of them, most shared moments first.

    Args:
        pool: where is computed.

    Raises:
        LeaseLost: the video is gone.
        GraphMissing: there are too many looks to do without a graph.
    """
    loop = asyncio.get_running_loop()
    async with database.read(tenant) as session:
        track = await track_of(session, tenant, video)
    if track is None:
        raise LeaseLost(f"{video} is gone")
    hits, names = await neighbours(database, tenant, video, track, pool)
    likely = await loop.run_in_executor(pool, copies.candidates, track, hits)
    tracks: dict[int, Track] = {}
    for one in likely:
        async with database.read(tenant) as session:
            other = await track_of(session, tenant, names[one.video])
        if other is not None:
            tracks[one.video] = other
    # What was deleted meanwhile is a copy of nothing.
    there = [one for one in likely if one.video in tracks]
    shared = await loop.run_in_executor(pool, copies.aligned, track, there, tracks.__getitem__)
    return [Found(video_id=names[one.video], shared=one) for one in shared]


def _behind_others() -> None:
    """Has the thread that calls this run behind all that is not nice, where the system knows threads by number."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
