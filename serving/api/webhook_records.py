"""Webhooks as callers see them."""

from datetime import UTC, datetime
from typing import Annotated, Literal, cast

import msgspec

from pipeline.record import Record
from serving.addresses import MAX_URL_CHARS
from serving.db.work import Delivery
from serving.webhooks.endpoints import Known

EventType = Literal["job.succeeded", "job.failed", "job.canceled", "webhook.test"]
Events = Annotated[tuple[EventType, ...], msgspec.Meta(max_length=16)]
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_URL_CHARS)]
Description = Annotated[str, msgspec.Meta(max_length=500)]


class WebhookRequest(Record, frozen=True, kw_only=True):
    """Where to tell what."""

    url: Url
    """Of the public Internet, https or http; without user or password."""
    events: Events = ()
    """Types of events; all, where none is named."""
    description: Description = ""


class WebhookPatch(Record, frozen=True, kw_only=True):
    """What is to be changed; what is left out stays."""

    url: Url | msgspec.UnsetType = msgspec.UNSET
    events: Events | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    """Once it is disabled, what was on its way is given up, and nothing new is noted for it."""


class WebhookView(Record, frozen=True, kw_only=True):
    """A webhook, without its secret."""

    id: str
    url: str
    events: tuple[str, ...]
    """Types of events; all, where none is named."""
    description: str
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    previous_secret_until: datetime | None
    """Until then, the secret before signs as well."""
    created_at: datetime


class NewWebhook(Record, frozen=True, kw_only=True):
    """A webhook with its secret, shown this once."""

    secret: str
    """`whsec_...`: what its messages are signed with, see standardwebhooks.com."""
    about: WebhookView


class AttemptView(Record, frozen=True, kw_only=True):
    """One try to deliver."""

    number: int
    at: datetime
    status: int | None
    """HTTP status; none where no answer came."""
    error: str | None
    """None where it was delivered."""
    duration_ms: int


DeliveryState = Literal["pending", "delivered", "given_up"]


class DeliveryView(Record, frozen=True, kw_only=True):
    """A message on its way to one webhook."""

    id: str
    message_id: str
    """`webhook-id` of the request; the same at every attempt."""
    type: str
    state: DeliveryState
    next_at: datetime | None
    """When it is tried next; none where it is not."""
    last_status: int | None
    last_error: str | None
    delivered_at: datetime | None
    created_at: datetime
    attempts: tuple[AttemptView, ...]
    """The last 50, latest last."""


def view(known: Known) -> WebhookView:
    """An endpoint as callers see it."""
    endpoint = known.row
    until = endpoint.previous_until
    return WebhookView(
        id=endpoint.id,
        url=known.secrets.url,
        events=tuple(endpoint.events),
        description=endpoint.description,
        enabled=endpoint.disabled_at is None,
        disabled_at=endpoint.disabled_at,
        disabled_reason=endpoint.disabled_reason,
        previous_secret_until=until if until is not None and until > datetime.now(UTC) else None,
        created_at=endpoint.created_at,
    )


def view_of_delivery(delivery: Delivery, type_: str, attempts: tuple[AttemptView, ...]) -> DeliveryView:
    """A row as callers see it, with the type of its message."""
    return DeliveryView(
        id=delivery.id,
        message_id=delivery.message_id,
        type=type_,
        state=cast(DeliveryState, delivery.state),
        next_at=delivery.next_at if delivery.state == "pending" else None,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
        delivered_at=delivery.delivered_at,
        created_at=delivery.created_at,
        attempts=attempts,
    )
