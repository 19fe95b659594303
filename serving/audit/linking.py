"""Gives entries their places in chains, about once a second, after they were committed: who writes waits for nobody.

One process at a time does it, whichever comes first. What was not linked yet can be taken away unseen by who may write
to the database; nothing can be put there unseen, for entries have tags.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import insert, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.audit.lines import BEGINNING, SYSTEM_CHAIN, Head, begun, columns, head_of, line_of, link, same, tag
from serving.audit.signing import AuditSigner
from serving.db.audit import AuditEntry, AuditHead, AuditLink
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.errors import ServerError

#: Entries that are linked in one transaction.
_AT_ONCE: Final = 2000

#: Seconds after which a line that has no place yet is one whose linking is held up: it is done once a second.
LATE_S: Final = 60.0

#: Also held by who deletes old ones.
ALONE: Final = text("SELECT pg_try_advisory_xact_lock(hashtextextended('audit chains', 0))")

#: For how long the oldest line has waited; without a row where none waits.
OLDEST: Final = text(
    """
    WITH waiting AS MATERIALIZED (SELECT id FROM audit_pending ORDER BY tagged, id LIMIT 1000)
    SELECT coalesce(extract(epoch FROM now() - min(a.at)), 0)::float8 AS oldest_s
    FROM waiting LEFT JOIN audit a ON a.id = waiting.id HAVING count(*) > 0
    """
)

#: Those from before there was a key first of all: from the first that has a tag on, all are to have one.
_TAKEN: Final = text(
    """
    DELETE FROM audit_pending WHERE id = ANY(ARRAY(SELECT id FROM audit_pending ORDER BY tagged, id LIMIT :most))
    RETURNING id, coalesce(tenant_id, '') AS chain, tagged
    """
)

#: A line has one place: that it is said to have none does not give it another.
_PLACED: Final = text("SELECT id FROM audit_link WHERE id = ANY(:ids)")

#: Where the head of a chain is gone: as far as its links go.
_LAST: Final = text("SELECT number, mac FROM audit_link WHERE chain = :chain ORDER BY number DESC LIMIT 1")


class AuditStuck(ServerError):
    """Lines of the audit log wait for their places for longer than they should: somebody holds that up. Nobody who asks
    something is told: the log of the server is."""

    retryable = True


class Linker:
    """Links what was committed. One for a process."""

    def __init__(self, database: Database, signer: AuditSigner) -> None:
        self._database, self._signer = database, signer

    async def link(self) -> int:
        """Link all there is, but for what is written meanwhile; how many entries that were. Nothing where another
        process is at it.

        Raises:
            AuditStuck: another one is, and lines have waited for too long.
            AuditKeyMissing, MasterKeyMissing, Altered: see `AuditSigner.key`.
        """
        total = 0
        while True:
            async with self._database.read(SYSTEM) as session:
                oldest_s = (await execute(session, OLDEST)).scalar_one_or_none()
                if oldest_s is None:
                    return total
            key = await self._signer.key()
            async with self._database.write("audit.link", SYSTEM) as session:
                if not (await execute(session, ALONE)).scalar_one():
                    if oldest_s > LATE_S:
                        raise AuditStuck(
                            f"lines of the audit log have waited for their places for {oldest_s:.0f} s: somebody holds "
                            "the lock for that, who may be no process of this server; what waits can be taken away "
                            "unseen (see docs/audit.md)"
                        )
                    return total
                total += await _linked(session, key)


async def _linked(session: AsyncSession, key: bytes) -> int:
    taken = {row.id: row for row in (await execute(session, _TAKEN, most=_AT_ONCE)).all()}
    count = len(taken)
    for id in (await execute(session, _PLACED, ids=list(taken))).scalars():
        del taken[id]
    entries = (await session.exec(select(AuditEntry).where(col(AuditEntry.id).in_(taken)))).all()
    found = {entry.id: entry for entry in entries}
    # By the database's clock; those that are gone already, last.
    order = sorted(taken, key=lambda id: (taken[id].tagged, id not in found, found[id].at if id in found else None, id))
    chains: dict[str, list[tuple[str, AuditEntry | None]]] = {}
    for id in order:
        chains.setdefault(taken[id].chain, []).append((id, found.get(id)))
    heads = await _heads(session, key, list(chains))
    links: list[dict[str, Any]] = []
    for chain, members in chains.items():
        head, whole = heads[chain]
        for id, entry in members:
            line = entry and line_of(entry)
            mark = entry and entry.tag
            mac = link(key, chain, head.number + 1, head.mac, mark, line, id)
            number, tagged = head.number + 1, head.tagged
            if number < tagged and line and mark and same(tag(key, line), mark):
                # Of those from before, some were taken away. Nothing else gets their places.
                tagged = number
            head = replace(head, number=number, mac=mac, tagged=tagged)
            links.append({"chain": chain, "number": head.number, "id": id, "mac": mac})
        await write_head(session, key, head, whole=whole)
    if links:
        await (await session.connection()).execute(insert(AuditLink), links)
    return count


async def _heads(session: AsyncSession, key: bytes, chains: Sequence[str]) -> dict[str, tuple[Head, bool]]:
    """Heads of chains, made where there is none, and whether each is as it was written; the system's among them."""
    query = select(AuditHead).where(col(AuditHead.chain).in_([SYSTEM_CHAIN, *chains]))
    rows = (await session.exec(query)).all()
    heads = {row.chain: (head := head_of(row), same(head.seal(key), row.seal)) for row in rows}
    if SYSTEM_CHAIN not in heads:
        # It is made with the key. This one goes on, but never looks as if it was written.
        heads[SYSTEM_CHAIN] = await _begun(session, SYSTEM_CHAIN, 0), False
    for chain in chains:
        if chain not in heads:
            system, whole = heads[SYSTEM_CHAIN]
            system = replace(system, chains=system.chains + 1)
            heads[SYSTEM_CHAIN] = system, whole
            await write_head(session, key, system, whole=whole)
            heads[chain] = await _begun(session, chain, system.chains), True
    return heads


async def _begun(session: AsyncSession, chain: str, ordinal: int) -> Head:
    """The head of a chain that has none: where its head was taken away, one that goes on with what is left, but has
    another ordinal than it had, so that the loss is seen."""
    last = (await execute(session, _LAST, chain=chain)).one_or_none()
    number, mac = (last.number, last.mac) if last else (0, BEGINNING)
    head = replace(begun(chain, ordinal), number=number, mac=mac)
    row = columns(head) | {"seal": b""}
    await (await session.connection()).execute(insert(AuditHead), [row])
    return head


async def write_head(session: AsyncSession, key: bytes, head: Head, *, whole: bool) -> None:
    """Write a head down. `whole`: whether it was found as it was written; else it never looks so again."""
    row = columns(head) | {"seal": head.seal(key) if whole else b""}
    await execute(session, update(AuditHead).where(col(AuditHead.chain) == head.chain).values(row))
