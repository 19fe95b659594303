"""Webhooks, as their administrators manage them."""

from typing import Annotated

import msgspec
from litestar import Controller, delete, get, patch, post
from litestar.params import Parameter
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.addresses import checked
from serving.api.access import Principal, needs
from serving.api.constraints import FROM_ZERO
from serving.api.page import DEFAULT_LIMIT, MAX_LIMIT, Page, decode_cursor, page_of
from serving.api.webhook_records import (
    AttemptView,
    DeliveryView,
    NewWebhook,
    WebhookPatch,
    WebhookRequest,
    WebhookView,
    view,
    view_of_delivery,
)
from serving.db.database import Database
from serving.db.work import Attempt, Delivery, Endpoint, Message
from serving.storage.store import Store
from serving.webhooks import endpoints

WebhookId = Annotated[str, Parameter(pattern=r"^whk_[0-9A-Z]{26}$", description="Id of a webhook")]
DeliveryId = Annotated[str, Parameter(pattern=r"^dlv_[0-9A-Z]{26}$", description="Id of a delivery")]

#: For how long the secret before may go on to sign, at most, seconds.
_MAX_OVERLAP_S = 7 * 24 * 3600


class Webhooks(Controller):
    """`/v1/webhooks`"""

    path = "/v1/webhooks"
    tags = ("webhooks",)

    @post(operation_id="create_webhook", **needs("webhooks:manage"), summary="Be told at a URL")
    async def create(self, principal: Principal, database: Database, store: Store, data: WebhookRequest) -> NewWebhook:
        """Be told at a URL what happens. The secret is shown in this answer and never again."""
        checked(data.url)
        async with database.write("webhook.write", principal.tenant_id) as session:
            made = await endpoints.create(
                session, store.keyring, principal.tenant_id, data.url, sorted(set(data.events)), data.description
            )
            return NewWebhook(secret=made.secrets.secret, about=view(made))

    @get(operation_id="list_webhooks", **needs("webhooks:manage"), summary="All webhooks")
    async def many(self, principal: Principal, database: Database, store: Store) -> tuple[WebhookView, ...]:
        """All webhooks, latest first; there are at most 50."""
        query = select(Endpoint).where(Endpoint.tenant_id == principal.tenant_id).order_by(col(Endpoint.id).desc())
        async with database.read(principal.tenant_id) as session:
            rows = (await session.exec(query)).all()
            opening = store.keyring.of_tenants(session)
            return tuple([view(await endpoints.known(opening, row)) for row in rows])

    @get("/{webhook_id:str}", operation_id="get_webhook", **needs("webhooks:manage"), summary="One webhook")
    async def one(self, principal: Principal, database: Database, store: Store, webhook_id: WebhookId) -> WebhookView:
        """One webhook."""
        async with database.read(principal.tenant_id) as session:
            row = await endpoints.found(session, principal.tenant_id, webhook_id)
            return view(await endpoints.known(store.keyring.of_tenants(session), row))

    @patch("/{webhook_id:str}", operation_id="patch_webhook", **needs("webhooks:manage"), summary="Change a webhook")
    async def change(
        self, principal: Principal, database: Database, store: Store, webhook_id: WebhookId, data: WebhookPatch
    ) -> WebhookView:
        """Change a webhook. One that was disabled, also by answering 410, is enabled again with `enabled: true`."""
        if data.url is not msgspec.UNSET:
            checked(data.url)
        async with database.write("webhook.write", principal.tenant_id) as session:
            endpoint = await endpoints.found(session, principal.tenant_id, webhook_id, locked=True)
            kept = (await endpoints.known(store.keyring.of_tenants(session), endpoint)).secrets
            if data.url is not msgspec.UNSET:
                kept = msgspec.structs.replace(kept, url=data.url)
            if data.events is not msgspec.UNSET:
                endpoint.events = sorted(set(data.events))
            if data.description is not msgspec.UNSET:
                endpoint.description = data.description
            if data.enabled is True:
                endpoint.disabled_at = endpoint.disabled_reason = None
            if data.enabled is False:
                await endpoints.disable(session, endpoint, "by request")
            return view(await endpoints.change(session, store.keyring, endpoint, kept))

    @delete("/{webhook_id:str}", operation_id="delete_webhook", **needs("webhooks:manage"), summary="Delete a webhook")
    async def remove(self, principal: Principal, database: Database, webhook_id: WebhookId) -> None:
        """Delete a webhook, and what was on its way to it."""
        async with database.write("webhook.write", principal.tenant_id) as session:
            await session.delete(await endpoints.found(session, principal.tenant_id, webhook_id, locked=True))

    @post(
        "/{webhook_id:str}/rotate",
        operation_id="rotate_webhook_secret",
        **needs("webhooks:manage"),
        status_code=200,
        summary="A new secret",
    )
    async def rotate(
        self,
        principal: Principal,
        database: Database,
        store: Store,
        webhook_id: WebhookId,
        overlap_s: Annotated[
            int,
            Parameter(
                ge=0,
                schema_extra=FROM_ZERO,
                le=_MAX_OVERLAP_S,
                description="How long the old secret signs as well, seconds",
            ),
        ] = endpoints.OVERLAP_S,
    ) -> NewWebhook:
        """A new secret, shown in this answer and never again. Meanwhile messages carry a signature with each, so that
        the receiver can change over; with `overlap_s=0`, for a secret that leaked, only the new one counts."""
        async with database.write("webhook.write", principal.tenant_id) as session:
            made = await endpoints.rotate(session, store.keyring, principal.tenant_id, webhook_id, overlap_s)
            return NewWebhook(secret=made.secrets.secret, about=view(made))

    @post(
        "/{webhook_id:str}/test",
        operation_id="test_webhook",
        **needs("webhooks:manage"),
        status_code=202,
        summary="Send a test",
    )
    async def send_test(self, principal: Principal, database: Database, webhook_id: WebhookId) -> DeliveryView:
        """Send a message of type `webhook.test`, on the way of all others, whichever types the webhook wants."""
        async with database.write("webhook.write", principal.tenant_id) as session:
            return view_of_delivery(
                await endpoints.send_test(session, principal.tenant_id, webhook_id), "webhook.test", ()
            )

    @get(
        "/{webhook_id:str}/deliveries",
        operation_id="list_webhook_deliveries",
        **needs("webhooks:manage"),
        summary="What was sent, and what came of it",
    )
    async def deliveries(
        self,
        principal: Principal,
        database: Database,
        webhook_id: WebhookId,
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: Annotated[str | None, Parameter(max_length=512, required=False)] = None,
    ) -> Page[DeliveryView]:
        """Deliveries, latest first, with every attempt."""
        query = (
            select(Delivery, Message.type)
            .join(Message, col(Message.id) == col(Delivery.message_id))
            .where(Delivery.tenant_id == principal.tenant_id, Delivery.endpoint_id == webhook_id)
            .order_by(col(Delivery.id).desc())
            .limit(limit + 1)
        )
        if cursor is not None:
            query = query.where(col(Delivery.id) < decode_cursor(cursor, str))
        async with database.read(principal.tenant_id) as session:
            await endpoints.found(session, principal.tenant_id, webhook_id)
            rows = (await session.exec(query)).all()
            attempts = await _attempts(session, [row.id for row, _ in rows])
        return page_of(
            rows,
            limit,
            lambda row: view_of_delivery(row[0], row[1], attempts.get(row[0].id, ())),
            lambda row: row[0].id,
        )

    @post(
        "/{webhook_id:str}/deliveries/{delivery_id:str}/resend",
        operation_id="resend_webhook_delivery",
        **needs("webhooks:manage"),
        status_code=202,
        summary="Send it once more",
    )
    async def resend(
        self, principal: Principal, database: Database, webhook_id: WebhookId, delivery_id: DeliveryId
    ) -> DeliveryView:
        """Send a message once more, at once and under the same id: given up, waiting, or delivered already."""
        async with database.write("webhook.write", principal.tenant_id) as session:
            delivery = await endpoints.resend(session, principal.tenant_id, webhook_id, delivery_id)
            message = await session.get_one(Message, delivery.message_id)
            return view_of_delivery(
                delivery, message.type, (await _attempts(session, [delivery.id])).get(delivery.id, ())
            )


async def _attempts(session: AsyncSession, delivery_ids: list[str]) -> dict[str, tuple[AttemptView, ...]]:
    query = select(Attempt).where(col(Attempt.delivery_id).in_(delivery_ids)).order_by(col(Attempt.number))
    found: dict[str, tuple[AttemptView, ...]] = {}
    for row in (await session.exec(query)).all():
        shown = AttemptView(
            number=row.number, at=row.at, status=row.status, error=row.error, duration_ms=row.duration_ms
        )
        found[row.delivery_id] = (*found.get(row.delivery_id, ()), shown)
    return found
