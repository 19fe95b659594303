"""Writes an archive as it is read: nothing of it is on a disk of the server as it is."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlmodel import col, select

from pipeline.errors import InputNotFound
from serving.archive import tar
from serving.archive.describing import described_video
from serving.archive.form import (
    FIRST,
    FORMAT,
    LAST,
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENTS_BYTES,
    VERSION,
    Archive,
    ArchivedReport,
    ArchivedSpace,
    ArchivedVocabulary,
    End,
    Entry,
    VideoManifest,
    encoded,
    entry_of,
    part_name,
    report_name,
)
from serving.archive.held import of_tenant, of_video
from serving.db.database import Database
from serving.db.media import Video
from serving.db.search import Space
from serving.db.tagging import Correction, FoundTags
from serving.db.vocabularies import Vocabulary
from serving.errors import NotFound, TooLarge
from serving.storage import reports
from serving.storage.reports import KeptReport
from serving.storage.store import Store, video_at
from serving.tagging.deriving import labels_of

#: Ids of videos that are looked up at once.
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class _Documents:
    """A video without its bytes."""

    entries: tuple[Entry, ...]
    described: bytes
    """The first of these."""
    jobs: tuple[str, ...]
    """Whose reports come then: read again one by one, for all of them may be more than there is memory."""
    held: bytes
    """The last one."""
    media: Entry
    object_key: str
    key: bytes | None


async def export(database: Database, store: Store, tenant: str, video_id: str | None) -> AsyncIterator[bytes]:
    """An archive of one video, or of all that a tenant has. A video that is deleted meanwhile is left out.

    Raises, as it is read:
        NotFound: there is no such video.
        Altered: a video's bytes are not what was stored.
        TooLarge: a report is larger than one that is read back.
        InputNotFound: a video was deleted while it was handed out.
        OSError, MasterKeyMissing: see `Store.get`.
    """
    digest, count = hashlib.sha256(), 0
    if video_id is not None:
        async with database.read(tenant) as session:
            if (await session.exec(_video(tenant, video_id))).one_or_none() is None:
                raise NotFound("there is no such video")
    first = encoded(await _archive(database, tenant, video_id))
    digest.update(first)
    for chunk in _document(FIRST, first):
        yield chunk
    if video_id is None:
        number = 0
        async for held in of_tenant(database, store.keyring, tenant):
            number, part = number + 1, encoded(held)
            digest.update(part)
            for chunk in _document(part_name(number), part):
                yield chunk
    async for one in _ids(database, tenant, video_id):
        documents = await _documents(database, store, tenant, one)
        if documents is None:
            continue
        media = await _opened(store, tenant, documents)
        entries = documents.entries if media is None else (*documents.entries, documents.media)
        here, manifest = f"videos/{one}", encoded(VideoManifest(id=one, entries=entries))
        digest.update(manifest)
        count += 1
        for chunk in _document(f"{here}/manifest.json", manifest):
            yield chunk
        first, *reported, last = documents.entries
        for chunk in _document(f"{here}/{first.name}", documents.described):
            yield chunk
        for entry, job in zip(reported, documents.jobs, strict=True):
            yield tar.header(f"{here}/{entry.name}", entry.size_bytes)
            async for chunk in _report(database, store, tenant, job):
                yield chunk
            yield tar.padding(entry.size_bytes)
        for chunk in _document(f"{here}/{last.name}", documents.held):
            yield chunk
        if media is not None:
            yield tar.header(f"{here}/media", documents.media.size_bytes)
            async for chunk in media:
                yield chunk
            yield tar.padding(documents.media.size_bytes)
    for chunk in _document(LAST, encoded(End(videos=count, sha256=digest.hexdigest()))):
        yield chunk
    yield tar.END


def _document(name: str, content: bytes) -> tuple[bytes, ...]:
    return tar.header(name, len(content)), content, tar.padding(len(content))


def _video(tenant: str, video_id: str) -> Any:
    return select(Video).where(Video.tenant_id == tenant, Video.id == video_id)


async def _ids(database: Database, tenant: str, video_id: str | None) -> AsyncIterator[str]:
    if video_id is not None:
        yield video_id
        return
    after = ""
    while True:
        query = select(Video.id).where(Video.tenant_id == tenant, Video.id > after).order_by(Video.id).limit(_AT_ONCE)
        async with database.read(tenant) as session:
            found = (await session.exec(query)).all()
        for one in found:
            yield one
        if len(found) < _AT_ONCE:
            return
        after = found[-1]


async def _archive(database: Database, tenant: str, video_id: str | None) -> Archive:
    async with database.read(tenant) as session:
        spaces = (await session.exec(select(Space).where(Space.tenant_id == tenant).order_by(Space.space))).all()
        query = select(Vocabulary).where(Vocabulary.tenant_id == tenant).order_by(Vocabulary.id)
        if video_id is not None:
            said = select(Correction.vocabulary_id).where(Correction.video_id == video_id)
            found = select(FoundTags.vocabulary_id).where(FoundTags.video_id == video_id)
            query = query.where(col(Vocabulary.id).in_(said) | col(Vocabulary.id).in_(found))
        vocabularies = (await session.exec(query)).all()
    return Archive(
        format=FORMAT,
        version=VERSION,
        kind="tenant" if video_id is None else "video",
        created_at=datetime.now(UTC),
        tenant_id=tenant,
        spaces=tuple(
            ArchivedSpace(
                space=row.space, dim=row.dim, model=row.model, scale=row.scale, bias=row.bias, state=row.state
            )
            for row in spaces
        ),
        vocabularies=tuple(
            ArchivedVocabulary(
                id=row.id,
                name=row.name,
                description=row.description,
                labels=labels_of(row),
                applied=row.applied_at is not None,
            )
            for row in vocabularies
        ),
    )


async def _documents(database: Database, store: Store, tenant: str, video_id: str) -> _Documents | None:
    """What is known of a video; None where it is gone."""
    async with database.read(tenant) as session:
        # Locked, so that it is not deleted meanwhile.
        video = (await session.exec(_video(tenant, video_id).with_for_update(read=True, key_share=True))).one_or_none()
        if video is None:
            return None
        key = await store.keyring.key_of(session, tenant, video.object_key)
        kept = await reports.of_video(session, tenant, video_id)
        # Compressed they are no larger than as they are, but for some bytes: what is too much is not even read.
        _require_taken(video_id, [size for _, _, size in kept])
        entries, archived = [], []
        for number, (job, at, _) in enumerate(kept, 1):
            found = await reports.of_job(session, store.keyring, tenant, job)
            if found is None:
                raise InputNotFound(f"{video_id}: a report was deleted while it was handed out")
            entries.append(await asyncio.to_thread(_entry, report_name(number), found))
            archived.append(ArchivedReport(name=entries[-1].name, job_id=job, created_at=at))
        described = encoded(await described_video(session, tenant, video, tuple(archived)))
        held = encoded(await of_video(session, store.keyring, tenant, video_id))
    entries = [entry_of("video.json", described), *entries, entry_of("held.json", held)]
    _require_taken(video_id, [entry.size_bytes for entry in entries])
    return _Documents(
        entries=tuple(entries),
        described=described,
        jobs=tuple(job for job, _, _ in kept),
        held=held,
        media=Entry(name="media", size_bytes=video.size_bytes, sha256=video.sha256),
        object_key=video.object_key,
        key=key,
    )


def _require_taken(video_id: str, sizes: Sequence[int]) -> None:
    """Raises TooLarge where documents of these sizes are not read back."""
    if max(sizes, default=0) > MAX_DOCUMENT_BYTES or sum(sizes) > MAX_DOCUMENTS_BYTES:
        raise TooLarge(
            f"{video_id}: its reports are more than an archive takes ({MAX_DOCUMENT_BYTES} bytes each, "
            f"{MAX_DOCUMENTS_BYTES} together)"
        )


def _entry(name: str, kept: KeptReport) -> Entry:
    digest, size = hashlib.sha256(), 0
    for piece in kept.pieces():
        digest.update(piece)
        size += len(piece)
        if size > MAX_DOCUMENT_BYTES:
            raise TooLarge(f"{name}: more than the {MAX_DOCUMENT_BYTES} bytes that an archive takes of a report")
    return Entry(name=name, size_bytes=size, sha256=digest.hexdigest())


async def _report(database: Database, store: Store, tenant: str, job: str) -> AsyncIterator[bytes]:
    """A report, in pieces; while whoever asked for them is slow, it is in memory as it is kept."""
    async with database.read(tenant) as session:
        kept = await reports.of_job(session, store.keyring, tenant, job)
    if kept is None:
        raise InputNotFound("the video was deleted while it was handed out")
    pieces = kept.pieces()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


async def _opened(store: Store, tenant: str, documents: _Documents) -> AsyncIterator[bytes] | None:
    """A video's bytes; None where they are lost: what is known of it is handed out all the same."""
    chunks = store.get(video_at(tenant, documents.object_key), documents.key)
    try:
        first = await anext(chunks, b"")
    except FileNotFoundError:
        return None

    async def all_of_it() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_of_it()
