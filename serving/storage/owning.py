"""Whose a store is: an object in it says the name that a database has for itself.

Whoever sweeps a store deletes what its database does not name. A worker that was started over the right bucket, but
with an empty or another database, would delete all of it. So only the database sweeps that the store says is its own.
"""

import logging
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from sqlalchemy import text

from pipeline.record import Record
from serving.audit.acting import about
from serving.db.database import SYSTEM, Database
from serving.db.failpoints import Write
from serving.db.statements import execute
from serving.ids import new_id
from serving.storage.store import Store

_LOG = logging.getLogger(__name__)

#: The object, and those that a library is made of.
OWNER: Final = "owner/database"
PREFIXES: Final = ("uploads", "videos")

VERSION: Final = 1

_NAME: Final = text("SELECT id FROM store_owner")

_FIRST: Final = text("INSERT INTO store_owner (number, id) VALUES (1, :id) ON CONFLICT DO NOTHING")

_ANEW: Final = text(
    "INSERT INTO store_owner (number, id) VALUES (1, :id) ON CONFLICT (number) DO UPDATE SET id = excluded.id"
)

#: Whether the database names some of these objects.
_NAMED: Final = text(
    """
    SELECT EXISTS (SELECT FROM video WHERE object_key = ANY(:keys))
        OR EXISTS (SELECT FROM upload_part WHERE object_key = ANY(:keys))
    """
)


class Owner(Record, frozen=True, kw_only=True):
    """What the object says."""

    version: int
    id: str
    """Of the database."""


async def owns(database: Database, store: Store) -> bool:
    """Whether a store is a database's own. One that is nobody's yet becomes so, where it is empty or the database names
    something in it. Raises OSError, DatabaseUnavailable."""
    owner = await owner_of(store)
    name = await name_of(database)
    if owner is None and await _may_claim(database, store):
        async with database.write("storage.own", SYSTEM) as session:
            await execute(session, _FIRST, id=new_id("own"))
            name = (await execute(session, _NAME)).scalar_one()
        await write(store, name)
        # Of two who claim it at once, the later one has it.
        owner = await owner_of(store)
    if owner is None or owner != name:
        _LOG.warning(
            "nothing is swept: the store %s %s. If it is this database's, run `automations store claim`",
            store.name,
            "is nobody's, and this database names nothing in it" if owner is None else "belongs to another database",
        )
        return False
    return True


async def claim(database: Database, store: Store, write_as: Write = "storage.own", target: str | None = None) -> str:
    """Make a store a database's own, whoever had it. The database has a new name from here on, which is returned: no
    copy of it, as it was until now, sweeps the store any more. `target`: for the audit log, what it is about; the name
    where it is not said."""
    name = new_id("own")
    async with database.write(write_as, SYSTEM) as session:
        about(target or name)
        await execute(session, _ANEW, id=name)
    await write(store, name)
    return name


async def owner_of(store: Store) -> str | None:
    """Name of the database that a store belongs to; None: nobody's. One that cannot be read names nobody that there
    is. Raises OSError."""
    try:
        content = b"".join([chunk async for chunk in store.get_raw(OWNER)])
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=Owner).id
    except msgspec.DecodeError:
        return ""


async def name_of(database: Database) -> str | None:
    """The name that a database has for itself; None: none yet."""
    async with database.read(SYSTEM) as session:
        return (await execute(session, _NAME)).scalar_one_or_none()


async def write(store: Store, name: str) -> None:
    """Have a store belong to a database. Raises OSError."""
    await store.put_raw(OWNER, _once(msgspec.json.encode(Owner(version=VERSION, id=name)) + b"\n"))


async def _may_claim(database: Database, store: Store) -> bool:
    empty = True
    for prefix in PREFIXES:
        async for keys in store.keys(prefix):
            if not keys:
                continue
            empty = False
            async with database.read(SYSTEM) as session:
                if (await execute(session, _NAMED, keys=keys)).scalar_one():
                    return True
    return empty


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
