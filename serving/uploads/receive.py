"""From a stream of bytes to a video: stored, recognised by its hash, and looked at."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlmodel import select

from pipeline.errors import UnsupportedContainer
from pipeline.structure import HEAD_BYTES, kind_of_head
from serving.db.database import Database
from serving.db.media import Video
from serving.ids import new_id
from serving.storage.store import Store


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
) -> Received:
    """Keep what comes as a video; bytes that the tenant has already are not kept twice.

    The object is written before the row that names it: what a crash leaves behind is an object that no row names, which
    is swept, and never a video without its bytes.

    Raises:
        UnsupportedContainer: it does not begin as any video does.
    """
    video_id = new_id("vid")
    key = f"videos/{video_id}"
    written = await store.put(key, _sniffed(chunks, filename or "the upload"))
    async with database.write("upload.complete", tenant) as session:
        same = (
            await session.exec(
                select(Video).where(Video.tenant_id == tenant, Video.sha256 == written.sha256).with_for_update()
            )
        ).first()
        if same is None:
            video = Video(
                id=video_id,
                tenant_id=tenant,
                title=title or filename or "untitled",
                filename=filename,
                size_bytes=written.size_bytes,
                sha256=written.sha256,
                object_key=key,
            )
            session.add(video)
            await session.flush()
            await session.refresh(video)
            received = Received(video, created=True)
        else:
            received = Received(same, created=False)
    if not received.created:
        await store.delete(key)
    return received


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
