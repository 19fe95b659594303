"""HNSW graphs: one for each space with many rows, and one for looks, made and kept beside everything else.

A graph cannot be made within the transaction of a job, which would hold up all others for as long as it takes; nor is
one needed while a space has few rows. So workers look now and then, and one of them makes what is missing,
concurrently. What was left half-made by one that died is dropped and made anew.
"""

import hashlib
import logging
from typing import Final

import asyncpg
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline import looks
from serving.db.statements import execute
from serving.search import plan
from serving.search.plan import EXACT_ROWS

_LOG = logging.getLogger(__name__)

#: Edges of a node, and how many are looked at while it is put in: see docs/decisions/0016.
_EDGES, _CONSTRUCTION = 32, 64

#: Bytes of a row while one is made, besides those of its vector: edges, and what they are kept in.
_ROW_BYTES: Final = 1600

#: Memory for making one, MiB: what it takes, but no less and no more than this; where the server's own cache is larger,
#: no more than that. What does not fit is made many times more slowly.
_LEAST_MIB, _MOST_MIB = 64, 512

#: Names the lock of whoever makes graphs.
_LOCK: Final = 0x686E7377

#: Whether a space has many rows is seen in the first ones.
_SPACES = "SELECT DISTINCT space, dim FROM space WHERE state <> 'removed' ORDER BY space"
_GRAPHS = "SELECT relname FROM pg_class WHERE relkind = 'i' AND relname ~ '^hnsw_.*_[0-9a-f]{16}$'"
_ROWS = "SELECT count(*) FROM {table} WHERE {which}"
_MANY = "SELECT count(*) FROM (SELECT FROM {table} WHERE {which} LIMIT $1) seen"
_CACHE_MIB = "SELECT setting::bigint * 8 / 1024 FROM pg_settings WHERE name = 'shared_buffers'"
_STATE = "SELECT indisvalid AND indisready FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relname = $1"


_WHOLE = text(
    "SELECT 1 FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
    "WHERE relname = :name AND indisvalid AND indisready"
)

_SCAN = text(
    "SELECT set_config('hnsw.ef_search', :ef, true), set_config('hnsw.iterative_scan', 'relaxed_order', true), "
    "set_config('hnsw.max_scan_tuples', :scan, true)"
)


def index_name(table: str, space: str) -> str:
    """Of the graph of a space."""
    return f"hnsw_{table}_{hashlib.sha256(space.encode()).hexdigest()[:16]}"


async def is_whole(session: AsyncSession, graph: str) -> bool:
    """Whether a graph is there, and was made to its end."""
    return (await execute(session, _WHOLE, name=graph)).one_or_none() is not None


async def look_around(session: AsyncSession, ef_search: int) -> None:
    """Have graphs looked through so far in this transaction, and further where filters leave too little."""
    await execute(session, _SCAN, ef=str(ef_search), scan=str(plan.MAX_SCAN_ROWS))


async def make_graphs(url: str, least_rows: int = EXACT_ROWS) -> int:
    """Make the graphs that are missing, and drop those of spaces that are gone; how many were made. Where another
    process is at it, none.

    Args:
        url: of the database, as `Database` has it.
        least_rows: spaces with no more than these need none.
    """
    connection = await asyncpg.connect(url, timeout=10)
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            return 0
        await connection.execute("SELECT set_config('app.tenant', '*', false)")
        made, names = 0, {index_name("look", looks.SPACE)}
        for space, dim in await connection.fetch(_SPACES):
            # A definition takes no parameters, and what a model calls its space is its own business.
            which = "space = '{}'".format(space.replace("'", "''"))
            for table in ("moment", "segment_vector", "video_vector"):
                # Of moments those that lead others, or themselves alone.
                some = f"{which} AND alike > 0" if table == "moment" else which
                made += await _made(connection, table, space, dim, some, least_rows)
                names.add(index_name(table, space))
        # All looks are of one space.
        made += await _made(connection, "look", looks.SPACE, looks.DIM, "true", least_rows)
        # Of spaces that nobody has any more.
        for (graph,) in await connection.fetch(_GRAPHS):
            if graph not in names:
                await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {graph}")
        return made
    finally:
        await connection.close()


async def _made(connection: asyncpg.Connection, table: str, space: str, dim: int, which: str, least_rows: int) -> bool:
    """`which`: the rows of the table that it is for, as a condition."""
    name = index_name(table, space)
    whole = await connection.fetchval(_STATE, name)
    many = _MANY.format(table=table, which=which)
    if whole or (await connection.fetchval(many, least_rows + 1) or 0) <= least_rows:
        return False
    if whole is False:
        await connection.execute(f"DROP INDEX CONCURRENTLY {name}")
    rows = await connection.fetchval(_ROWS.format(table=table, which=which)) or 0
    cache_mib = await connection.fetchval(_CACHE_MIB) or 0
    await connection.execute(f"SET maintenance_work_mem = '{memory_mib(rows, dim, cache_mib)}MB'")
    # By the inner product, which for vectors of length 1 is the cosine, and takes less.
    making = (
        f"CREATE INDEX CONCURRENTLY {name} ON {table} USING hnsw ((vector::halfvec({dim})) halfvec_ip_ops) "
        f"WITH (m = {_EDGES}, ef_construction = {_CONSTRUCTION}) WHERE {which}"
    )
    try:
        await connection.execute(making)
    except asyncpg.DiskFullError as error:
        # Processes that make it together share memory, of which containers have little (/dev/shm).
        _LOG.warning("the graph %s is made by one process of the database alone: %s", name, error)
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        await connection.execute("SET max_parallel_maintenance_workers = 0")
        await connection.execute(making)
    return True


def memory_mib(rows: int, dim: int, cache_mib: int) -> int:
    """Memory for making the graph of so many vectors, MiB. `cache_mib`: the server's own cache."""
    needed = rows * (2 * dim + _ROW_BYTES) * 9 // 8 // 2**20
    return min(max(needed, _LEAST_MIB), max(_MOST_MIB, cache_mib))
