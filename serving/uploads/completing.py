"""From the parts of an upload to a video."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from sqlmodel import col, select

from pipeline.errors import VideoError
from serving.db.database import Database
from serving.db.uploads import Upload, UploadPart
from serving.errors import QuotaExceeded
from serving.storage.store import Store, part_at
from serving.uploads import receive
from serving.uploads.becoming import become, told
from serving.uploads.receive import Stored
from serving.uploads.rows import looked_up, parts_forgotten, require_going, written


class Completion:
    """Makes videos of uploads whose bytes are all there. Done again after a crash, or by two at once, it comes to the
    same: the row of the upload says who was first."""

    def __init__(self, database: Database, store: Store, tenant_max_bytes: int) -> None:
        self._database, self._store = database, store
        self._tenant_max_bytes = tenant_max_bytes
        self._finishing: dict[str, asyncio.Task[Upload]] = {}

    async def finish(self, upload: Upload) -> Upload:
        """The upload as it is when it is a video; of one that is a video already, nothing is done. It goes on even if
        who asked for it does not wait.

        Raises:
            UploadErrored: its bytes are no video, or more than the tenant may keep.
            Gone: it was canceled meanwhile.
        """
        if upload.status != "waiting":
            require_going(upload)
            return upload
        task = self._finishing.get(upload.id)
        if task is None:
            task = self._finishing[upload.id] = asyncio.create_task(self._finish(upload))
            task.add_done_callback(lambda _: self._finishing.pop(upload.id, None))
        return await asyncio.shield(task)

    async def _finish(self, upload: Upload) -> Upload:
        async with self._database.read(upload.tenant_id) as session:
            row, _ = await looked_up(session, upload.tenant_id, upload.id)
            of_it = select(UploadPart).where(UploadPart.upload_id == row.id).order_by(col(UploadPart.offset_bytes))
            parts = (await session.exec(of_it)).all()
            sealed_with = await self._store.keyring.keys_of(session, row.tenant_id, [part.object_key for part in parts])
        if row.status != "waiting":
            require_going(row)
            return row
        try:
            stored = await receive.put(self._store, upload.tenant_id, self._joined(parts, sealed_with), upload.filename)
        except VideoError as error:
            return await self._refused(upload, error)
        except FileNotFoundError:
            # Another process was quicker, and has cleared up; or else something is wrong that must not be hidden.
            async with self._database.read(upload.tenant_id) as session:
                row, _ = await looked_up(session, upload.tenant_id, upload.id)
            if row.status == "waiting":
                raise
            require_going(row)
            return row
        try:
            async with receive.deleted_unless_kept(self._store, stored):
                return await self._kept(upload, stored)
        except QuotaExceeded as error:
            return await self._refused(upload, error)

    async def _kept(self, upload: Upload, stored: Stored) -> Upload:
        received = None
        async with self._database.write("upload.complete", upload.tenant_id) as session:
            row, _ = await looked_up(session, upload.tenant_id, upload.id, lock=True)
            keys: list[str] = []
            if row.status == "waiting":
                if stored.written.size_bytes != row.size_bytes:
                    raise AssertionError(f"{row.id}: parts of {stored.written.size_bytes} bytes, not {row.size_bytes}")
                # First, so that they do not count besides what is made of them.
                keys = await parts_forgotten(session, [row.id])
                received = await become(session, self._store.keyring, row, stored, self._tenant_max_bytes)
                row = await written(session, row)
        if received is None or not received.created:
            keys.append(stored.object_key)
        await self._delete(keys)
        require_going(row)
        return row

    async def _refused(self, upload: Upload, error: VideoError | QuotaExceeded) -> Upload:
        """Its bytes are no video, or too many: end it, and say so; or nothing, where somebody else ended it first."""
        async with self._database.write("upload.end", upload.tenant_id) as session:
            row, _ = await looked_up(session, upload.tenant_id, upload.id, lock=True)
            keys: list[str] = []
            if row.status == "waiting":
                row.status, row.error = "errored", told(error)
                session.add(row)
                keys = await parts_forgotten(session, [row.id])
        await self._delete(keys)
        require_going(row)
        return row

    async def _joined(self, parts: Sequence[UploadPart], sealed_with: Mapping[str, bytes]) -> AsyncIterator[bytes]:
        for part in parts:
            what = part_at(part.tenant_id, part.object_key)
            async for chunk in self._store.get(what, sealed_with.get(part.object_key)):
                yield chunk

    async def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self._store.delete(key)
