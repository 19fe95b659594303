"""Writes an archive as it is read: nothing of it is on a disk of the server as it is."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.report import Tag
from pipeline.tracks import Track
from serving.archive import tar
from serving.archive.form import (
    FIRST,
    FORMAT,
    LAST,
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENTS_BYTES,
    VERSION,
    Archive,
    ArchivedCorrection,
    ArchivedLooks,
    ArchivedReport,
    ArchivedSpace,
    ArchivedTags,
    ArchivedVideo,
    ArchivedVocabulary,
    End,
    Entry,
    VideoManifest,
    encoded,
    entry_of,
)
from serving.archive.held import of_tenant, of_video
from serving.copies.keeping import track_of
from serving.db.database import Database
from serving.db.media import Video
from serving.db.search import Space
from serving.db.tagging import Correction, FoundTags
from serving.db.vocabularies import Vocabulary
from serving.errors import NotFound, TooLarge
from serving.storage import reports
from serving.storage.store import Store, video_at
from serving.tagging.deriving import labels_of

#: Ids of videos that are looked up at once.
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class _Documents:
    """A video without its bytes."""

    entries: tuple[Entry, ...]
    contents: tuple[bytes, ...]
    """Of these entries."""
    media: Entry
    object_key: str
    key: bytes | None


async def export(database: Database, store: Store, tenant: str, video_id: str | None) -> AsyncIterator[bytes]:
    """An archive of one video, or of all that a tenant has. A video that is deleted meanwhile is left out.

    Raises, as it is read:
        NotFound: there is no such video.
        Altered: a video's bytes are not what was stored.
        TooLarge: a report is larger than one that is read back.
        OSError, MasterKeyMissing: see `Store.get`.
    """
    digest, count = hashlib.sha256(), 0
    if video_id is not None:
        async with database.read(tenant) as session:
            if (await session.exec(_video(tenant, video_id))).one_or_none() is None:
                raise NotFound("there is no such video")
    first = encoded(await _archive(database, store, tenant, video_id))
    digest.update(first)
    for chunk in _document(FIRST, first):
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
        for entry, content in zip(documents.entries, documents.contents, strict=True):
            for chunk in _document(f"{here}/{entry.name}", content):
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


async def _archive(database: Database, store: Store, tenant: str, video_id: str | None) -> Archive:
    async with database.read(tenant) as session:
        spaces = (await session.exec(select(Space).where(Space.tenant_id == tenant).order_by(Space.space))).all()
        query = select(Vocabulary).where(Vocabulary.tenant_id == tenant).order_by(Vocabulary.id)
        if video_id is not None:
            said = select(Correction.vocabulary_id).where(Correction.video_id == video_id)
            found = select(FoundTags.vocabulary_id).where(FoundTags.video_id == video_id)
            query = query.where(col(Vocabulary.id).in_(said) | col(Vocabulary.id).in_(found))
        vocabularies = (await session.exec(query)).all()
        held = None if video_id is not None else await of_tenant(session, store.keyring, tenant)
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
        tenant=msgspec.Raw(msgspec.json.encode(held)),
    )


async def _documents(database: Database, store: Store, tenant: str, video_id: str) -> _Documents | None:
    """What is known of a video; None where it is gone."""
    async with database.read(tenant) as session:
        # Locked, so that it is not deleted meanwhile.
        video = (await session.exec(_video(tenant, video_id).with_for_update(read=True, key_share=True))).one_or_none()
        if video is None:
            return None
        key = await store.keyring.key_of(session, tenant, video.object_key)
        contents: list[tuple[str, bytes]] = []
        archived = []
        for number, (kept, at) in enumerate(await reports.all_of(session, store.keyring, tenant, video_id), 1):
            name = f"reports/{number:06}.json"
            contents.append((name, kept.json()))
            archived.append(ArchivedReport(name=name, job_id=kept.job_id, created_at=at))
        described = await _described(session, tenant, video, tuple(archived))
        held = await of_video(session, store.keyring, tenant, video_id)
    contents = [("video.json", encoded(described)), *contents, ("held.json", encoded(held))]
    sizes = [len(content) for _, content in contents]
    if max(sizes) > MAX_DOCUMENT_BYTES or sum(sizes) > MAX_DOCUMENTS_BYTES:
        raise TooLarge(
            f"{video_id}: its reports are more than an archive takes ({MAX_DOCUMENT_BYTES} bytes each, "
            f"{MAX_DOCUMENTS_BYTES} together)"
        )
    return _Documents(
        entries=tuple(entry_of(name, content) for name, content in contents),
        contents=tuple(content for _, content in contents),
        media=Entry(name="media", size_bytes=video.size_bytes, sha256=video.sha256),
        object_key=video.object_key,
        key=key,
    )


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


async def _described(
    session: AsyncSession, tenant: str, video: Video, reports: tuple[ArchivedReport, ...]
) -> ArchivedVideo:
    said = select(Correction).where(Correction.tenant_id == tenant, Correction.video_id == video.id)
    found = select(FoundTags).where(FoundTags.tenant_id == tenant, FoundTags.video_id == video.id)
    looks = await track_of(session, tenant, video.id)
    return ArchivedVideo(
        id=video.id,
        title=video.title,
        labels=tuple(video.labels),
        user_metadata=video.user_metadata,
        filename=video.filename,
        size_bytes=video.size_bytes,
        sha256=video.sha256,
        created_at=video.created_at,
        updated_at=video.updated_at,
        reports=reports,
        corrections=tuple(
            ArchivedCorrection(
                vocabulary_id=row.vocabulary_id,
                label=row.label,
                from_s=row.from_s,
                to_s=row.to_s,
                accepted=row.accepted,
                judged_at=row.judged_at,
            )
            for row in (await session.exec(said.order_by(col(Correction.judged_at), col(Correction.id)))).all()
        ),
        found_tags=tuple(
            ArchivedTags(
                vocabulary_id=row.vocabulary_id, space=row.space, tags=msgspec.convert(row.tags, tuple[Tag, ...])
            )
            for row in (await session.exec(found.order_by(FoundTags.vocabulary_id))).all()
        ),
        looks=None if looks is None else _looks(looks),
    )


def _looks(track: Track) -> ArchivedLooks:
    return ArchivedLooks(pts_s=tuple(track.pts_s.tolist()), float16=track.vectors.astype(np.dtype("<f2")).tobytes())
