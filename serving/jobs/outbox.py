"""What tenants are to be told, written in the transaction that makes it true; `serving.webhooks` delivers it."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.statements import execute
from serving.db.work import Delivery, Endpoint, Message
from serving.ids import new_id
from serving.jobs.events import notify

#: Wakes those who deliver.
DELIVERY_CHANNEL: Final = "automations_deliveries"

_ALL_OR_THIS = text("(cardinality(webhook_endpoint.events) = 0 OR :type = ANY(webhook_endpoint.events))")


async def tell(
    session: AsyncSession, tenant_id: str, type_: str, source: str, payload: Mapping[str, Any]
) -> str | None:
    """A message for every endpoint of the tenant that wants this type; its id, or None where it was told before.

    Args:
        source: names what happened. The same is told once, however often it is tried.
        payload: where it is about a video, `video_id` says so: the message goes with it.
    """
    written = await execute(
        session,
        insert(Message)
        .values(
            id=new_id("msg"),
            tenant_id=tenant_id,
            type=type_,
            source=source,
            video_id=payload.get("video_id"),
            payload=dict(payload),
        )
        .on_conflict_do_nothing(index_elements=["tenant_id", "source"])
        .returning(col(Message.id)),  # type: ignore[call-overload]
    )
    message_id = written.scalar_one_or_none()
    if message_id is None:
        return None
    wanted = select(Endpoint.id).where(
        Endpoint.tenant_id == tenant_id, col(Endpoint.disabled_at).is_(None), _ALL_OR_THIS.bindparams(type=type_)
    )
    # They stay until this is committed: an endpoint that is deleted meanwhile must not undo what is told here.
    for endpoint_id in (await session.exec(wanted.with_for_update(read=True, key_share=True))).all():
        session.add(Delivery(id=new_id("dlv"), tenant_id=tenant_id, endpoint_id=endpoint_id, message_id=message_id))
    await notify(session, DELIVERY_CHANNEL)
    return message_id
