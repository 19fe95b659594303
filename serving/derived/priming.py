"""Makes what players and pages ask for first, of videos that somebody has just worked on: so that who plays one then
does not wait until all of it was read."""

import asyncio
import contextlib
import logging
from typing import Final

from sqlmodel import col, select

from pipeline.errors import UnsupportedCodec, VideoError
from pipeline.report import Report
from serving.db.database import Database
from serving.db.media import Video
from serving.db.playback import Rendition
from serving.derived.shelf import Shelf, Source
from serving.errors import ServerError
from serving.pictures.pictures import Pictures
from serving.playback.hls import Hls
from serving.settings import Settings
from serving.storage import reports
from serving.storage.store import Store

_LOG = logging.getLogger(__name__)

#: Videos that wait for it at most, of one worker: of more, it is made when somebody asks for it.
MOST_WAITING: Final = 1000

#: Bytes from which a video is worth it. Reading one of fewer takes a tenth of a second, a process to do so ten times as
#: much: a worker with many short ones would do little else.
LEAST_BYTES: Final = 64 << 20


class Primer:
    """Of one worker; one video at a time, behind the jobs, which do not wait for it."""

    def __init__(self, database: Database, store: Store, settings: Settings) -> None:
        self._database, self._store, self._settings = database, store, settings
        self._shelf = Shelf(database, store.keyring)
        self._waiting: asyncio.Queue[tuple[str, str]] = asyncio.Queue(MOST_WAITING)

    def due(self, tenant_id: str, video_id: str) -> None:
        """A video has something new to be shown. What waits when the process ends is forgotten: it costs whoever asks
        first what it cost before."""
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait((tenant_id, video_id))

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        working = asyncio.create_task(self._work())
        try:
            await stop.wait()
        finally:
            working.cancel()
            await asyncio.wait({working})

    async def _work(self) -> None:
        while True:
            tenant_id, video_id = await self._waiting.get()
            try:
                await self.prime(tenant_id, video_id)
            except (OSError, ServerError, VideoError) as error:
                _LOG.info("%s: what is shown first is made when it is asked for: %s", video_id, error)
            except Exception:  # noqa: BLE001 - a fault of ours costs this video some seconds, and no other anything
                _LOG.exception("%s: what is shown first cannot be made", video_id)

    async def prime(self, tenant_id: str, video_id: str) -> None:
        """Have it kept, where it is not: of what HLS plays, what it is made of; of the video, where its frames are, its
        poster and its storyboard. Nothing where the video is small, or gone.

        Raises:
            VideoError, ServerError, OSError: it cannot be made now.
        """
        found = await self._sources(tenant_id, video_id)
        if found is None:
            return
        original, played, report = found
        # Their processes and memory go at once: a worker needs both for jobs.
        hls = Hls(self._store, self._shelf, self._settings)
        pictures = Pictures(self._store, self._shelf, self._settings)
        try:
            # Where browsers do not play it, that is known then, too.
            with contextlib.suppress(UnsupportedCodec):
                await hls.cut(played)

            async def known() -> Report | None:
                return None if report is None else await asyncio.to_thread(report.report)

            await pictures.choice(original, known, "" if report is None else report.job_id)
            await pictures.sheet(original, 0)
        finally:
            await asyncio.to_thread(_close, hls, pictures)

    async def _sources(self, tenant_id: str, video_id: str) -> tuple[Source, Source, reports.KeptReport | None] | None:
        """(its bytes, those that HLS plays, its latest report); None where it is not worth it."""
        query = (
            select(Video.object_key, Video.size_bytes, Rendition.object_key, Rendition.size_bytes)
            .outerjoin(Rendition, (col(Rendition.video_id) == col(Video.id)) & (col(Rendition.state) == "done"))
            .where(Video.tenant_id == tenant_id, Video.id == video_id)
        )
        async with self._database.read(tenant_id) as session:
            row = (await session.exec(query)).one_or_none()
            if row is None or max(row[1], row[3] or 0) < LEAST_BYTES:
                return None
            object_key, played = row[0], row[2] or row[0]
            keys = await self._store.keyring.keys_of(session, tenant_id, [object_key, played])
            report = await reports.latest(session, self._store.keyring, tenant_id, video_id)
        original, served = (Source(tenant_id, video_id, key, keys.get(key)) for key in (object_key, played))
        return original, served, report


def _close(hls: Hls, pictures: Pictures) -> None:
    hls.close()
    pictures.close()
