"""Endpoints: who is told, and what is asked of them besides: a test, a delivery once more, a new secret."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import func, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.accounts import Tenant
from serving.db.work import Delivery, Endpoint, Message
from serving.errors import Conflict, NotFound
from serving.ids import new_id
from serving.jobs.events import notify
from serving.jobs.outbox import DELIVERY_CHANNEL
from serving.storage.keyring import Keyring, TenantValues
from serving.webhooks import confidential
from serving.webhooks.confidential import EndpointSecrets
from serving.webhooks.signing import new_secret

#: Of one tenant.
MAX_ENDPOINTS: Final = 50

#: For how long a secret goes on to sign besides its successor, seconds, where nobody says.
OVERLAP_S: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Known:
    """An endpoint, with what its row keeps sealed."""

    row: Endpoint
    secrets: EndpointSecrets


async def create(
    session: AsyncSession, keyring: Keyring, tenant: str, url: str, events: list[str], description: str
) -> Known:
    """A new endpoint.

    Raises:
        Conflict: the tenant has as many as one may have.
        MasterKeyMissing, Altered: see `Keyring.tenant_key`.
    """
    # Taken in turns, so that two at once do not both find room for one more.
    await session.get_one(Tenant, tenant, with_for_update={"key_share": True})
    if len((await session.exec(select(Endpoint.id).where(Endpoint.tenant_id == tenant))).all()) >= MAX_ENDPOINTS:
        raise Conflict(f"there are {MAX_ENDPOINTS} endpoints already; delete one first")
    endpoint = Endpoint(id=new_id("whk"), tenant_id=tenant, events=events, description=description)
    return await change(session, keyring, endpoint, EndpointSecrets(url=url, secret=new_secret()))


async def found(session: AsyncSession, tenant: str, endpoint_id: str, *, locked: bool = False) -> Endpoint:
    """An endpoint of a tenant. `locked`: until the transaction ends.

    Raises:
        NotFound: the tenant has none of this id.
    """
    query = select(Endpoint).where(Endpoint.tenant_id == tenant, Endpoint.id == endpoint_id)
    if locked:
        # Not against new deliveries to it, which only need it to stay.
        query = query.with_for_update(key_share=True)
    endpoint = (await session.exec(query)).one_or_none()
    if endpoint is None:
        raise NotFound("there is no such webhook")
    return endpoint


async def known(values: TenantValues, endpoint: Endpoint) -> Known:
    """The same with what its row keeps sealed. Raises as `confidential.opened`."""
    return Known(endpoint, await confidential.opened(values, endpoint))


async def change(session: AsyncSession, keyring: Keyring, endpoint: Endpoint, kept: EndpointSecrets) -> Known:
    """Write a row, and what it keeps sealed. Raises as `Keyring.values_to_seal`."""
    await confidential.seal(session, keyring, endpoint, kept)
    session.add(endpoint)
    await session.flush()
    await session.refresh(endpoint)
    return Known(endpoint, kept)


async def disable(session: AsyncSession, endpoint: Endpoint, reason: str) -> None:
    """Tell it nothing more; what was on its way is given up. The endpoint has to be locked: who locks deliveries
    before their endpoint waits for who does it the other way round."""
    if endpoint.disabled_at is None:
        endpoint.disabled_at = text("now()")  # type: ignore[assignment]
        endpoint.disabled_reason = reason
        session.add(endpoint)
    await session.exec(
        update(Delivery)
        .where(col(Delivery.endpoint_id) == endpoint.id, col(Delivery.state) == "pending")
        .values(state="given_up", last_error=f"the webhook was disabled: {reason}")
    )


async def rotate(session: AsyncSession, keyring: Keyring, tenant: str, endpoint_id: str, overlap_s: int) -> Known:
    """A new secret; the one before signs as well for `overlap_s` seconds more. Raises as `found` and `known`."""
    endpoint = await found(session, tenant, endpoint_id, locked=True)
    before = await confidential.opened(keyring.of_tenants(session), endpoint)
    endpoint.previous_until = func.now() + timedelta(seconds=overlap_s)  # type: ignore[assignment]
    after = EndpointSecrets(url=before.url, secret=new_secret(), previous_secret=before.secret)
    return await change(session, keyring, endpoint, after)


async def send_test(session: AsyncSession, tenant: str, endpoint_id: str) -> Delivery:
    """A message for this endpoint alone, whichever types it wants.

    Raises:
        NotFound: as `found`.
        Conflict: the endpoint is disabled.
    """
    endpoint = await _enabled(session, tenant, endpoint_id)
    message_id = new_id("msg")
    payload = {"webhook_id": endpoint.id}
    session.add(
        Message(id=message_id, tenant_id=tenant, type="webhook.test", source=f"test:{message_id}", payload=payload)
    )
    await session.flush()
    delivery = Delivery(id=new_id("dlv"), tenant_id=tenant, endpoint_id=endpoint.id, message_id=message_id)
    session.add(delivery)
    await session.flush()
    await session.refresh(delivery)
    await notify(session, DELIVERY_CHANNEL)
    return delivery


async def resend(session: AsyncSession, tenant: str, endpoint_id: str, delivery_id: str) -> Delivery:
    """Deliver at once, and as often as a new message: what was given up, what waits, and what was delivered, too.
    Raises as `send_test`."""
    await _enabled(session, tenant, endpoint_id)
    query = select(Delivery).where(
        Delivery.tenant_id == tenant, Delivery.endpoint_id == endpoint_id, Delivery.id == delivery_id
    )
    delivery = (await session.exec(query.with_for_update())).one_or_none()
    if delivery is None:
        raise NotFound("there is no such delivery")
    delivery.state, delivery.attempts, delivery.delivered_at = "pending", 0, None
    delivery.next_at = text("now()")  # type: ignore[assignment]
    session.add(delivery)
    await session.flush()
    await session.refresh(delivery)
    await notify(session, DELIVERY_CHANNEL)
    return delivery


async def _enabled(session: AsyncSession, tenant: str, endpoint_id: str) -> Endpoint:
    endpoint = await found(session, tenant, endpoint_id, locked=True)
    if endpoint.disabled_at is not None:
        raise Conflict("the webhook is disabled; enable it first")
    return endpoint
