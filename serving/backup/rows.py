"""Rows on their way out of a database and into one, by PostgreSQL's COPY; and which of them stay behind.

Rows of what was erased are left out on the way: they never reach the new database's files.
"""

import asyncio
import re
from collections.abc import AsyncIterable, AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from serving.db.tables import METADATA

#: Bytes that are handed on at once, about.
_CHUNK_BYTES: Final = 1 << 18

#: What COPY's text format has in place of NULL, and of characters that it needs itself.
_NULL: Final = rb"\N"
_ESCAPED: Final = re.compile(rb"\\(.)")
_ESCAPES: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

_REFERENCES: Final = """
    SELECT c.conrelid::regclass::text AS child, c.confrelid::regclass::text AS parent,
        (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY k (number, n)
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number) AS child_columns,
        (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.confkey) WITH ORDINALITY k (number, n)
            JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number) AS parent_columns
    FROM pg_constraint c WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace
"""


#: What of a table is taken: nothing of an upload that is no video. It would become one after a restore, though that
#: video was erased meanwhile: no erasure names the upload.
WHERE: Final = {
    "upload": "video_id IS NOT NULL",
    "upload_part": "upload_id IN (SELECT id FROM upload WHERE video_id IS NOT NULL)",
    "idempotency_key": "target NOT IN (SELECT id FROM upload WHERE video_id IS NULL)",
    "data_key": "upload_id IS NULL OR upload_id IN (SELECT id FROM upload WHERE video_id IS NOT NULL)",
}


def columns_of(table: str) -> tuple[str, ...]:
    """Those that are not computed from others."""
    return tuple(str(column.name) for column in METADATA.tables[table].columns if column.computed is None)


@dataclass(slots=True)
class Out:
    """Rows of a table, as they come out of the database."""

    connection: asyncpg.Connection
    """In the transaction whose view of the database is taken."""
    table: str
    columns: tuple[str, ...]
    rows: int = 0
    """How many there were; known in the end."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """COPY's text format."""
        waiting: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=16)
        names = ", ".join(f'"{name}"' for name in self.columns)

        async def copy() -> str:
            try:
                query = f'SELECT {names} FROM "{self.table}" WHERE {WHERE.get(self.table, "true")}'
                return await self.connection.copy_from_query(query, output=waiting.put, format="text")
            finally:
                await waiting.put(None)

        copying = asyncio.create_task(copy())
        try:
            while (chunk := await waiting.get()) is not None:
                yield bytes(chunk)
            self.rows = int((await copying).split()[-1])
        finally:
            copying.cancel()


@dataclass(frozen=True, slots=True)
class Reference:
    """That rows refer to others."""

    child: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


#: Which no foreign key says: a request that is known by its sender's name names what was made of it.
_UNSAID: Final = (
    Reference("idempotency_key", ("tenant_id", "target"), "job", ("tenant_id", "id")),
    Reference("idempotency_key", ("tenant_id", "target"), "job", ("tenant_id", "batch_id")),
    Reference("idempotency_key", ("target",), "upload", ("id",)),
)


async def references(connection: asyncpg.Connection) -> list[Reference]:
    """All that refers to something."""
    return [
        *_UNSAID,
        *await _declared(connection),
    ]


async def _declared(connection: asyncpg.Connection) -> list[Reference]:
    return [
        Reference(row["child"], tuple(row["child_columns"]), row["parent"], tuple(row["parent_columns"]))
        for row in await connection.fetch(_REFERENCES)
    ]


@dataclass(slots=True)
class Sieve:
    """Leaves out the rows of videos that were erased, with all that refers to them, however far."""

    references: Sequence[Reference]
    gone: dict[tuple[str, tuple[str, ...]], set[tuple[bytes, ...]]]
    """(table, columns) -> what they hold in rows that are left out."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Table -> rows."""
    said: set[tuple[str, str]] = field(default_factory=set)
    """(vocabulary, label) of what was said of the videos: what was learnt of it is to be learnt anew."""
    keyed: frozenset[bytes] = frozenset()
    """Objects that have keys."""
    keyless: list[str] = field(default_factory=list)
    """Videos that were left out for their object has none: it was struck out. They would look like ones from before
    objects were sealed."""

    @classmethod
    def without(cls, references: Sequence[Reference], videos: Sequence[str], keyed: Collection[str]) -> "Sieve":
        """One that leaves out these videos, and those whose object is none of `keyed`, which have keys."""
        gone = {("video", ("id",)): {(video.encode(),) for video in videos}}
        return cls(references, gone, keyed=frozenset(key.encode() for key in keyed))

    async def kept(self, table: str, columns: Sequence[str], chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """The rows of a table that stay. Tables that others refer to come first."""
        place = {name: number for number, name in enumerate(columns)}
        looked_at = [(ref, [place[name] for name in ref.columns]) for ref in self.references if ref.child == table]
        told = {ref.parent_columns for ref in self.references if ref.parent == table}
        own = self.gone.get((table, ("id",)), set()) if table == "video" else None
        out: list[bytes] = []
        size = 0
        async for line in lines(chunks):
            fields = line.rstrip(b"\n").split(b"\t")
            if own is not None and (fields[place["id"]],) not in own and fields[place["object_key"]] not in self.keyed:
                self.keyless.append(value(fields[place["id"]]))
                own.add((fields[place["id"]],))
            if (own and (fields[place["id"]],) in own) or any(
                tuple(fields[number] for number in numbers) in self.gone.get((ref.parent, ref.parent_columns), ())
                for ref, numbers in looked_at
            ):
                self._leave_out(table, told, place, fields)
                continue
            out.append(line)
            size += len(line)
            if size >= _CHUNK_BYTES:
                yield b"".join(out)
                out, size = [], 0
        if out:
            yield b"".join(out)

    def is_gone(self, table: str, column: str, value: str | None) -> bool:
        """Whether the row that this names was left out."""
        return value is not None and (value.encode(),) in self.gone.get((table, (column,)), ())

    def _leave_out(self, table: str, told: Any, place: Mapping[str, int], fields: Sequence[bytes]) -> None:
        for names in told:
            self.gone.setdefault((table, names), set()).add(tuple(fields[place[name]] for name in names))
        self.left_out[table] = self.left_out.get(table, 0) + 1
        if table == "correction":
            vocabulary, label = (fields[place[name]] for name in ("vocabulary_id", "label"))
            if vocabulary != _NULL:
                self.said.add((value(vocabulary), value(label)))


def value(escaped: bytes) -> str:
    """A value, as COPY's text format has it."""
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), escaped).decode()


def value_bytes(escaped: bytes) -> bytes:
    """A value that is bytes."""
    return bytes.fromhex(value(escaped).removeprefix("\\x"))


async def lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Rows, each with its line end: COPY has no other ones, not in values either."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        raise ValueError("the last row has no end")
