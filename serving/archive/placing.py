"""What an archive holds, as rows of the tenant that it is read by: under new ids, in one transaction a video."""

import asyncio
import zlib
from datetime import UTC, datetime
from typing import Final

import msgspec
import numpy as np
from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.base import Likelihood
from pipeline.indexing import Index, index_of
from pipeline.limits import MAX_SECONDS
from pipeline.report import Report, VideoInfo
from pipeline.tracks import Track
from serving.api.vocabulary_records import VocabularyRequest
from serving.archive.form import Archive, ArchivedLooks, ArchivedReport, ArchivedVideo
from serving.copies import keeping
from serving.db.copies import LOOKS_DIM
from serving.db.database import Database
from serving.db.media import Video
from serving.db.statements import execute
from serving.db.tagging import FoundTags
from serving.db.vocabularies import Vocabulary
from serving.db.work import Event, Job
from serving.errors import ArchiveRefused, ServerError
from serving.ids import new_id
from serving.jobs.features import feature_key
from serving.options import UploadOptions
from serving.search import writing
from serving.storage import reports as kept_reports
from serving.storage.store import Store
from serving.tagging.corrections import answer_so
from serving.tagging.deriving import labels_of, write_report_tags
from serving.tagging.due import learn_soon
from serving.uploads import minutes, receive
from serving.uploads.receive import Received, Stored
from serving.vocabularies import rows

#: Pixels: of all that any limit lets through, nothing has more in one direction.
_MAX_SIDE: Final = 1 << 30

_SAID: Final = text(
    """
    INSERT INTO correction (id, tenant_id, vocabulary_id, label, video_id, from_s, to_s, accepted, created_at,
        judged_at)
    VALUES (:id, :tenant, :vocabulary, :label, :video, :from_s, :to_s, :accepted, :judged_at, :judged_at)
    ON CONFLICT (video_id, origin, label, from_s, to_s) DO NOTHING
    """
)


class Placing:
    """Where what comes belongs."""

    def __init__(self, database: Database, store: Store, tenant: str, archive: Archive) -> None:
        self._database, self._store, self._tenant, self._archive = database, store, tenant, archive
        self._likelihoods = {one.space: Likelihood(scale=one.scale, bias=one.bias) for one in archive.spaces}
        self._vocabularies: dict[str, str] = {}
        """Id in the archive -> id here."""
        self._same: set[str] = set()
        """Ids here of those that have the labels that the archive has, and stand for the library as they do there."""
        self.made: list[str] = []
        """Names of vocabularies that came."""
        self.there: list[str] = []
        """Names of those that were there, and stay as they were."""

    async def begin(self) -> None:
        """Have its vocabularies be there. Raises ArchiveRefused: one is none."""
        for one in self._archive.vocabularies:
            query = select(Vocabulary).where(Vocabulary.tenant_id == self._tenant, Vocabulary.name == one.name)
            async with self._database.read(self._tenant) as session:
                row = (await session.exec(query)).one_or_none()
            if row is None:
                row = await self._made(one.name, one.description, one.labels, applied=one.applied)
                self.made.append(one.name)
            else:
                self.there.append(one.name)
            if labels_of(row) == one.labels and (row.applied_at is not None) == one.applied:
                self._same.add(row.id)
            self._vocabularies[one.id] = row.id

    async def _made(self, name: str, description: str, labels: object, *, applied: bool) -> Vocabulary:
        given = {"name": name, "description": description, "labels": msgspec.to_builtins(labels)}
        try:
            asked = msgspec.convert(given, VocabularyRequest)
            row = await rows.create(self._database, self._tenant, asked.name, asked.description, asked.labels)
        except (msgspec.ValidationError, ServerError) as error:
            if isinstance(error, ServerError) and error.retryable:
                raise
            raise ArchiveRefused(f"the vocabulary {name!r}: {error}") from error
        if applied:
            # What it found comes with the videos; those that are there are tagged when it is applied again.
            async with self._database.write("vocabulary.write", self._tenant) as session:
                row = await rows.find(session, self._tenant, row.id, lock=True)
                row.applied_at = datetime.now(UTC)
                session.add(row)
        return row

    async def place(
        self, video: ArchivedVideo, stored: Stored, reports: list[bytes], told_bytes: int, options: UploadOptions
    ) -> Received:
        """A video with all that is known of it. Where the tenant has its bytes already, nothing is written.

        Args:
            reports: as rows keep them, earliest first.
            told_bytes: of them, and of what else is told of it.

        Raises:
            ArchiveRefused: what is known of it cannot be.
            QuotaExceeded: the tenant may not keep so much, or nothing that is so long.
        """
        async with self._database.write("archive.import", self._tenant) as session:
            received = await receive.keep(
                session,
                self._store.keyring,
                self._tenant,
                stored,
                title=video.title,
                filename=video.filename,
                tenant_max_bytes=options.tenant_max_bytes,
                imported_bytes=told_bytes,
            )
            if received.created:
                await minutes.require_room(session, self._tenant, options.tenant_max_minutes)
                await self._fill(session, received.video, video, reports)
                # In the end, for jobs of the tenant wait from here on.
                long_s = received.video.duration_s or 0.0
                await minutes.require_fitting(session, self._tenant, long_s, options.tenant_max_minutes)
        return received

    async def _fill(self, session: AsyncSession, row: Video, video: ArchivedVideo, bodies: list[bytes]) -> None:
        row.labels, row.user_metadata = list(video.labels), video.user_metadata
        # It is as old as it was: rules of retention count from there.
        row.created_at = _past(video.created_at)
        latest: Report | None = None
        #: Space -> its latest report, as it is kept: one at a time is in memory as it is.
        spaces: dict[str | None, bytes] = {}
        for about, body in zip(video.reports, bodies, strict=True):
            latest = await asyncio.to_thread(_decoded, body)
            await self._report(session, row, about, latest, body)
            spaces.pop(_space(latest), None)
            spaces[_space(latest)] = body
        if latest is not None:
            info = latest.video
            _require_possible(video.id, info)
            row.status, row.duration_s = "analyzed", info.duration_s
            row.width, row.height, row.codec, row.container = info.width, info.height, info.codec, info.container
        session.add(row)
        await session.flush()
        await self._said(session, row, video)
        if latest is not None:
            await self._found_by(session, row, latest, list(spaces.values()))
        await self._tags(session, row, video)
        if video.looks is not None:
            looks = await asyncio.to_thread(_track, video.id, video.looks)
            await keeping.write_looks(session, self._tenant, row.id, looks)

    async def _report(
        self, session: AsyncSession, row: Video, about: ArchivedReport, report: Report, body: bytes
    ) -> None:
        """A report, with a job that made it: it was somebody else's, and is over."""
        job, at = new_id("job"), _past(about.created_at)
        key = feature_key(row.sha256, report.spec)
        counts = {"segments": len(report.segments), "shots": len(report.shots), "tags": len(report.tags)}
        session.add(
            Job(
                tenant_id=self._tenant,
                id=job,
                video_id=row.id,
                spec=msgspec.to_builtins(report.spec),
                feature_key=key,
                state="succeeded",
                attempt=1,
                event_number=1,
                created_at=at,
                started_at=at,
                finished_at=at,
            )
        )
        await session.flush()
        session.add(Event(tenant_id=self._tenant, job_id=job, number=1, kind="succeeded", data=counts, created_at=at))
        await kept_reports.keep(session, self._store.keyring, self._tenant, job, row.id, key, body, created_at=at)
        await session.flush()

    async def _said(self, session: AsyncSession, row: Video, video: ArchivedVideo) -> None:
        for one in video.corrections:
            vocabulary = self._here(video, one.vocabulary_id)
            await execute(
                session,
                _SAID,
                id=new_id("cor"),
                tenant=self._tenant,
                vocabulary=vocabulary,
                label=one.label,
                video=row.id,
                from_s=one.from_s,
                to_s=one.to_s,
                accepted=one.accepted,
                judged_at=_past(one.judged_at),
            )

    async def _found_by(self, session: AsyncSession, row: Video, latest: Report, bodies: list[bytes]) -> None:
        """What the latest report is found by, and the vectors of all spaces, as if each job had just succeeded."""
        await write_report_tags(session, self._tenant, row.id, latest)
        for body in bodies:
            index = await asyncio.to_thread(lambda body=body: self._index(_decoded(body)))
            if index is not None:
                await writing.write_vectors(session, self._tenant, row.id, index)
        await writing.write_segments_elsewhere(session, self._tenant, row.id, latest.segments, _space(latest))

    async def _tags(self, session: AsyncSession, row: Video, video: ArchivedVideo) -> None:
        found = {self._here(video, one.vocabulary_id): one for one in video.found_tags}
        said: dict[str | None, set[str]] = {}
        for one in video.corrections:
            said.setdefault(self._here(video, one.vocabulary_id), set()).add(one.label)
        for which in sorted(one for one in found.keys() | said.keys() if one is not None):
            vocabulary = await rows.find(session, self._tenant, which)
            tags = found.get(which)
            if tags is not None and which in self._same:
                session.add(
                    FoundTags(
                        video_id=row.id,
                        vocabulary_id=which,
                        tenant_id=self._tenant,
                        space=tags.space,
                        tags=msgspec.to_builtins(tags.tags),
                        stamp="",
                    )
                )
                await session.flush()
            await answer_so(session, self._store.keyring, self._tenant, row, vocabulary)
            for label in sorted(said.get(which, ())):
                await learn_soon(session, vocabulary, label)

    def _here(self, video: ArchivedVideo, vocabulary: str | None) -> str | None:
        if vocabulary is None:
            return None
        if vocabulary not in self._vocabularies:
            raise ArchiveRefused(f"{video.id}: it names a vocabulary that the archive has not")
        return self._vocabularies[vocabulary]

    def _index(self, report: Report) -> Index | None:
        likelihood = self._likelihoods.get(_space(report) or "")
        try:
            return None if likelihood is None else index_of(report, likelihood)
        except (ValueError, IndexError) as error:
            raise ArchiveRefused(f"a report whose vectors cannot be ({error})") from error


def _decoded(body: bytes) -> Report:
    return msgspec.json.decode(zlib.decompress(body), type=Report)


def _require_possible(video: str, info: VideoInfo) -> None:
    """Raises ArchiveRefused where a report says of its video what none says that was made of one."""
    if not 0 <= info.duration_s <= MAX_SECONDS:
        raise ArchiveRefused(f"{video}: {info.duration_s:g} s long; a video has 0 to {MAX_SECONDS}")
    if not (0 <= info.width <= _MAX_SIDE and 0 <= info.height <= _MAX_SIDE):
        raise ArchiveRefused(f"{video}: pictures of {info.width} x {info.height}; no side is beyond {_MAX_SIDE}")


def _space(report: Report) -> str | None:
    return None if report.features.embeddings is None else report.features.embeddings.space


def _past(at: datetime) -> datetime:
    """Nothing is from the future: it would be kept for longer than it may."""
    return min(at, datetime.now(UTC))


def _track(video: str, looks: ArchivedLooks) -> Track:
    """Raises ArchiveRefused where they are none."""
    try:
        halves = np.frombuffer(looks.float16, dtype="<f2").reshape(len(looks.pts_s), LOOKS_DIM)
        if not np.isfinite(halves).all():
            raise ValueError("they are not finite")
        return Track(halves.astype(np.float32), np.array(looks.pts_s, np.float64))
    except ValueError as error:
        raise ArchiveRefused(f"{video}: looks that cannot be ({error})") from error
