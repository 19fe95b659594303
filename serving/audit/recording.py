"""Notes a write, in its own transaction: there is no write without its entry, and no entry without its write."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Text, bindparam, event, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.audit.acting import ACTING, MAX_TARGETS
from serving.db.failpoints import Write
from serving.db.statements import execute
from serving.ids import new_id

#: Only where something was written: a request that was made before, and finds what it made then, is no write.
_NOTE = text(
    """
    INSERT INTO audit (id, tenant_id, kind, operation, actor, credential, address, request_id, write, targets)
    SELECT :id, :tenant, 'write', :operation, :actor, :credential, :address, :request_id, :write, :targets
    WHERE pg_current_xact_id_if_assigned() IS NOT NULL
    """
).bindparams(bindparam("targets", type_=ARRAY(Text)))


async def note(session: AsyncSession, write: Write, tenant: str | None) -> None:
    """Note that somebody writes; nothing where nobody acts, but the server itself. `tenant`: whom the transaction is
    for; None: the system, on behalf of whoever acts."""
    acting = ACTING.get()
    if acting is None:
        return
    await session.flush()
    await execute(
        session,
        _NOTE,
        id=new_id("aud"),
        tenant=tenant or acting.tenant_id,
        operation=acting.operation,
        actor=acting.actor,
        credential=acting.credential,
        address=acting.address,
        request_id=acting.request_id,
        write=write,
        targets=[*acting.named, *acting.made][:MAX_TARGETS],
    )


def begin() -> None:
    """Forget what transactions before this one made: a request may write more than once."""
    acting = ACTING.get()
    if acting is not None:
        acting.made.clear()


@event.listens_for(Session, "after_flush")
def _flushed(session: Session, _: Any) -> None:
    acting = ACTING.get()
    if acting is not None:
        rows: Iterable[object] = (*session.new, *session.deleted)
        for row in rows:
            name = getattr(row, "id", None)
            if isinstance(name, str):
                acting.about(name)
