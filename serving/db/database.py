"""Transactions: each on behalf of somebody, each write with a name.

Row-level security (see the migrations) lets a transaction see the rows of the tenant that it was begun for, and no
others, whatever its queries say. Names of writes are where tests of crashes stop the process.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm.exc import StaleDataError
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.audit import recording
from serving.db import (
    failpoints,
    tables,  # noqa: F401 - a table can only be used once those that it refers to are known
    tls,
)
from serving.db.failpoints import Write
from serving.db.statements import execute
from serving.errors import DatabaseMisconfigured, DatabaseUnavailable, InvalidRequest, NotFound

if TYPE_CHECKING:
    from serving.audit.signing import AuditSigner

#: Stands for the server itself, which sees every tenant: workers, deliveries, clean-up.
SYSTEM: Final = "*"

#: SQLSTATE classes that say "not now": connections, resources, operators, and serialisation failures.
_UNAVAILABLE = ("08", "53", "57", "40", "25006")

#: "Data exceptions": values that no column takes.
_UNSTORABLE = "22"

#: "Program limit exceeded": of what a caller gives, a text that is too long for an index.
_TOO_LONG = "54"

_WHO = text("SELECT rolname, rolsuper OR rolbypassrls AS bypasses FROM pg_roles WHERE rolname = current_user")

#: Queries take milliseconds; compiling one takes hundreds.
_SETTINGS: Final = {"application_name": "automations", "jit": "off"}

#: The time is that of all rows that say `now()` in the transaction.
_BEGIN_FOR = text("SELECT now() AS at, set_config('app.tenant', :tenant, true)")


class Database:
    """A pool of connections to PostgreSQL."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        """`url`: `postgresql://...`, as `automations` is given it; the driver is asyncpg."""
        self.url = tls.secured(url)
        self.signer: AuditSigner | None = None
        """Signs what is noted in the audit log. Whoever serves others, or acts for an operator, gives one."""
        self._engine = create_async_engine(
            sqlalchemy_url(url),
            # Read by the driver itself, which knows what a URL may say about TLS.
            async_creator=partial(asyncpg.connect, self.url, timeout=10, command_timeout=30, server_settings=_SETTINGS),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=False,
            # What could not be written is in no log: there are secrets among it.
            hide_parameters=True,
        )

    @property
    def engine(self) -> AsyncEngine:
        """For migrations and tests; others begin transactions."""
        return self._engine

    @asynccontextmanager
    async def read(self, tenant: str) -> AsyncIterator[AsyncSession]:
        """A transaction that changes nothing.

        Raises:
            DatabaseUnavailable: it cannot be reached now, or all connections are in use; the same may work later.
            DatabaseMisconfigured: it has no certificate that is believed.
        """
        async with self._begun(tenant) as session:
            yield session

    @asynccontextmanager
    async def write(self, name: Write, tenant: str) -> AsyncIterator[AsyncSession]:
        """A transaction that is committed at the end of the block, and undone where that raises.

        Raises:
            DatabaseUnavailable: as `read`. Where the connection breaks while it is committed, nobody knows whether it
                was: whatever is done again has to come out the same.
            NotFound: a row that was to be changed is no longer there.
            AuditKeyMissing, MasterKeyMissing, Altered: somebody acts, and what they do cannot be noted; see
                `AuditSigner.key`.
        """
        await recording.ready(self.signer)
        async with self._begun(tenant) as session:
            session.info[recording.SIGNER] = self.signer
            recording.begin()
            yield session
            await recording.note(session, name, None if tenant == SYSTEM else tenant)
            failpoints.reach(name, "before")
            await session.commit()
            failpoints.reach(name, "after")

    async def check(self) -> None:
        """Whether row-level security holds for whom we are connected as.

        Raises:
            DatabaseMisconfigured: it does not.
            DatabaseUnavailable: as `read`.
        """
        async with self.read(SYSTEM) as session:
            who = (await execute(session, _WHO)).one()
        if who.bypasses:
            raise DatabaseMisconfigured(
                f"the database user {who.rolname} bypasses row-level security, which keeps tenants apart; connect as "
                "one that is neither a superuser nor has BYPASSRLS"
            )

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _begun(self, tenant: str) -> AsyncIterator[AsyncSession]:
        try:
            async with AsyncSession(self._engine, expire_on_commit=False) as session:
                begun = await execute(session, _BEGIN_FOR, tenant=tenant)
                session.info[recording.AT] = begun.scalar_one()
                yield session
        except StaleDataError as error:
            # Read in this transaction, and deleted by another one before it was written.
            raise NotFound("it was deleted meanwhile") from error
        except (OSError, TimeoutError, PoolTimeout, InterfaceError, OperationalError) as error:
            if tls.untrusted(error):
                raise DatabaseMisconfigured(
                    f"the database is not trusted ({_first_line(error)}): {tls.REMEDY}"
                ) from error
            raise DatabaseUnavailable(f"the database cannot be reached ({_first_line(error)})") from error
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None) or ""
            if error.connection_invalidated or state.startswith(_UNAVAILABLE):
                raise DatabaseUnavailable(f"the database cannot answer now ({_first_line(error)})") from error
            if state.startswith(_UNSTORABLE):
                raise InvalidRequest(
                    "a value cannot be kept: a text holds a zero character, or a number is too large"
                ) from error
            if state.startswith(_TOO_LONG):
                raise InvalidRequest("a value cannot be kept: a text is longer than one can be looked up by") from error
            raise


def sqlalchemy_url(url: str, driver: Literal["asyncpg"] = "asyncpg") -> str:
    """The URL with its driver."""
    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise DatabaseMisconfigured("the database has to be PostgreSQL: postgresql://user:password@host/name")
    return f"postgresql+{driver}://{rest}"


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]
