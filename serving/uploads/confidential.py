"""What came with an upload and may be a secret: the URL that it is fetched from, which may hold a signature or a token,
and what a tus client wants back as it came. Kept sealed, by the tenant's key."""

from typing import Any

import msgspec
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.uploads import Upload
from serving.storage.keyring import Keyring, TenantValues


class UploadSecrets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one upload."""

    url: str | None = None
    """Where it is fetched from."""
    tus_metadata: str | None = None
    """`Upload-Metadata` as it came."""


#: Of most.
NONE = UploadSecrets()


async def seal(session: AsyncSession, keyring: Keyring, upload: Upload, secrets: UploadSecrets) -> None:
    """Put them into a row, which keeps nothing of them as it is. Raises as `Keyring.values_to_seal`."""
    if secrets != NONE:
        values = await keyring.values_to_seal(session, upload.tenant_id)
        upload.sealed = values.seal("upload.sealed", upload.id, msgspec.json.encode(secrets))
    upload.url = upload.tus_metadata = None


async def opened(values: TenantValues, upload: Any) -> UploadSecrets:
    """Those of a row.

    Args:
        upload: an `Upload`, or what has its id, tenant and what it keeps of them.

    Raises:
        InputNotFound, MasterKeyMissing, Altered: see `Keyring.values`, `Values.open`.
    """
    if upload.sealed is None:
        return UploadSecrets(url=upload.url, tus_metadata=upload.tus_metadata)
    return msgspec.json.decode(
        (await values.of(upload.tenant_id)).open("upload.sealed", upload.id, upload.sealed), type=UploadSecrets
    )
