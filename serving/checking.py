"""Whether everything is there that requests and jobs need: looked at once for all who ask at about the same time."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from serving.db.database import Database
from serving.errors import DatabaseUnavailable, MasterKeyUnavailable
from serving.storage.store import Store
from serving.workers import alive, missing

_LOG = logging.getLogger(__name__)

#: For how long what was found is told to others who ask, seconds.
TRUSTED_S: Final = 1.0

OK: Final = "ok"

#: The part that only jobs need.
ENGINE: Final = "engine"

#: What anybody may hear of a part that is not as it should be.
_TOLD: Final[Mapping[str, str]] = {
    "database": "cannot be reached",
    "migrations": "not up to date",
    "store": "cannot be read",
    "keys": "the service that has the master key does not answer",
    ENGINE: "no job can be done just now",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What was found."""

    parts: Mapping[str, str]
    """Part -> `ok`, or what is wrong with it, for those who run the server."""

    def told(self) -> dict[str, str]:
        """The same for anybody: nothing of addresses, paths or models."""
        return {part: said if said == OK else _TOLD[part] for part, said in self.parts.items()}


class Checks:
    """Of one process."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database, self._store = database, store
        self._latest: tuple[float, Found] | None = None
        self._checking: asyncio.Task[Found] | None = None
        self._logged: Mapping[str, str] = {}

    async def found(self) -> Found:
        """How it is; found out now, or less than a second ago."""
        if self._latest is not None and time.monotonic() - self._latest[0] < TRUSTED_S:
            return self._latest[1]
        if self._checking is None:
            self._checking = asyncio.create_task(self._find())
            self._checking.add_done_callback(self._forget)
        return await asyncio.shield(self._checking)

    def _forget(self, _: object) -> None:
        self._checking = None

    async def _find(self) -> Found:
        began = time.monotonic()
        # Not worth its half second before somebody asks.
        from serving.db import migrate

        parts: dict[str, str] = dict.fromkeys(("database", "migrations", "store", "keys"), OK)
        try:
            behind = await migrate.behind(self._database)
            if behind:
                parts["migrations"] = behind
            else:
                parts[ENGINE] = missing(await alive(self._database)) or OK
        except DatabaseUnavailable as error:
            parts["database"] = str(error)
        try:
            await self._store.ready()
        except OSError as error:
            parts["store"] = str(error)
        try:
            await self._store.keyring.master.check()
        except MasterKeyUnavailable as error:
            parts["keys"] = str(error)
        found = Found(parts)
        self._log(parts)
        self._latest = began, found
        return found

    def _log(self, parts: Mapping[str, str]) -> None:
        """What has changed for the worse: who asks may not be told it."""
        for part, said in parts.items():
            if said not in (OK, self._logged.get(part)):
                _LOG.warning("not ready: %s: %s", part, said)
        self._logged = parts
