"""Where everything of a server is: its folder, its database, its secret; made where they are missing.

What takes its time to load is loaded where it is used: the API answers before that.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.errors import InvalidSettings
from serving.errors import SecretRefused
from serving.flushing import flush
from serving.settings import DEFAULTS, Settings
from serving.storage.address import address
from serving.storage.key_address import MasterKey, master_key

if TYPE_CHECKING:
    from serving.storage.keyring import Keyring
    from serving.storage.store import Store

MADE: Final = "its database is made"
"""What is waited for while an embedded database is made, and started: neither is interrupted without loss."""
STARTED: Final = "its database is started"

#: The file in the data folder that has the master key, where no setting has it.
MASTER_KEY: Final = "master-key"

_LOG = logging.getLogger(__name__)

#: Bytes of the secret, at least: as many as the digests have that it keys.
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is."""

    folder: Path
    database_url: str
    secret: bytes
    """What credentials are recognised by."""
    master_keys: tuple[MasterKey, ...]
    """The first one wraps all keys, those behind it are from before."""
    settings: Settings = DEFAULTS

    @property
    def store(self) -> "Store":
        """The object store. Raises InvalidSettings where the environment says what cannot be about it."""
        from serving.storage.choosing import objects
        from serving.storage.store import Store

        return Store(objects(self.settings, self.folder), self.keyring)

    @property
    def keyring(self) -> "Keyring":
        """The keys of what is stored. Raises InvalidSettings: see `masters`."""
        from serving.storage.keyring import Keyring
        from serving.storage.masters import masters

        return Keyring(masters(self.master_keys, self.settings.storage.kms_kept_s))


def there(settings: Settings, database_url: str) -> Places:
    """Everything but a database, which is there already; what is missing is made.

    Raises:
        InvalidSettings: the data folder cannot be made, or nothing can be made in it; or a master key is none.
        SecretRefused: see there.
    """
    with _usable(settings) as folder:
        where = address(settings.storage.url)
        if where is None or where.kind == "file":
            # Other users of the machine have no business in other people's videos.
            objects = folder / "objects" if where is None else Path(where.path)
            objects.mkdir(exist_ok=True)
            objects.chmod(0o700)
        return Places(
            folder, _secured(database_url), _secret(folder / "secret"), _master_keys(settings, folder), settings
        )


def _secured(database_url: str) -> str:
    """With what is wanted of TLS; what is less than that is told, once for each process."""
    if not database_url:
        return ""
    from serving.db import tls

    told = tls.weakness(database_url)
    if told is not None:
        _LOG.warning("%s: %s", told, tls.REMEDY)
    return tls.secured(database_url)


@contextlib.contextmanager
def places(
    settings: Settings,
    *,
    migrated: bool = True,
    waiting: bool = False,
    asked: bool = True,
    keyed: bool = False,
    waits: Callable[[str], object] = lambda _: None,
) -> Iterator[Places]:
    """Everything that is needed, made where it is missing; an embedded database runs as long as the block lasts.

    Args:
        migrated: whether to bring its schema up to date.
        waiting: whether to wait a minute for a database that does not answer yet.
        asked: whether it is asked at all, for what comes later does that.
        keyed: whether all master keys have to be here that its keys are wrapped by; whoever reads videos says so.
        waits: told what is waited for, whenever that changes; what it raises ends the block before it has begun.

    Raises:
        InvalidSettings, SecretRefused: see `there`.
        DatabaseUnavailable, DatabaseMisconfigured: see `waiting.reached`.
        DatabaseUnavailable, PlaceRefused: see `embedded.embedded`.
        MasterKeyMissing: see `known.require_known`.
    """
    key = Path(settings.server.data_dir) / MASTER_KEY
    made = not settings.storage.master_key and not key.exists()
    place = there(settings, settings.server.database_url)
    with contextlib.ExitStack() as stack:
        if not place.database_url:
            own = place.folder / "postgres"
            waits(STARTED if (own / "PG_VERSION").exists() else MADE)
            from serving.db import embedded

            place = replace(place, database_url=stack.enter_context(embedded.embedded(own)))
        if asked:
            from serving.db.waiting import PATIENCE_S, reached

            waits("its database does not answer yet")
            asyncio.run(reached(place.database_url, PATIENCE_S if waiting else 0.0))
        if migrated:
            from serving.db import migrate

            waits("the schema of its database is brought up to date")
            migrate.upgrade(place.database_url)
        if keyed:
            from serving.storage.known import require_known

            asyncio.run(require_known(place.database_url, place.keyring))
        if made and asked:
            # Not before there is something to be read with it.
            _LOG.warning("a master key was made: %s; keep a copy of it, for without it no video can be read", key)
        yield place


def server_secret(settings: Settings) -> bytes:
    """What credentials are recognised by, for who needs no more than that; made where there is none.

    Raises:
        InvalidSettings, SecretRefused: see `there`.
    """
    with _usable(settings) as folder:
        return _secret(folder / "secret")


@contextlib.contextmanager
def _usable(settings: Settings) -> Iterator[Path]:
    """The data folder, made where it is missing, for a block that makes something in it. Raises InvalidSettings."""
    folder = Path(settings.server.data_dir).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except OSError as error:
        raise InvalidSettings(f"server.data_dir: {folder} cannot be used ({error.strerror})") from error


def _master_keys(settings: Settings, folder: Path) -> tuple[MasterKey, ...]:
    """The master key, made in the folder where none is set, and those from before.

    Raises:
        InvalidSettings: what is set is no key.
        SecretRefused: others may read the file, or there is no key in it.
        OSError: it cannot be read or made.
    """
    storage = settings.storage
    given = storage.old_master_keys.split(",")
    old = [master_key("storage.old_master_keys", one.strip()) for one in given if one.strip()]
    if storage.master_key:
        return (master_key("storage.master_key", storage.master_key.strip()), *old)
    file = folder / MASTER_KEY
    if not file.exists():
        _made_once(file, secrets.token_hex(_SECRET_BYTES).encode() + b"\n")
    kept = _private(file, "what all videos are sealed with").decode("ascii", "replace").strip()
    try:
        return (master_key(str(file), kept), *old)
    except InvalidSettings as error:
        raise SecretRefused(f"{error}; put it back as it was, without it no video can be read") from error


def _secret(file: Path) -> bytes:
    """Read from a file that only its owner may read; made where there is none.

    Raises:
        SecretRefused: it is too short, or others may read it.
        OSError: it cannot be read or made.
    """
    if not file.exists():
        _made_once(file, secrets.token_bytes(_SECRET_BYTES))
    secret = _private(file, "what all keys and tokens rest on")
    if len(secret) < _SECRET_BYTES:
        raise SecretRefused(
            f"{file}: {len(secret)} bytes, at least {_SECRET_BYTES} are needed; put it back as it was, or delete it "
            "and make all keys anew"
        )
    return secret


def _private(file: Path, what: str) -> bytes:
    """What is in a file that only its owner may read. Raises SecretRefused and OSError."""
    if file.stat().st_mode & 0o077:
        raise SecretRefused(f"{file}: others may read {what}; chmod 600 {file}")
    return file.read_bytes()


def _made_once(file: Path, content: bytes) -> None:
    """Make a file for its owner alone, whole or not at all; nothing where somebody else makes it just now."""
    descriptor, made = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}-")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(made, file)
        flush(file.parent)
    finally:
        os.unlink(made)


def made_first_key(place: Places) -> str | None:
    """A key that may do everything, made with the first tenant; None where there is a tenant already."""
    return asyncio.run(_first_key(place))


async def _first_key(place: Places) -> str | None:
    from sqlmodel import select

    from serving.auth import tenants
    from serving.db.accounts import Tenant
    from serving.db.database import SYSTEM, Database

    database = Database(place.database_url)
    try:
        async with database.write("tenant.create", SYSTEM) as session:
            if (await session.exec(select(Tenant.id).limit(1))).first() is not None:
                return None
            _, key = await tenants.create(session, place.secret, "default")
        return key
    finally:
        await database.close()
