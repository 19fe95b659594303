"""Reads an archive as it comes: a video at a time, proved by its hashes before a row names it, and sealed with new
keys. Whoever wrote the archive may be anybody: nothing of it is taken for more than what it is checked to be.
"""

import asyncio
import hashlib
import re
import zlib
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
from sqlmodel import select

from pipeline.errors import VideoError
from pipeline.report import Report
from serving.api.metadata import require_modest
from serving.archive import tar
from serving.archive.bounds import require_bounded, require_plausible, require_tags
from serving.archive.form import (
    FIRST,
    FORMAT,
    LAST,
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENTS_BYTES,
    MAX_ENTRIES_BYTES,
    MAX_MANIFEST_BYTES,
    VERSION,
    VERSIONS,
    Archive,
    ArchivedVideo,
    End,
    Entry,
    Imported,
    VideoManifest,
    part_name,
    report_name,
)
from serving.archive.placing import Placing
from serving.db.database import Database
from serving.db.media import Video
from serving.errors import ArchiveRefused, InvalidRequest, TooLarge
from serving.options import UploadOptions
from serving.storage.store import Store
from serving.uploads import quota, receive

T = TypeVar("T")

_MANIFEST: Final = re.compile(r"videos/(vid_[0-9A-Za-z_]{1,60})/manifest\.json")


class _Told(msgspec.Struct):
    """Of a first manifest, what says whether the rest of it can be read."""

    format: str
    version: int


@dataclass(slots=True)
class Importing:
    """One archive on its way in."""

    database: Database
    store: Store
    options: UploadOptions
    tenant: str
    _digest: Any = field(default_factory=hashlib.sha256)
    _videos: dict[str, str] = field(default_factory=dict)
    _there: dict[str, str] = field(default_factory=dict)
    _lost: list[str] = field(default_factory=list)
    _parts: int = 0

    async def read(self, chunks: AsyncIterable[bytes]) -> Imported:
        """Take in all of it. What came before it was refused, stays; sent again, the rest comes, too.

        Raises:
            ArchiveRefused: it is none, of another version, cut off, or not what its hashes say.
            QuotaExceeded, TooLarge: it has more than the tenant may keep, or a larger video than is taken.
            DatabaseUnavailable, MasterKeyMissing, OSError: see there.
        """
        reading = tar.Reading(chunks)
        placing = Placing(self.database, self.store, self.tenant, await self._first(reading))
        await placing.begin()
        while True:
            name, size = await reading.begin(MAX_ENTRIES_BYTES)
            if not self._came_any() and name == part_name(self._parts + 1):
                # What else is held about the tenant is proved, and not read.
                self._parts += 1
                async for chunk in reading.content(size):
                    self._digest.update(chunk)
                continue
            if name == LAST:
                end = await asyncio.to_thread(_parsed, name, await reading.whole(size), End)
                break
            await self._video(reading, placing, name, size)
        count = len(self._videos) + len(self._there) + len(self._lost)
        if (end.videos, end.sha256) != (count, self._digest.hexdigest()):
            raise ArchiveRefused("its end is that of another archive; videos are missing, or were put in")
        await reading.finish()
        return Imported(
            videos=self._videos,
            there=self._there,
            without_bytes=tuple(self._lost),
            vocabularies=tuple(placing.made),
            vocabularies_there=tuple(placing.there),
        )

    async def _first(self, reading: tar.Reading) -> Archive:
        content = await reading.whole(await reading.expect(FIRST, most_bytes=MAX_MANIFEST_BYTES))
        await asyncio.to_thread(self._digest.update, content)
        told = await asyncio.to_thread(_parsed, FIRST, content, _Told)
        if told.format != FORMAT or told.version not in VERSIONS:
            raise ArchiveRefused(
                f"format {told.format[:50]!r}, version {told.version}; {FORMAT!r}, versions up to {VERSION} are read "
                "here"
            )
        return await asyncio.to_thread(_parsed, FIRST, content, Archive)

    async def _video(self, reading: tar.Reading, placing: Placing, name: str, size: int) -> None:
        found = _MANIFEST.fullmatch(name)
        content = await reading.whole(size)
        if found is None:
            raise ArchiveRefused(f"{name[:200]!r} is where a video, or the end, has to be")
        manifest = await asyncio.to_thread(_parsed, name, content, VideoManifest)
        if manifest.id != found[1] or self._came(manifest.id):
            raise ArchiveRefused(f"{name}: another video's, or there twice")
        self._digest.update(content)
        documents, media = _required(manifest)
        here = f"videos/{manifest.id}"
        first, *rest, held = documents
        video = await _document(reading, f"{here}/{first.name}", first, _described)
        await asyncio.to_thread(_require_agreeing, manifest, video, len(rest), media)
        reports = [await _document(reading, f"{here}/{entry.name}", entry, _report) for entry in rest]
        await reading.expect(f"{here}/{held.name}", held.size_bytes)
        await _proved_only(reading, held)
        if media is None:
            self._lost.append(manifest.id)
            return
        await reading.expect(f"{here}/media", media.size_bytes)
        there = await self._known(media.sha256)
        if there is not None:
            await _proved_only(reading, media)
            self._there[manifest.id] = there
            return
        made = await self._taken(reading, placing, video, first.size_bytes, media, reports)
        (self._videos if made[1] else self._there)[manifest.id] = made[0]

    async def _taken(
        self,
        reading: tar.Reading,
        placing: Placing,
        video: ArchivedVideo,
        described_bytes: int,
        media: Entry,
        reports: list[bytes],
    ) -> tuple[str, bool]:
        """Its bytes are kept, and its rows written; the id of the video, and whether it is new. `described_bytes`: of
        `video.json`."""
        if media.size_bytes > self.options.max_bytes:
            raise TooLarge(f"{video.id}: {media.size_bytes} bytes; at most {self.options.max_bytes} are taken")
        # What is told of it is kept as its bytes are, and counts as they do.
        told_bytes = described_bytes + sum(map(len, reports))
        async with self.database.read(self.tenant) as session:
            room = await quota.room_bytes(session, self.tenant, self.options.tenant_max_bytes)
        quota.require_within(media.size_bytes + told_bytes, room)
        chunks = reading.content(media.size_bytes)
        try:
            stored = await receive.put(self.store, self.tenant, chunks, video.filename)
        except VideoError as error:
            raise ArchiveRefused(f"{video.id}: {error}") from error
        try:
            async with receive.deleted_unless_kept(self.store, stored):
                if stored.written.sha256 != media.sha256:
                    raise ArchiveRefused(f"{video.id}: its bytes are not those that its manifest names")
                received = await placing.place(video, stored, reports, told_bytes, self.options)
        except (InvalidRequest, VideoError) as error:
            raise ArchiveRefused(f"{video.id}: {error}") from error
        if not received.created:
            await self.store.delete(stored.object_key)
        return received.video.id, received.created

    def _came_any(self) -> bool:
        return bool(self._videos or self._there or self._lost)

    def _came(self, video: str) -> bool:
        return video in self._videos or video in self._there or video in self._lost

    async def _known(self, sha256: str) -> str | None:
        query = select(Video.id).where(Video.tenant_id == self.tenant, Video.sha256 == sha256)
        async with self.database.read(self.tenant) as session:
            return (await session.exec(query)).first()


def _parsed(name: str, content: bytes, kind: type[T]) -> T:
    require_bounded(name, content)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArchiveRefused(f"{name}: {error}") from error


def _required(manifest: VideoManifest) -> tuple[tuple[Entry, ...], Entry | None]:
    """Its documents, which are those that a video has, and its bytes, unless they are lost. Raises ArchiveRefused."""
    documents, media = manifest.entries, None
    if documents and documents[-1].name == "media":
        *documents, media = documents
    names = [entry.name for entry in documents]
    if names != ["video.json", *_report_names(len(names) - 2), "held.json"]:
        raise ArchiveRefused(f"{manifest.id}: other entries than a video has, or in another order")
    sizes = [entry.size_bytes for entry in documents]
    if max(sizes) > MAX_DOCUMENT_BYTES or sum(sizes) > MAX_DOCUMENTS_BYTES:
        raise ArchiveRefused(f"{manifest.id}: documents of more bytes than any video has")
    return tuple(documents), media


def _report_names(count: int) -> list[str]:
    return [report_name(number) for number in range(1, count + 1)]


def _require_agreeing(manifest: VideoManifest, video: ArchivedVideo, reports: int, media: Entry | None) -> None:
    told = [video.id, [one.name for one in video.reports]]
    if told != [manifest.id, _report_names(reports)] or (
        media is not None and (video.sha256, video.size_bytes) != (media.sha256, media.size_bytes)
    ):
        raise ArchiveRefused(f"{manifest.id}: video.json says something else than its manifest")
    try:
        require_modest(video.user_metadata)
    except InvalidRequest as error:
        raise ArchiveRefused(f"{manifest.id}: {error}") from error


async def _document(reading: tar.Reading, name: str, entry: Entry, read: Callable[[str, bytes], T]) -> T:
    """What `read` makes of a document: beside the loop, on which nothing else would go on for as long as it takes."""
    content = await reading.whole(await reading.expect(name, entry.size_bytes))
    return await asyncio.to_thread(_proved, name, content, entry, read)


def _proved(name: str, content: bytes, entry: Entry, read: Callable[[str, bytes], T]) -> T:
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ArchiveRefused(f"{name}: not what its manifest names")
    return read(name, content)


def _described(name: str, content: bytes) -> ArchivedVideo:
    video = _parsed(name, content, ArchivedVideo)
    for found in video.found_tags:
        require_tags(name, found.tags)
    return video


def _report(name: str, content: bytes) -> bytes:
    """As rows keep it: of all reports of a video, one at a time is in memory as it came."""
    require_plausible(name, _parsed(name, content, Report))
    return zlib.compress(content, 3)


async def _proved_only(reading: tar.Reading, entry: Entry) -> None:
    digest = hashlib.sha256()
    async for chunk in reading.content(entry.size_bytes):
        digest.update(chunk)
    if digest.hexdigest() != entry.sha256:
        raise ArchiveRefused(f"{entry.name}: not what its manifest names")
