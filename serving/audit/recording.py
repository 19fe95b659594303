"""Notes a write, in its own transaction: there is no write without its entry, and no entry without its write."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import DateTime, Integer, LargeBinary, Text, bindparam, event, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.audit.acting import ACTING, MAX_TARGETS, SERVER
from serving.audit.lines import Line, columns
from serving.db.failpoints import Write
from serving.ids import new_id

if TYPE_CHECKING:
    from serving.audit.signing import AuditSigner

#: In `info` of a session: when its transaction began, and, of one that writes, who signs what is noted in it.
AT: Final = "began at"
SIGNER: Final = "audit signer"

_FIELDS: Final = {
    "id": Text(),
    "tenant_id": Text(),
    "at": DateTime(timezone=True),
    "kind": Text(),
    "operation": Text(),
    "actor": Text(),
    "credential": Text(),
    "address": Text(),
    "request_id": Text(),
    "write": Text(),
    "targets": ARRAY(Text),
    "code": Text(),
    "count": Integer(),
    "tag": LargeBinary(),
}

#: An entry, and that it has no place in its chain yet.
_ADD = """
WITH noted AS (
    INSERT INTO audit ({fields}) SELECT {values} WHERE {condition} RETURNING id, tenant_id
)
INSERT INTO audit_pending (id, tenant_id) SELECT id, tenant_id FROM noted
"""


def _adds(condition: str):
    values = ", ".join(f":{name}" for name in _FIELDS)
    statement = text(_ADD.format(fields=", ".join(_FIELDS), values=values, condition=condition))
    return statement.bindparams(*(bindparam(name, type_=kind) for name, kind in _FIELDS.items()))


_ALWAYS = _adds("true")

#: Only where something was written: a request that was made before, and finds what it made then, is no write.
_WRITTEN = _adds("pg_current_xact_id_if_assigned() IS NOT NULL")

KeyOperation = Literal["key.unwrap", "key.destroy", "key.rotate", "key.master"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be noted of something; the rest is known of the transaction that it is noted in."""

    kind: Literal["write", "read", "grant", "key", "refusal"]
    operation: str
    tenant_id: str | None
    actor: str | None
    credential: str | None = None
    address: str | None = None
    request_id: str | None = None
    write: str | None = None
    targets: tuple[str, ...] = ()
    code: str | None = None
    count: int = 1


async def ready(signer: "AuditSigner | None") -> None:
    """Have the key of the log at hand, where somebody acts: before a transaction is begun, for it may take one of its
    own. Raises as `AuditSigner.key`."""
    if signer is not None and ACTING.get() is not None:
        await signer.key()


async def add(session: AsyncSession, entries: Sequence[Entry]) -> None:
    """Note something in the transaction of a session. Raises as `ready`."""
    await _added(session, entries, _ALWAYS)


async def note(session: AsyncSession, write: Write, tenant: str | None) -> None:
    """Note that somebody writes; nothing where nobody acts, but the server itself. `tenant`: whom the transaction is
    for; None: the system, on behalf of whoever acts."""
    acting = ACTING.get()
    if acting is None:
        return
    await session.flush()
    entry = Entry(
        kind="write",
        operation=acting.operation,
        tenant_id=tenant or acting.tenant_id,
        actor=acting.actor,
        credential=acting.credential,
        address=acting.address,
        request_id=acting.request_id,
        write=write,
        targets=tuple([*acting.named, *acting.made][:MAX_TARGETS]),
    )
    await _added(session, [entry], _WRITTEN)


async def key_used(
    session: AsyncSession, operation: KeyOperation, tenant: str | None, targets: Sequence[str], count: int = 1
) -> None:
    """Note in its transaction what is done to keys, by whoever acts, or the server. Raises as `ready`.

    Args:
        tenant: whose keys they are; None: the system's.
        targets: ids of what they are of.
        count: of the keys.
    """
    acting = ACTING.get()
    entry = Entry(
        kind="key",
        operation=operation,
        tenant_id=tenant,
        actor=acting.actor if acting else SERVER,
        credential=acting and acting.credential,
        address=acting and acting.address,
        request_id=acting and acting.request_id,
        targets=tuple(targets[:MAX_TARGETS]),
        count=count,
    )
    await session.flush()
    await add(session, [entry])


def begin() -> None:
    """Forget what transactions before this one made: a request may write more than once."""
    acting = ACTING.get()
    if acting is not None:
        acting.made.clear()


async def _added(session: AsyncSession, entries: Sequence[Entry], statement: Any) -> None:
    signer: AuditSigner | None = session.info.get(SIGNER)
    if signer is not None:
        await signer.key()
    rows = [_row(entry, session.info[AT], signer) for entry in entries]
    if rows:
        await (await session.connection()).execute(statement, rows)


def _row(entry: Entry, at: datetime, signer: "AuditSigner | None") -> dict[str, Any]:
    line = Line(id=new_id("aud"), at=at, **{field.name: getattr(entry, field.name) for field in fields(entry)})
    return columns(line) | {"targets": list(line.targets), "tag": signer and signer.tagged(line)}


@event.listens_for(Session, "after_flush")
def _flushed(session: Session, _: Any) -> None:
    acting = ACTING.get()
    if acting is not None:
        rows: Iterable[object] = (*session.new, *session.deleted)
        for row in rows:
            name = getattr(row, "id", None)
            if isinstance(name, str):
                acting.about(name)
