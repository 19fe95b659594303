"""The key of the audit log: made once, kept in the database wrapped by the master key, so that who may write to the
database, but has not got the master key, writes no line that looks like ours."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select

from pipeline.sealed.form import What
from serving.audit.acting import ACTING
from serving.audit.lines import SYSTEM_CHAIN, Line, begun, columns, tag
from serving.db.audit import AuditHead, AuditKey
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import AuditKeyMissing
from serving.storage.keyring import fresh_key
from serving.storage.master import Master

#: As what it is wrapped.
WHAT: Final = What("", "", "audit key", 1)

#: Links are made from the moment on that there is a key, and go by it.
_LINKED: Final = text("SELECT EXISTS (SELECT FROM audit_head)")

#: Lines from before there was a key, of each chain: these may have no tags, and none that comes later.
_BEFORE: Final = text(
    """
    SELECT coalesce(tenant_id, '') AS chain, count(*) AS lines FROM audit_pending WHERE NOT tagged GROUP BY 1 ORDER BY 1
    """
)


class AuditSigner:
    """Has the key, once it was asked for. One for a process and a database."""

    def __init__(self, database: Database, master: Master) -> None:
        """`master`: wraps the key, and unwraps it."""
        self._database, self._master = database, master
        self._key: bytes | None = None

    async def key(self) -> bytes:
        """[32] The key; made where there is none.

        Raises:
            AuditKeyMissing: it is gone, though there are lines that were signed with it.
            MasterKeyMissing: the master key that it is wrapped by is not here.
            Altered: the row is not what was written.
            DatabaseUnavailable: see `Database.read`.
        """
        if self._key is None:
            row = await self._read() or await self._made()
            self._key = await self._master.unwrap(row.wrapped, WHAT, row.master)
        return self._key

    def tagged(self, line: Line) -> bytes:
        """[32] The tag of a line. Whoever writes one has asked for the key before: `ready`."""
        assert self._key is not None
        return tag(self._key, line)

    async def _read(self) -> AuditKey | None:
        async with self._database.read(SYSTEM) as session:
            # In this order: where there are links, there was a key before.
            linked = (await execute(session, _LINKED)).scalar_one()
            row = (await session.exec(select(AuditKey))).first()
            if row is None and linked:
                raise AuditKeyMissing(
                    "the key of the audit log is gone from the database (table audit_key), though there are lines that "
                    "were signed with it; put it back from a backup"
                )
        return row

    async def _made(self) -> AuditKey:
        key = fresh_key()
        row = {
            "version": WHAT.generation,
            "wrapped": await self._master.wrap(key, WHAT),
            "master": self._master.name,
        }
        acting = ACTING.set(None)
        try:
            async with self._database.write("audit.key", SYSTEM) as session:
                # Of two who make it at once, one waits for the other, and has that one's.
                made = await execute(session, insert(AuditKey).values(row).on_conflict_do_nothing())
                if made.rowcount:
                    before = {row.chain: row.lines for row in (await execute(session, _BEFORE)).all()}
                    await (await session.connection()).execute(insert(AuditHead), _heads(key, before))
                return (await session.exec(select(AuditKey))).one()
        finally:
            ACTING.reset(acting)


def _heads(key: bytes, before: Mapping[str, int]) -> list[dict[str, Any]]:
    """Rows of the chains that there are as soon as there is a key: the system's, for a head that is made later is no
    head, and those that have lines from before. `before`: how many, by chain."""
    chains = [chain for chain in before if chain != SYSTEM_CHAIN]
    heads = [begun(SYSTEM_CHAIN, 0, len(chains), before.get(SYSTEM_CHAIN, 0))]
    heads += [begun(chain, ordinal, untagged=before[chain]) for ordinal, chain in enumerate(chains, 1)]
    return [columns(head) | {"seal": head.seal(key)} for head in heads]
