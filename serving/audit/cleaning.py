"""Deletes entries of the audit log that are old, from the beginning of each chain; the chain's head says how far."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.audit.lines import head_of, line_of, same
from serving.audit.linking import ALONE, write_head
from serving.audit.signing import AuditSigner
from serving.audit.verifying import Linked, Walk
from serving.db.audit import AuditHead
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.options import AuditOptions

_LOG = logging.getLogger(__name__)

#: Entries that are deleted in one transaction.
_AT_ONCE: Final = 2000

_SLACK: Final = timedelta(days=1)

#: Chains whose first entry is old.
_DUE: Final = text(
    """
    SELECT h.chain, now() - make_interval(days => :days) AS until FROM audit_head h
    JOIN audit_link l ON l.chain = h.chain AND l.number = h.first + 1
    LEFT JOIN audit a ON a.id = l.id
    WHERE a.id IS NULL OR a.at < now() - make_interval(days => :days) ORDER BY h.chain
    """
)

_FIRST: Final = text(
    """
    SELECT l.number, l.id AS linked_id, l.mac, a.* FROM audit_link l LEFT JOIN audit a ON a.id = l.id
    WHERE l.chain = :chain ORDER BY l.number LIMIT :most
    """
)

_GONE: Final = text("DELETE FROM audit WHERE id = ANY(:ids)")
_UNLINKED: Final = text("DELETE FROM audit_link WHERE chain = :chain AND number <= :number")


async def clean_audit(database: Database, signer: AuditSigner, options: AuditOptions) -> int:
    """Delete what is older than it is to be kept; how many entries that were. Several processes may do it at once.

    A chain is cleaned as far as it is what was written: what was changed stays where it is, to be looked at, and the
    log says so. Raises as `AuditSigner.key`.
    """
    async with database.read(SYSTEM) as session:
        due = (await execute(session, _DUE, days=options.keep_days)).all()
    removed = 0
    for one in due:
        found = _AT_ONCE
        while found == _AT_ONCE:
            key = await signer.key()
            async with database.write("clean.old", SYSTEM) as session:
                found = 0
                if (await execute(session, ALONE)).scalar_one():
                    found = await _cleaned(session, key, one.chain, one.until)
            removed += found
    return removed


async def _cleaned(session: AsyncSession, key: bytes, chain: str, until: datetime) -> int:
    row = (await session.exec(select(AuditHead).where(col(AuditHead.chain) == chain))).one()
    head = head_of(row)
    if not same(head.seal(key), row.seal):
        _LOG.error("old audit entries of %s stay: its head was altered; see `automations audit verify`", _named(chain))
        return 0
    walk, done, last = Walk(key, head), [], None
    for one in (await execute(session, _FIRST, chain=chain, most=_AT_ONCE)).all():
        if one.id is not None and one.at >= until:
            break
        if list(walk.step(_linked(one))):
            _LOG.error("audit entry %s of %s is not what was written; see `automations audit verify`", one.number,
                       _named(chain))  # fmt: skip
            break
        done.append(one.linked_id)
        last = one
    if last is not None:
        await execute(session, _GONE, ids=done)
        await execute(session, _UNLINKED, chain=chain, number=last.number)
        # Of two lines, the older one may come later, by as long as a transaction takes.
        cleared = max(head.cleared or last.at - _SLACK, last.at - _SLACK)
        head = replace(head, first=last.number, first_mac=last.mac, cleared=cleared)
        await write_head(session, key, head, whole=True)
    return len(done)


def _linked(row: Any) -> Linked:
    return Linked(row.number, row.linked_id, row.mac, None if row.id is None else line_of(row), row.tag)


def _named(chain: str) -> str:
    return chain or "the system"
