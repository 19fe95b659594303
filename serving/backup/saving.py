"""Makes a snapshot: the database as it is at one moment, and the objects that it names. The server may run on."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from pipeline.record import Record
from serving.backup import form
from serving.backup.copying import copied_erasures, copied_objects, known_objects
from serving.backup.rows import WHERE, Out, columns_of
from serving.backup.striking import drop_old, prune, remove, strike_out
from serving.db import migrate
from serving.errors import BackupRefused
from serving.places import Places
from serving.storage.store import Store, is_object

_UNSEALED: Final = """
    SELECT count(*) FROM video v WHERE NOT EXISTS (SELECT FROM data_key d WHERE d.object_key = v.object_key)
"""

_TENANT_KEYS: Final = "SELECT tenant_id, version, wrapped, master, created_at FROM tenant_key"

_DATA_KEYS: Final = f"""
    SELECT object_key, tenant_id, tenant_version, wrapped, video_id, upload_id, created_at FROM data_key
    WHERE {WHERE["data_key"]} ORDER BY object_key
"""


class Saved(Record, frozen=True, kw_only=True):
    """What a backup did."""

    name: str
    rows: int
    objects: int
    """That the snapshot names."""
    copied: int
    """Those of them that were not in the folder yet."""
    copied_bytes: int
    missing: tuple[str, ...]
    """Those of them that were not in the store any more: deleted meanwhile, or lost."""
    removed_objects: int
    """Objects that were taken out of the folder, and"""
    removed_snapshots: int
    """snapshots."""


@dataclass(frozen=True, slots=True)
class _Database:
    """What was taken of the database."""

    tables: tuple[form.TableFile, ...]
    tenant_keys: tuple[form.TenantKeyRow, ...]
    data_keys: tuple[form.DataKeyRow, ...]


async def save(place: Places, folder: Path, keys_folder: Path, keep: int | None = None) -> Saved:
    """Add a snapshot to a folder. What is there of older ones is used; objects of what was erased since are taken out
    of it, and their keys out of the older ones.

    Args:
        keep: how many snapshots are kept, the new one counted; None: all.

    Raises:
        BackupRefused: another one is being made there; or there are videos that are not sealed.
        DatabaseUnavailable, MasterKeyMissing: see there.
        OSError: what the disks cannot do.
    """
    store, target = place.store, Store(folder, place.keyring)
    with form.alone(folder):
        keys_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in form.unfinished(folder):
            remove(left, keys_folder)
        at = datetime.now(UTC).replace(microsecond=0)
        while (folder / "snapshots" / form.name_of(at)).exists():
            at += timedelta(seconds=1)
        name = form.name_of(at)
        taken = await _database(place.database_url, target, name)
        known = await known_objects(target, folder, keys_folder, place)
        keys = [row.object_key for row in taken.data_keys if is_object(row.object_key)]
        lines, copied, missing = await copied_objects(store, target, folder, known, keys)
        await copied_erasures(store, target)
        objects = await target.put(form.sealed_file(name, "objects"), _encoded(lines))
        manifest = form.Manifest(
            version=form.VERSION,
            name=name,
            at=at,
            revision=migrate.head(),
            tables=taken.tables,
            objects=len(lines),
            objects_key=objects.key,
        )
        await _finish(place, target, keys_folder, manifest, taken)
        removed = await strike_out(store, folder, keys_folder)
        dropped = drop_old(folder, keys_folder, keep)
        removed += await prune(target, folder, keys_folder, place) if dropped else 0
    return Saved(
        name=name,
        rows=sum(table.rows for table in taken.tables),
        objects=len(lines),
        copied=len(copied),
        copied_bytes=sum(line.size_bytes for line in copied),
        missing=tuple(missing),
        removed_objects=removed,
        removed_snapshots=dropped,
    )


async def _database(url: str, target: Store, name: str) -> _Database:
    """All rows as they are at one moment, sealed as they come."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("SELECT set_config('app.tenant', '*', true)")
            if unsealed := await connection.fetchval(_UNSEALED):
                raise BackupRefused(
                    f"{unsealed} videos are not sealed, and a backup would have them for all to read; stop all workers "
                    "and run `automations keys seal` first"
                )
            tables = []
            for table in form.table_names():
                out = Out(connection, table, columns_of(table))
                written = await target.put(form.sealed_file(name, table), out.chunks())
                tables.append(form.TableFile(name=table, columns=out.columns, rows=out.rows, key=written.key))
            tenant_keys = [form.TenantKeyRow(**dict(row)) for row in await connection.fetch(_TENANT_KEYS)]
            data_keys = [form.DataKeyRow(**dict(row)) for row in await connection.fetch(_DATA_KEYS)]
    finally:
        await connection.close()
    return _Database(tuple(tables), tuple(tenant_keys), tuple(data_keys))


async def _finish(place: Places, target: Store, keys_folder: Path, manifest: form.Manifest, taken: _Database) -> None:
    """The rest of it, and last what makes it a snapshot."""
    name, master = manifest.name, place.keyring.master
    written = await target.put(form.sealed_file(name, "manifest"), _encoded([manifest]))
    keys = form.Keys(
        version=form.VERSION,
        name=name,
        master=master.name,
        manifest=await master.wrap(written.key, form.manifest_key(name)),
        secret=await master.wrap(place.secret, form.secret_of(name)),
        tenant_keys=taken.tenant_keys,
        data_keys=taken.data_keys,
    )
    form.write_keys(keys_folder, keys)
    await target.put_raw(f"snapshots/{name}/{form.WHOLE}", _encoded([]))


async def _encoded(records: Iterable[msgspec.Struct]) -> AsyncIterator[bytes]:
    for record in records:
        yield msgspec.json.encode(record) + b"\n"
