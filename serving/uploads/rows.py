"""Rows of uploads: looked up, locked, and what their states mean."""

from collections.abc import Sequence

from sqlalchemy import delete
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.statements import execute
from serving.db.uploads import Upload, UploadPart
from serving.errors import Gone, NotFound, UploadErrored
from serving.storage.keyring import forget


def is_full(upload: Upload) -> bool:
    """Whether all its bytes are there."""
    return upload.size_bytes is not None and upload.received_bytes == upload.size_bytes


async def parts_forgotten(session: AsyncSession, upload_ids: Sequence[str]) -> list[str]:
    """Delete the rows of all parts, and destroy what they are sealed with; keys of their objects, which are to be
    deleted once that is committed."""
    gone = delete(UploadPart).where(col(UploadPart.upload_id).in_(upload_ids)).returning(col(UploadPart.object_key))
    keys = list((await execute(session, gone)).scalars())
    await forget(session, keys)
    return keys


async def looked_up(session: AsyncSession, tenant: str, upload_id: str, *, lock: bool = False) -> tuple[Upload, bool]:
    """The row, and whether its time is over; `lock`: for the rest of the transaction. Raises NotFound."""
    query = select(Upload, col(Upload.expires_at) <= func.now()).where(
        Upload.tenant_id == tenant, Upload.id == upload_id
    )
    found = (await session.exec(query.with_for_update(of=Upload) if lock else query)).one_or_none()
    if found is None:
        raise NotFound("there is no such upload")
    return found[0], found[1]


async def written(session: AsyncSession, upload: Upload) -> Upload:
    """The row as the database has it now."""
    session.add(upload)
    await session.flush()
    await session.refresh(upload)
    return upload


def require_going(upload: Upload) -> None:
    """Raises Gone or UploadErrored where it is over without having become a video."""
    if upload.status in ("canceled", "expired"):
        raise Gone(f"the upload is {upload.status}; create another one")
    if upload.status == "errored":
        error = upload.error or {}
        raise UploadErrored(str(error.get("code")), str(error.get("detail")))
