"""Uploads in pieces: what becomes of them, whatever happens in between. `serving.api.tus` speaks the protocol.

A piece is first an object, then a row that names it; the row is written in the transaction that moves `received_bytes`,
and only from where the piece begins. So a crash leaves an object that no row names, which is swept, and never a hole;
and of two who send the same piece, one moves it, and the other finds it moved.
"""

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

from sqlmodel import func

from serving.db.database import Database
from serving.db.uploads import Upload, UploadPart
from serving.errors import Conflict, DatabaseUnavailable, Gone, InvalidRequest, TooLarge
from serving.ids import new_id
from serving.options import UploadOptions
from serving.storage.store import Store, part_at
from serving.uploads import confidential, minutes, quota
from serving.uploads.completing import Completion
from serving.uploads.confidential import UploadSecrets
from serving.uploads.incoming import Checksum, Incoming
from serving.uploads.rows import is_full, looked_up, parts_forgotten, require_going, written


class Uploads:
    """All that is done to uploads. Whatever is done again after a crash comes to the same."""

    def __init__(self, database: Database, store: Store, options: UploadOptions) -> None:
        self._database, self._store = database, store
        self.options = options
        """The bounds that hold here."""
        self._completion = Completion(database, store, options.tenant_max_bytes)

    async def create(
        self, tenant: str, *, size_bytes: int | None, filename: str | None, title: str | None, metadata: str | None
    ) -> Upload:
        """An upload that waits for its bytes. `size_bytes`: None where it is said later.

        Raises:
            InvalidRequest: it would be empty.
            TooLarge: it would be too large.
            QuotaExceeded: the tenant may not keep so much.
        """
        self._require_size(size_bytes)
        async with self._database.write("upload.create", tenant) as session:
            await minutes.require_room(session, tenant, self.options.tenant_max_minutes)
            await quota.require_room(session, tenant, size_bytes or 1, self.options.tenant_max_bytes)
            upload = Upload(
                id=new_id("upl"),
                tenant_id=tenant,
                filename=filename,
                title=title,
                size_bytes=size_bytes,
                expires_at=self._expiry(),  # type: ignore[arg-type]
            )
            await confidential.seal(session, self._store.keyring, upload, UploadSecrets(tus_metadata=metadata))
            return await written(session, upload)

    async def find(self, tenant: str, upload_id: str) -> Upload:
        """An upload, in whatever state. Raises NotFound."""
        async with self._database.read(tenant) as session:
            return (await looked_up(session, tenant, upload_id))[0]

    async def secrets(self, upload: Upload) -> UploadSecrets:
        """What came with it and may be a secret. Raises as `confidential.opened`."""
        if upload.sealed is None and upload.url is None and upload.tus_metadata is None:
            return confidential.NONE
        async with self._database.read(upload.tenant_id) as session:
            return await confidential.opened(self._store.keyring.of_tenants(session), upload)

    async def going(self, tenant: str, upload_id: str) -> Upload:
        """An upload that can be gone on with, or is completed.

        Raises:
            NotFound: there is none.
            Gone: it was canceled, or has expired.
            UploadErrored: it is over because of what was in it.
            Conflict: it is fetched from a URL, and nobody sends its bytes.
        """
        async with self._database.read(tenant) as session:
            upload, late = await looked_up(session, tenant, upload_id)
        if upload.method != "tus":
            raise Conflict("the upload is fetched from a URL; GET says how far it is")
        if late and not is_full(upload):
            raise Gone("the upload has expired; create another one")
        require_going(upload)
        return upload

    async def say_size(self, upload: Upload, size_bytes: int) -> Upload:
        """How many bytes it has, where that was left open. Said again, nothing happens.

        Raises:
            InvalidRequest: it was said to be something else, or more than that came already.
            TooLarge: it would be too large.
        """
        self._require_size(size_bytes)
        async with self._database.write("upload.append", upload.tenant_id) as session:
            row, _ = await looked_up(session, upload.tenant_id, upload.id, lock=True)
            require_going(row)
            if row.size_bytes not in (None, size_bytes) or size_bytes < row.received_bytes:
                what = f"it has {row.size_bytes or 'no known number of'} bytes, of which {row.received_bytes} came"
                raise InvalidRequest("the length of an upload does not change", (("Upload-Length", what),))
            row.size_bytes = size_bytes
            return await written(session, row)

    async def append(
        self, upload: Upload, offset_bytes: int, chunks: AsyncIterator[bytes], checksum: Checksum | None = None
    ) -> Upload:
        """Add bytes, and finish the upload where these were its last. `chunks` may raise Interrupted: what came before
        that is kept, but not where a checksum is to be met.

        Raises:
            Conflict: it does not go on at this offset, or did not any more when the bytes had come.
            ChecksumMismatch: the bytes are others; none was kept.
            TooLarge: there are more than there is room for; of those up to there, some may have been kept.
            Gone: it ended meanwhile.
            UploadErrored: with these bytes it is no video.
            QuotaExceeded: the tenant may not keep so much; parts before that were kept.
        """
        if offset_bytes != upload.received_bytes:
            raise Conflict(f"the upload goes on at {upload.received_bytes}, not at {offset_bytes}")
        most = self.options.max_bytes if upload.size_bytes is None else upload.size_bytes
        async with self._database.read(upload.tenant_id) as session:
            # Asked while they come, too: with a checksum, all of them are one part, which is kept at the end.
            room = await quota.room_bytes(session, upload.tenant_id, self.options.tenant_max_bytes)
        incoming = Incoming(chunks, most - upload.received_bytes, checksum, room)
        while await incoming.more():
            upload = await self._add(upload, incoming, None if checksum else self.options.part_bytes)
        incoming.verify()
        return await self.finish(upload) if is_full(upload) else upload

    async def finish(self, upload: Upload) -> Upload:
        """Make a video of an upload whose bytes are all there; see `Completion.finish`."""
        return await self._completion.finish(upload)

    async def cancel(self, tenant: str, upload_id: str) -> None:
        """Give it up, with all that came of it.

        Raises:
            NotFound: there is none.
            Gone: it was over already.
            Conflict: it is a video already.
        """
        async with self._database.write("upload.end", tenant) as session:
            upload, _ = await looked_up(session, tenant, upload_id, lock=True)
            if upload.status == "completed":
                raise Conflict("the upload is completed; delete the video if it is not wanted")
            if upload.status != "waiting":
                raise Gone(f"the upload is {upload.status} already")
            upload.status = "canceled"
            session.add(upload)
            keys = await parts_forgotten(session, [upload_id])
        for key in keys:
            await self._store.delete(key)

    def _expiry(self):
        # By the clock of the database, as everything that is compared with it.
        return func.now() + timedelta(seconds=self.options.expires_s)

    def _require_size(self, size_bytes: int | None) -> None:
        if size_bytes == 0:
            raise InvalidRequest("an upload without bytes is no video", (("Upload-Length", "has to be more than 0"),))
        if size_bytes is not None and size_bytes > self.options.max_bytes:
            raise TooLarge(f"{size_bytes} bytes; at most {self.options.max_bytes} are taken (upload.max_bytes)")

    async def _add(self, upload: Upload, incoming: Incoming, most: int | None) -> Upload:
        """Keep one part."""
        key = f"uploads/{upload.id}-{upload.received_bytes}-{secrets.token_hex(8)}"
        kept = await self._store.put(part_at(upload.tenant_id, key), incoming.part(most))
        try:
            if most is None:
                incoming.verify()
            async with self._database.write("upload.append", upload.tenant_id) as session:
                row, _ = await looked_up(session, upload.tenant_id, upload.id, lock=True)
                require_going(row)
                if row.received_bytes != upload.received_bytes:
                    raise Conflict(f"somebody else sent bytes meanwhile; the upload goes on at {row.received_bytes}")
                await quota.require_room(session, row.tenant_id, kept.size_bytes, self.options.tenant_max_bytes)
                session.add(
                    UploadPart(
                        upload_id=row.id,
                        offset_bytes=row.received_bytes,
                        tenant_id=row.tenant_id,
                        size_bytes=kept.size_bytes,
                        object_key=key,
                    )
                )
                await self._store.keyring.keep(session, row.tenant_id, key, kept.key, upload_id=row.id)
                row.received_bytes += kept.size_bytes
                row.updated_at = func.now()  # type: ignore[assignment]
                row.expires_at = self._expiry()  # type: ignore[assignment]
                return await written(session, row)
        except DatabaseUnavailable:
            # It may have broken off while the row was committed. If none names the piece, it is swept.
            raise
        except Exception:
            await self._store.delete(key)
            raise
