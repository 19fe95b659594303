"""What nobody but a tenant and its endpoints may know: kept sealed, by the tenant's key. URLs are among it: whoever has
that of a chat's incoming webhook may write there."""

from typing import Any

import msgspec
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.work import Endpoint
from serving.storage.keyring import Keyring, TenantValues


class EndpointSecrets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an endpoint is, and what is signed for it."""

    url: str
    secret: str
    """`whsec_...`, Standard Webhooks."""
    previous_secret: str | None = None
    """Signs as well until the row's `previous_until`."""


async def seal(session: AsyncSession, keyring: Keyring, endpoint: Endpoint, secrets: EndpointSecrets) -> None:
    """Put them into a row, which keeps nothing of them as it is. Raises as `Keyring.values_to_seal`."""
    values = await keyring.values_to_seal(session, endpoint.tenant_id)
    endpoint.sealed = values.seal("webhook_endpoint.sealed", endpoint.id, msgspec.json.encode(secrets))
    endpoint.url = endpoint.secret = endpoint.previous_secret = None


async def opened(values: TenantValues, endpoint: Any) -> EndpointSecrets:
    """Those of a row.

    Args:
        endpoint: an `Endpoint`, or what has its id, tenant and what it keeps of them.

    Raises:
        InputNotFound, MasterKeyMissing, Altered: see `Keyring.values`, `Values.open`.
    """
    if endpoint.sealed is None:
        return EndpointSecrets(url=endpoint.url, secret=endpoint.secret, previous_secret=endpoint.previous_secret)
    plain = (await values.of(endpoint.tenant_id)).open("webhook_endpoint.sealed", endpoint.id, endpoint.sealed)
    return msgspec.json.decode(plain, type=EndpointSecrets)
