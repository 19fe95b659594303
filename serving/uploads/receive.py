"""From a stream of bytes to a video: stored, recognised by its hash, and looked at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.errors import UnsupportedContainer
from pipeline.structure import HEAD_BYTES, kind_of_head
from serving.db.database import Database
from serving.db.media import Video
from serving.db.statements import execute
from serving.errors import DatabaseUnavailable
from serving.ids import new_id
from serving.storage.keyring import Keyring
from serving.storage.store import Store, Written, video_at
from serving.uploads import quota

#: Of two transactions that are about to keep the same bytes, one waits for the other.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('video ' || :tenant || ' ' || :sha256, 0))")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is to be a video."""

    video_id: str
    object_key: str
    written: Written


@dataclass(frozen=True, slots=True)
class Received:
    """A video, and whether it is new."""

    video: Video
    created: bool


async def whole(
    database: Database,
    store: Store,
    tenant: str,
    chunks: AsyncIterator[bytes],
    *,
    title: str | None = None,
    filename: str | None = None,
    tenant_max_bytes: int = 0,
) -> Received:
    """Keep what comes as a video; bytes that the tenant has already are not kept twice. `tenant_max_bytes`: as in
    `serving.uploads.quota.require_room`.

    The object is written before the row that names it: what a crash leaves behind is an object that no row names, which
    is swept, and never a video without its bytes.

    Raises:
        UnsupportedContainer: it does not begin as any video does.
        QuotaExceeded: the tenant may not keep so much.
    """
    stored = await put(store, tenant, chunks, filename)
    async with deleted_unless_kept(store, stored), database.write("upload.complete", tenant) as session:
        received = await keep(
            session, store.keyring, tenant, stored, title=title, filename=filename, tenant_max_bytes=tenant_max_bytes
        )
    if not received.created:
        await store.delete(stored.object_key)
    return received


@asynccontextmanager
async def deleted_unless_kept(store: Store, stored: Stored) -> AsyncIterator[None]:
    """Deletes the object where the block, which is to write the row that names it, fails for good."""
    try:
        yield
    except DatabaseUnavailable:
        # It may have broken off while a row was committed that names it. If none does, it is swept.
        raise
    except Exception:
        # Whatever else it was, nothing was committed, and no quota would count it.
        await store.delete(stored.object_key)
        raise


async def put(store: Store, tenant: str, chunks: AsyncIterator[bytes], filename: str | None) -> Stored:
    """Write the object. Raises as `whole`; there is no object then."""
    video_id = new_id("vid")
    key = f"videos/{video_id}"
    return Stored(video_id, key, await store.put(video_at(tenant, key), _sniffed(chunks, filename or "the upload")))


async def keep(
    session: AsyncSession,
    keyring: Keyring,
    tenant: str,
    stored: Stored,
    *,
    title: str | None,
    filename: str | None,
    tenant_max_bytes: int,
    imported_bytes: int = 0,
) -> Received:
    """The row that names the object, with its key, in the session's transaction; or that of the video which has the
    same bytes already: the object is then the caller's to delete, once the transaction is committed.
    `imported_bytes`: of what somebody else said is known of it, and is kept with it. Raises QuotaExceeded."""
    await execute(session, _ALONE, tenant=tenant, sha256=stored.written.sha256)
    same = (
        await session.exec(
            select(Video).where(Video.tenant_id == tenant, Video.sha256 == stored.written.sha256).with_for_update()
        )
    ).first()
    if same is not None:
        return Received(same, created=False)
    await quota.require_room(session, tenant, stored.written.size_bytes + imported_bytes, tenant_max_bytes)
    video = Video(
        id=stored.video_id,
        tenant_id=tenant,
        title=title or filename or "untitled",
        filename=filename,
        size_bytes=stored.written.size_bytes,
        sha256=stored.written.sha256,
        object_key=stored.object_key,
        imported_bytes=imported_bytes,
    )
    session.add(video)
    await session.flush()
    await keyring.keep(session, tenant, stored.object_key, stored.written.key, video_id=video.id)
    await session.refresh(video)
    return Received(video, created=True)


async def _sniffed(chunks: AsyncIterator[bytes], name: str) -> AsyncIterator[bytes]:
    """The same chunks, once the first of them were looked at."""
    head = b""
    passed = False
    async for chunk in chunks:
        if passed:
            yield chunk
            continue
        head += chunk
        if len(head) >= HEAD_BYTES:
            _require_video(head, name)
            passed = True
            yield head
    if not passed:
        _require_video(head, name)
        yield head


def _require_video(head: bytes, name: str) -> None:
    if kind_of_head(head) is None:
        raise UnsupportedContainer(f"{name}: it does not begin as any video does; send MP4, MOV, MKV, WebM, AVI or TS")
