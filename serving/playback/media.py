"""A video as its bytes are served: where they are, what opens them, and what its URLs rest on. One round trip."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from serving.db.keys import DataKey, TenantKey
from serving.db.quick import QuickReads
from serving.derived.shelf import Source
from serving.storage.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Made:
    """A video as it was encoded anew for browsers."""

    object_key: str
    key: bytes = field(repr=False)
    size_bytes: int
    sha256: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Media:
    """A video as it was when a request came in."""

    id: str
    tenant_id: str
    object_key: str
    """Where the store has its bytes, and"""
    key: bytes | None = field(repr=False)
    """[32] what they are sealed with; None of one from before objects were sealed."""
    size_bytes: int
    sha256: str
    filename: str | None
    container: str | None
    """Known, as `codec`, once it was analysed."""
    codec: str | None
    duration_s: float | None
    created_at: datetime
    revocations: tuple[int, int]
    """How often signed URLs of the video, and of its tenant, were revoked."""
    made: Made | None
    """Its rendition, once there is one."""

    @property
    def source(self) -> Source:
        """The video's own bytes, for those who make something of them."""
        return Source(self.tenant_id, self.id, self.object_key, self.key)

    def source_of(self, made: Made) -> Source:
        """Those of its rendition."""
        return Source(self.tenant_id, self.id, made.object_key, made.key)


async def read_media(quick: QuickReads, keyring: Keyring, tenant: str, video_id: str) -> Media | None:
    """A video; None where there is none.

    Raises:
        DatabaseUnavailable: see `QuickReads.row`.
        MasterKeyMissing, Altered: see `Keyring.tenant_key`.
    """
    row = await quick.row("tenant_media", tenant, video_id)
    if row is None:
        return None
    key, made_key, made = await _key(keyring, row, ""), await _key(keyring, row, "made_"), None
    if made_key is not None:
        made = Made(row.made_object_key, made_key, row.made_size_bytes, row.made_sha256, row.made_at)
    return Media(
        id=row.id,
        tenant_id=row.tenant_id,
        object_key=row.object_key,
        key=key,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        filename=row.filename,
        container=row.container,
        codec=row.codec,
        duration_s=row.duration_s,
        created_at=row.created_at,
        revocations=(row.url_generation, row.tenant_url_generation),
        made=made,
    )


async def _key(keyring: Keyring, row: Any, of: str) -> bytes | None:
    """The key of one of its objects, whose columns begin so; None where it has none."""
    wrapped, version = getattr(row, f"{of}key_wrapped"), getattr(row, f"{of}key_version")
    if wrapped is None:
        return None
    by = TenantKey(
        tenant_id=row.tenant_id,
        version=version,
        wrapped=getattr(row, f"{of}tenant_key_wrapped"),
        master=getattr(row, f"{of}tenant_key_master"),
    )
    key_of = getattr(row, f"{of}object_key")
    kept = DataKey(object_key=key_of, tenant_id=row.tenant_id, tenant_version=version, wrapped=wrapped)
    return await keyring.unwrap(kept, by)
