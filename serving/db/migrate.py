"""The schema: brought up to date, taken back, and asked how old it is. Alembic does it."""

import asyncio
from functools import cache, partial
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from serving.db.database import SYSTEM, Database, sqlalchemy_url
from serving.db.tls import secured

_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema to a revision. Of several processes at once, one does it and the others wait."""
    _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Take the schema back to a revision; `base` is an empty database."""
    _run(url, lambda config: command.downgrade(config, revision))


@cache
def head() -> str:
    """The revision that this version of the server needs. Read from the scripts once: that takes a while."""
    return ScriptDirectory(str(_SCRIPTS)).get_current_head() or ""


def knows(revision: str) -> bool:
    """Whether this version of the server knows a revision."""
    return revision in {script.revision for script in ScriptDirectory(str(_SCRIPTS)).walk_revisions()}


def current(url: str) -> str | None:
    """The revision that a database has; None of an empty one."""
    found: list[str | None] = []
    asyncio.run(_connected(url, lambda connection: found.append(_revision(connection))))
    return found[0]


async def behind(database: Database) -> str | None:
    """What is wrong with the schema, in a few words; None where nothing is."""
    async with database.read(SYSTEM) as session:
        revision = await (await session.connection()).run_sync(_revision)
    return None if revision == head() else f"the schema is at {revision}, {head()} is needed: automations db upgrade"


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _run(url: str, what) -> None:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))

    def within(connection: Connection) -> None:
        config.attributes["connection"] = connection
        what(config)

    asyncio.run(_connected(url, within))


async def _connected(url: str, what) -> None:
    engine = create_async_engine(sqlalchemy_url(url), async_creator=partial(asyncpg.connect, secured(url)))
    try:
        async with engine.begin() as connection:
            await connection.run_sync(what)
    finally:
        await engine.dispose()
