"""Requests that are named by their senders: sent again, they come to what they came to the first time."""

import hashlib
from typing import Literal

import msgspec
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.record import Record
from serving.db.statements import execute
from serving.db.work import IdempotencyKey
from serving.errors import KeyReused

Operation = Literal["submit_job", "submit_jobs", "fetch_video"]


async def known(
    session: AsyncSession, tenant: str, operation: Operation, name: str, request: Record, *, target: str = ""
) -> str | None:
    """Id of what this request made before; None where it is new, and known from now on. Of several at once, all but one
    wait here until that one is committed.

    Args:
        name: of the request: `key:` and what its header says, or `id:` and an id of the caller's own.
        target: what a new one will make; where that is not known yet, see `aim`.

    Raises:
        KeyReused: the name was used for another request.
    """
    digest = hashlib.sha256(msgspec.json.encode(request, order="deterministic")).digest()
    values = {"tenant_id": tenant, "operation": operation, "key": name, "digest": digest, "target": target}
    row = None
    # One that is there may be tidied up before it is read; then it is new after all.
    while row is None:
        taken = await execute(
            session,
            insert(IdempotencyKey).values(values).on_conflict_do_nothing().returning(col(IdempotencyKey.key)),
        )
        if taken.one_or_none() is not None:
            return None
        row = await session.get(IdempotencyKey, (tenant, operation, name))
    if row.digest != digest:
        raise KeyReused("this key or id was used for another request; use a new one, or send the same request")
    return row.target


async def aim(session: AsyncSession, tenant: str, operation: Operation, name: str, target: str) -> None:
    """Say what a new request made, in its transaction."""
    row = await session.get_one(IdempotencyKey, (tenant, operation, name))
    row.target = target
    session.add(row)
