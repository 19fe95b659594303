"""What else is held about a video or a tenant: rows as JSON objects, sealed parts of them opened, and no secrets."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

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
_OF_A_TENANT: Final[dict[str, str]] = {
    "about": "SELECT to_jsonb(t) FROM tenant t WHERE t.id = :id",
    "people": "SELECT to_jsonb(t) - 'password_hash' FROM app_user t WHERE t.tenant_id = :id ORDER BY t.id",
    "api_keys": "SELECT to_jsonb(t) - 'digest' FROM api_key t WHERE t.tenant_id = :id ORDER BY t.id",
    "webhooks": "SELECT to_jsonb(t) FROM webhook_endpoint t WHERE t.tenant_id = :id ORDER BY t.id",
    "retention": "SELECT to_jsonb(t) FROM retention_rule t WHERE t.tenant_id = :id ORDER BY t.id",
    "erasures": "SELECT to_jsonb(t) - 'pending' FROM erasure t WHERE t.tenant_id = :id ORDER BY t.id",
    "uploads_under_way": "SELECT to_jsonb(t) FROM upload t WHERE t.tenant_id = :id AND t.video_id IS NULL "
    "ORDER BY t.id",
}


async def of_video(session: AsyncSession, keyring: Keyring, tenant: str, video_id: str) -> dict[str, Any]:
    """Name of a kind of row -> rows. Raises as `Keyring.values`."""
    held = await _rows(session, _OF_A_VIDEO, video_id)
    held["uploads"] = [await _upload(session, keyring, tenant, row) for row in held["uploads"]]
    return held


async def of_tenant(session: AsyncSession, keyring: Keyring, tenant: str) -> dict[str, Any]:
    """The same of a tenant, but for its videos."""
    held = await _rows(session, _OF_A_TENANT, tenant)
    name = "uploads_under_way"
    held[name] = [await _upload(session, keyring, tenant, row) for row in held[name]]
    values = TenantValues(keyring, session)
    for row in held["webhooks"]:
        row["url"] = (await of_webhooks.opened(values, _sealed(tenant, row))).url
        for secret in ("sealed", "secret", "previous_secret"):
            row.pop(secret, None)
    return held


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
