"""What a process does for the audit log besides its own work, about once a second: notes which keys it has unwrapped,
and links what was committed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy.exc import ProgrammingError

from serving.audit.acting import SERVER
from serving.audit.linking import Linker
from serving.audit.recording import Entry, add
from serving.audit.signing import AuditSigner
from serving.db.database import SYSTEM, Database
from serving.errors import AuditKeyMissing, DatabaseUnavailable, MasterKeyUnavailable, ServerError
from serving.storage.keyring import Keyring

_LOG = logging.getLogger(__name__)

#: How often, seconds.
EVERY_S: Final = 1.0


Noting = Callable[[], Awaitable[object]]


async def _nothing() -> None:
    pass


class Keeping:
    """Of one process. Its database signs what is noted from here on."""

    def __init__(self, database: Database, keyring: Keyring, besides: Noting = _nothing) -> None:
        """
        Args:
            keyring: whose uses are noted; its master key wraps the log's.
            besides: what else is to be noted.
        """
        self._database, self._keyring = database, keyring
        self.signer = database.signer = AuditSigner(database, keyring.master)
        """Has the key of the log."""
        self._linker = Linker(database, self.signer)
        self._besides = besides
        self._used: list[tuple[str, int]] = []
        self._failing: set[str] = set()

    async def begin(self) -> None:
        """Have the key at hand, before anybody waits for it; later, where the database or the master key's service does
        not answer yet, or tables are lacking. Without it, nothing is written that somebody does, but all else goes on.
        Raises MasterKeyMissing and Altered."""
        try:
            await self.signer.key()
        except (DatabaseUnavailable, AuditKeyMissing, MasterKeyUnavailable) as error:
            _LOG.warning("the key of the audit log is not here: %s", error)
        except ProgrammingError:
            # As all else that asks it finds, and `readyz` says how far behind it is.
            _LOG.warning("the key of the audit log is not here: the database lacks its tables (automations db upgrade)")

    async def run(self) -> None:
        """Again and again, until canceled."""
        while True:
            await self.keep()
            await asyncio.sleep(EVERY_S)

    async def keep(self) -> None:
        """Do what there is to do. What goes wrong, for whatever reason, is told once and done again the next time."""
        await self._try("uses of keys are not in the audit log yet", self._note_uses)
        await self._try("reads are not counted in the audit log yet", self._besides)
        await self._try("the audit log is not linked", self.link)

    async def end(self, besides: Noting = _nothing) -> None:
        """Once more, before the process ends. `besides`: what else is to be noted then."""
        self._besides = besides
        await self.keep()

    async def _note_uses(self) -> None:
        self._used += self._keyring.used()
        if not self._used:
            return
        entries = [
            Entry(kind="key", operation="key.unwrap", tenant_id=None, actor=SERVER, targets=(f"{tenant}/{version}",))
            for tenant, version in self._used
        ]
        await self.signer.key()
        async with self._database.write("audit.keys", SYSTEM) as session:
            await add(session, entries)
        self._used = []

    async def link(self) -> int:
        """See `Linker.link`."""
        return await self._linker.link()

    async def _try(self, failing: str, what: Noting) -> None:
        try:
            await what()
        except Exception as error:  # noqa: BLE001 - whatever it is, what comes later is to be noted, too
            if failing not in self._failing:
                unexpected = None if isinstance(error, ServerError) else error
                _LOG.warning("%s: %s", failing, error or type(error).__name__, exc_info=unexpected)
            self._failing.add(failing)
        else:
            self._failing.discard(failing)
