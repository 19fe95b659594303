"""What is in a backup's folder.

objects/videos/vid_...      sealed objects, as they are kept; shared by all snapshots
erasures/era_...            the journal of erasures
snapshots/NAME/manifest     what a snapshot holds; sealed
snapshots/NAME/objects      names, lengths and hashes of its objects; sealed
snapshots/NAME/TABLE        rows of a table, as COPY has them; sealed
snapshots/NAME/whole        written last: without it, it is none
keys/NAME.json              what all of these are sealed with, wrapped by the master key; may be kept elsewhere
"""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from pipeline.errors import Altered
from pipeline.record import Record
from pipeline.sealed.form import What
from serving.db.tables import METADATA
from serving.errors import BackupRefused
from serving.flushing import flush

VERSION: Final = 1

#: The file that says that a snapshot is whole.
WHOLE: Final = "whole"

#: Tables that no backup has. Those of keys go apart; sessions are begun anew by signing in, and people invited anew, so
#: that none that was ended meanwhile is good again; what others hold is made anew, over in seconds, or of the files of
#: one database only.
LEFT_OUT: Final = frozenset(
    {
        "tenant_key",
        "data_key",
        "session",
        "refresh_token",
        "invitation",
        "checkpoint",
        "derived",
        "question",
        "rate_bucket",
        "worker",
        "written_over",
    }
)

#: `20261126T201500Z`
_NAME: Final = re.compile(r"\d{8}T\d{6}Z")


class TableFile(Record, frozen=True, kw_only=True):
    """Rows of a table."""

    name: str
    columns: tuple[str, ...]
    rows: int
    key: bytes
    """[32] What its file is sealed with."""


class Manifest(Record, frozen=True, kw_only=True):
    """What a snapshot holds."""

    version: int
    name: str
    at: datetime
    revision: str
    """Of the schema."""
    tables: tuple[TableFile, ...]
    """Those that others refer to come first."""
    objects: int
    objects_key: bytes
    """[32] What the list of objects is sealed with."""


class ObjectLine(Record, frozen=True, kw_only=True):
    """An object of a snapshot; one line each."""

    key: str
    size_bytes: int
    """As it is kept, sealed; so is"""
    sha256: str


class TenantKeyRow(Record, frozen=True, kw_only=True):
    """As `serving.db.keys.TenantKey`."""

    tenant_id: str
    version: int
    wrapped: bytes
    master: str
    created_at: datetime


class DataKeyRow(Record, frozen=True, kw_only=True):
    """As `serving.db.keys.DataKey`."""

    object_key: str
    tenant_id: str
    tenant_version: int
    wrapped: bytes
    video_id: str | None
    upload_id: str | None
    created_at: datetime


class Keys(Record, frozen=True, kw_only=True):
    """What a snapshot is opened with, by who has the master key."""

    version: int
    name: str
    """Of the snapshot."""
    master: str
    """Name of the master key that wraps the next two."""
    manifest: bytes
    """[60] The key of the manifest."""
    secret: bytes
    """What credentials are recognised by."""
    tenant_keys: tuple[TenantKeyRow, ...]
    data_keys: tuple[DataKeyRow, ...]


def sealed_file(name: str, part: str) -> What:
    """A file of a snapshot."""
    return What("", f"snapshots/{name}/{part}", "backup")


def manifest_key(name: str) -> What:
    """As what the key of a manifest is wrapped."""
    return What("", f"snapshots/{name}/manifest", "backup key")


def secret_of(name: str) -> What:
    """As what the server's secret is wrapped."""
    return What("", f"snapshots/{name}/secret", "backup secret")


def table_names() -> list[str]:
    """Tables that are backed up; those that others refer to come first, by foreign keys or otherwise."""
    found = [str(table.name) for table in METADATA.sorted_tables if table.name not in LEFT_OUT]
    return sorted(found, key=lambda name: name == "idempotency_key")


def name_of(at: datetime) -> str:
    """The name of a snapshot."""
    return at.strftime("%Y%m%dT%H%M%SZ")


def names(folder: Path) -> list[str]:
    """Snapshots that are whole, oldest first."""
    found = (folder / "snapshots").glob(f"*/{WHOLE}")
    return sorted(file.parent.name for file in found if _NAME.fullmatch(file.parent.name))


def unfinished(folder: Path) -> list[Path]:
    """What was left of those that never became whole."""
    whole = set(names(folder))
    return [place for place in (folder / "snapshots").glob("*") if place.name not in whole]


def keys_file(folder: Path, name: str) -> Path:
    """Where a snapshot's keys are. `folder`: that of keys."""
    return folder / f"{name}.json"


def read_keys(folder: Path, name: str) -> Keys:
    """A snapshot's keys. Raises BackupRefused: they are not there, or not what they were."""
    file = keys_file(folder, name)
    try:
        keys = msgspec.json.decode(file.read_bytes(), type=Keys)
    except FileNotFoundError:
        raise BackupRefused(f"{file}: not there, and without it the snapshot cannot be read; see --keys") from None
    except msgspec.DecodeError as error:
        raise BackupRefused(f"{file}: not keys of a snapshot ({error})") from error
    if keys.version != VERSION or keys.name != name:
        raise BackupRefused(f"{file}: keys of another snapshot, or of another version than {VERSION}")
    return keys


def write_keys(folder: Path, keys: Keys) -> None:
    """Whole or not at all, also after a loss of power: without them, a snapshot that is whole is unreadable; and keys
    that were struck out do not come back."""
    file = keys_file(folder, keys.name)
    made = file.with_suffix(".new")
    made.touch(mode=0o600)
    made.write_bytes(msgspec.json.encode(keys))
    flush(made)
    made.replace(file)
    flush(folder)


def parsed(content: bytes, name: str) -> Manifest:
    """A manifest that was opened. Raises BackupRefused: it is of another version; Altered: it is none."""
    try:
        version = msgspec.json.decode(content, type=dict).get("version")
        if version != VERSION:
            raise BackupRefused(f"{name}: a snapshot of version {version}, {VERSION} is read here")
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise Altered(f"{name}: the manifest is none ({error})") from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else writes to the folder while the block lasts. Raises BackupRefused."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupRefused(f"{folder}: another backup is being made there; wait for it") from None
        yield
