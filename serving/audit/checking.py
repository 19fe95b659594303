"""Verifies the whole log: its key, the heads of its chains, each line, and that there are no lines besides."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Final

import asyncpg

from pipeline.record import Record
from serving.audit.lines import SYSTEM_CHAIN, Head, head_of, line_of, same
from serving.audit.linking import LATE_S
from serving.audit.verifying import Finding, Linked, Walk
from serving.db.database import Database
from serving.errors import DatabaseUnavailable

#: Findings that are told; of more, how many.
MAX_FINDINGS: Final = 100

_HEADS: Final = "SELECT * FROM audit_head ORDER BY ordinal, chain"

_LINKS: Final = """
SELECT l.chain, l.number, l.id AS linked_id, l.mac, a.*
FROM audit_link l LEFT JOIN audit a ON a.id = l.id WHERE l.chain = $1 ORDER BY l.number
"""

_LOST: Final = "SELECT DISTINCT chain FROM audit_link WHERE chain NOT IN (SELECT chain FROM audit_head)"

_BESIDES: Final = """
SELECT id, coalesce(tenant_id, '') AS chain FROM audit a
WHERE NOT EXISTS (SELECT FROM audit_link l WHERE l.id = a.id)
    AND NOT EXISTS (SELECT FROM audit_pending p WHERE p.id = a.id)
ORDER BY id LIMIT $1
"""

#: An index forbids it; who may write to the database may have dropped that.
_REPEATED: Final = """
SELECT chain, number, id FROM (
    SELECT chain, number, id, row_number() OVER (PARTITION BY id ORDER BY chain, number) AS place FROM audit_link
) l WHERE place > 1 ORDER BY chain, number LIMIT $1
"""

_WAITING: Final = "SELECT count(*) FROM audit_pending"

#: Those whose linking is held up, and those that were taken away before it.
_LATE: Final = """
SELECT p.id, coalesce(p.tenant_id, '') AS chain, a.at FROM audit_pending p LEFT JOIN audit a ON a.id = p.id
WHERE a.id IS NULL OR a.at < now() - make_interval(secs => $1) ORDER BY p.id
"""


class KeptHead(Record, frozen=True, kw_only=True):
    """How a chain ended at some time: kept elsewhere, it shows later that nothing was cut off since."""

    chain: str
    """Id of the tenant; empty: the system's."""
    number: int
    """Of its last line."""
    mac: str
    """The link of that, in hexadecimal digits."""


class Checked(Record, frozen=True, kw_only=True):
    """What was found."""

    chains: int
    lines: int
    """That are linked."""
    untagged: int
    """Those of them from before there were tags; they could have been written by anybody before they were linked."""
    waiting: int
    """Lines that are not linked yet."""
    wrong: int
    """How many findings there are."""
    findings: tuple[Finding, ...]
    """The first of them, at most 100."""


class _Count:
    """What was found so far."""

    def __init__(self) -> None:
        self.lines = self.untagged = self.wrong = 0
        self.findings: list[Finding] = []

    def add(self, found: Iterator[Finding]) -> None:
        for finding in found:
            self.wrong += 1
            if len(self.findings) < MAX_FINDINGS:
                self.findings.append(finding)


async def check(database: Database, key: bytes, kept: Sequence[KeptHead] = ()) -> Checked:
    """Verify all of it, as it is at one moment.

    Args:
        key: [32] of the log.
        kept: heads that were kept elsewhere.

    Raises:
        DatabaseUnavailable: it cannot be reached now.
    """
    count = _Count()
    async with _moment(database) as connection:
        rows = await connection.fetch(_HEADS)
        heads = [_head(row) for row in rows]
        count.add(_counted(heads))
        for (chain,) in await connection.fetch(_LOST):
            count.add(iter([_of(chain, "head missing", "there are links, and no head")]))
        for head, row in zip(heads, rows, strict=True):
            elsewhere = {one.number: one.mac for one in kept if one.chain == head.chain}
            await _walk(connection, key, head, row["seal"], elsewhere, count)
        count.add(_unknown(heads, kept))
        for row in await connection.fetch(_BESIDES, MAX_FINDINGS):
            count.add(iter([_of(row["chain"], "added", "it is in no chain", row["id"])]))
        for row in await connection.fetch(_REPEATED, MAX_FINDINGS):
            count.add(iter([_of(row["chain"], "repeated", "it has a place already", row["id"], row["number"])]))
        async for row in connection.cursor(_LATE, LATE_S, prefetch=1000):
            count.add(iter([_unlinked(row)]))
        waiting = await connection.fetchval(_WAITING)
    return Checked(
        chains=len(heads),
        lines=count.lines,
        untagged=count.untagged,
        waiting=waiting,
        wrong=count.wrong,
        findings=tuple(count.findings),
    )


async def heads(database: Database) -> tuple[KeptHead, ...]:
    """How chains end now. Raises DatabaseUnavailable."""
    async with _moment(database) as connection:
        found = [_head(row) for row in await connection.fetch(_HEADS)]
    return tuple(KeptHead(chain=head.chain, number=head.number, mac=head.mac.hex()) for head in found)


async def _walk(
    connection: Any, key: bytes, head: Head, seal: bytes, elsewhere: Mapping[int, str], count: _Count
) -> None:
    walk = Walk(key, head)
    count.add(walk.begin(seal))
    seen = {head.first: head.first_mac.hex()}
    async for row in connection.cursor(_LINKS, head.chain, prefetch=1000):
        count.lines += 1
        one = _linked(row)
        count.untagged += one.line is not None and one.tag is None
        count.add(walk.step(one))
        if one.number in elsewhere:
            seen[one.number] = one.mac.hex()
    count.add(walk.end())
    for number, mac in elsewhere.items():
        # What was deleted as old cannot be compared any more.
        if number >= head.first and not same(bytes.fromhex(mac), bytes.fromhex(seen.get(number, ""))):
            detail = "its link is another one than was kept, or it is gone"
            count.add(iter([_of(head.chain, "not as kept elsewhere", detail, number=number)]))


def _counted(heads: Sequence[Head]) -> Iterator[Finding]:
    """Whether there are as many chains as there were."""
    system = [head for head in heads if head.chain == SYSTEM_CHAIN]
    if not system:
        yield _of(SYSTEM_CHAIN, "head missing", "the system's chain has none, though it is made with the key")
    ordinals = {head.ordinal for head in heads if head.chain != SYSTEM_CHAIN}
    expected = set(range(1, system[0].chains + 1)) if system else set()
    for ordinal in sorted(expected - ordinals):
        yield _of(SYSTEM_CHAIN, "head missing", f"that of chain {ordinal}, in the order in which they began, is gone")
    if system and len(heads) - 1 != len(ordinals & expected):
        yield _of(SYSTEM_CHAIN, "head altered", "there are more chains than began")


def _unknown(heads: Sequence[Head], kept: Sequence[KeptHead]) -> Iterator[Finding]:
    there = {head.chain for head in heads}
    for one in kept:
        if one.chain not in there:
            yield _of(one.chain, "not as kept elsewhere", "the chain is gone", number=one.number)


def _unlinked(row: Any) -> Finding:
    if row["at"] is None:
        return _of(row["chain"], "dropped", "the line is gone, before it had a place", row["id"])
    detail = f"it has had no place since {row['at']:%Y-%m-%d %H:%M} UTC: linking is held up"
    return _of(row["chain"], "waiting", detail, row["id"])


def _of(chain: str, problem: Any, detail: str, id: str | None = None, number: int | None = None) -> Finding:
    return Finding(chain=chain, number=number, id=id, problem=problem, detail=detail)


def _linked(row: Any) -> Linked:
    line = None if row["id"] is None else line_of(SimpleNamespace(**row))
    return Linked(row["number"], row["linked_id"], row["mac"], line, row["tag"])


def _head(row: Any) -> Head:
    return head_of(SimpleNamespace(**row))


@asynccontextmanager
async def _moment(database: Database) -> AsyncIterator[Any]:
    """A connection that sees all of the database as it is at one moment. Raises DatabaseUnavailable."""
    try:
        connection = await asyncpg.connect(database.url, timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DatabaseUnavailable("the database cannot be reached") from error
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("SELECT set_config('app.tenant', '*', true)")
            yield connection
    finally:
        await connection.close()
