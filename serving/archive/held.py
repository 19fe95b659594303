"""What else is held about a video or a tenant: rows as JSON objects, sealed parts of them opened, and no secrets."""

from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any, Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.database import Database
from serving.db.statements import execute
from serving.storage.keyring import Keyring, TenantValues
from serving.uploads import confidential as of_uploads
from serving.webhooks import confidential as of_webhooks

_OF_A_VIDEO: Final[dict[str, str]] = {
    "jobs": "SELECT to_jsonb(t) - 'tenant_id' FROM job t WHERE t.video_id = :id ORDER BY created_at, t.id",
    "events": "SELECT to_jsonb(t) - 'tenant_id' FROM event t JOIN job j ON j.tenant_id = t.tenant_id "
    "AND j.id = t.job_id WHERE j.video_id = :id ORDER BY t.job_id, t.number",
    "uploads": "SELECT to_jsonb(t) - 'tenant_id' FROM upload t WHERE t.video_id = :id ORDER BY t.id",
    "copies": "SELECT to_jsonb(t) - 'tenant_id' FROM video_copy t WHERE :id IN (t.first_id, t.second_id) ORDER BY t.id",
    "tags": "SELECT to_jsonb(t) - 'tenant_id' FROM tag_span t WHERE t.video_id = :id "
    "ORDER BY t.origin, t.label, t.start_s",
    "webhook_messages": "SELECT to_jsonb(t) - 'tenant_id' FROM webhook_message t WHERE t.video_id = :id ORDER BY t.id",
    "legal_hold": "SELECT to_jsonb(t) - 'tenant_id' FROM legal_hold t WHERE t.video_id = :id",
}

#: Of these, some rows at a time: there may be very many erasures.
_OF_A_TENANT: Final[dict[str, str]] = {
    "about": "SELECT to_jsonb(t) FROM tenant t WHERE t.id = :id",
    "people": "SELECT to_jsonb(t) - 'password_hash' FROM app_user t WHERE t.tenant_id = :id",
    "api_keys": "SELECT to_jsonb(t) - 'digest' FROM api_key t WHERE t.tenant_id = :id",
    "webhooks": "SELECT to_jsonb(t) FROM webhook_endpoint t WHERE t.tenant_id = :id",
    "retention": "SELECT to_jsonb(t) FROM retention_rule t WHERE t.tenant_id = :id",
    "erasures": "SELECT to_jsonb(t) - 'pending' FROM erasure t WHERE t.tenant_id = :id",
    "uploads_under_way": "SELECT to_jsonb(t) FROM upload t WHERE t.tenant_id = :id AND t.video_id IS NULL",
}
_SOME: Final = " AND t.id > :after ORDER BY t.id LIMIT :most"
_AT_ONCE: Final = 500


async def of_video(session: AsyncSession, keyring: Keyring, tenant: str, video_id: str) -> dict[str, Any]:
    """Name of a kind of row -> rows. Raises as `Keyring.values`."""
    held = await _rows(session, _OF_A_VIDEO, video_id)
    held["uploads"] = [await _upload(session, keyring, tenant, row) for row in held["uploads"]]
    return held


async def of_tenant(database: Database, keyring: Keyring, tenant: str) -> AsyncIterator[dict[str, Any]]:
    """The same of a tenant, but for its videos, in parts: each has some rows of one kind, and each kind has a part."""
    for name, query in _OF_A_TENANT.items():
        after, rows = "", None
        while rows is None or len(rows) == _AT_ONCE:
            async with database.read(tenant) as session:
                some = {"id": tenant, "after": after, "most": _AT_ONCE}
                rows = list((await execute(session, text(query + _SOME), **some)).scalars())
                after = rows[-1]["id"] if rows else after
                shown = await _shown(session, keyring, tenant, name, rows)
            yield {name: shown}


async def _shown(
    session: AsyncSession, keyring: Keyring, tenant: str, name: str, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of a tenant as they are handed out."""
    if name == "uploads_under_way":
        return [await _upload(session, keyring, tenant, row) for row in rows]
    if name == "webhooks":
        values = TenantValues(keyring, session)
        for row in rows:
            row["url"] = (await of_webhooks.opened(values, _sealed(tenant, row))).url
            for secret in ("sealed", "secret", "previous_secret"):
                row.pop(secret, None)
    return rows


async def _rows(session: AsyncSession, queries: Mapping[str, str], about: str) -> dict[str, Any]:
    return {name: list((await execute(session, text(query), id=about)).scalars()) for name, query in queries.items()}


async def _upload(session: AsyncSession, keyring: Keyring, tenant: str, row: dict[str, Any]) -> dict[str, Any]:
    secrets = await of_uploads.opened(TenantValues(keyring, session), _sealed(tenant, row))
    row.pop("sealed", None)
    return row | {"url": secrets.url, "tus_metadata": secrets.tus_metadata}


def _sealed(tenant: str, row: Mapping[str, Any]) -> SimpleNamespace:
    """A row as who opens it wants it: PostgreSQL's JSON has bytes as `\\x` and hexadecimal digits."""
    sealed = row["sealed"]
    return SimpleNamespace(**{**row, "tenant_id": tenant, "sealed": sealed and bytes.fromhex(sealed[2:])})
