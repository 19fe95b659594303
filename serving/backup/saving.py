"""Makes a snapshot: the database as it is at one moment, and the objects that it names. The server may run on."""

import hashlib
import shutil
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from pipeline.record import Record
from serving.backup import form
from serving.backup.rows import WHERE, Out, columns_of
from serving.db import migrate
from serving.errors import BackupRefused
from serving.places import Places
from serving.rights import journal
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
            _removed(left, keys_folder)
        at = datetime.now(UTC).replace(microsecond=0)
        while (folder / "snapshots" / form.name_of(at)).exists():
            at += timedelta(seconds=1)
        name = form.name_of(at)
        taken = await _database(place.database_url, target, name)
        known = await _known(target, folder, keys_folder, place)
        keys = [row.object_key for row in taken.data_keys if is_object(row.object_key)]
        lines, copied, missing = await _objects(store, target, folder, known, keys)
        await _erasures(store, target)
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
        removed = await _struck_out(store, folder, keys_folder)
        dropped = _dropped(folder, keys_folder, keep)
        removed += await _pruned(target, folder, keys_folder, place) if dropped else 0
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


async def _known(target: Store, folder: Path, keys_folder: Path, place: Places) -> dict[str, form.ObjectLine]:
    """Objects of the latest snapshot. One that cannot be read is no reason not to make another: then all are copied."""
    for name in form.names(folder)[-1:]:
        try:
            opened = await manifest_of(target, keys_folder, name, place)
            return {line.key: line async for line in listed(target, opened)}
        except (BackupRefused, OSError):
            return {}
    return {}


async def _objects(
    store: Store, target: Store, folder: Path, known: dict[str, form.ObjectLine], keys: Iterable[str]
) -> tuple[list[form.ObjectLine], list[form.ObjectLine], list[str]]:
    """All objects, those that were copied, and keys of those that are not there."""
    lines, copied, missing = [], [], []
    for key in keys:
        line, file = known.get(key), folder / "objects" / key
        if line is None or not file.exists() or file.stat().st_size != line.size_bytes:
            try:
                line = await _copied(store, target, key)
            except FileNotFoundError:
                missing.append(key)
                continue
            copied.append(line)
        lines.append(line)
    return lines, copied, missing


async def _copied(store: Store, target: Store, key: str) -> form.ObjectLine:
    digest, size = hashlib.sha256(), 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal size
        async for chunk in store.get_raw(key):
            digest.update(chunk)
            size += len(chunk)
            yield chunk

    await target.put_raw(f"objects/{key}", counted())
    return form.ObjectLine(key=key, size_bytes=size, sha256=digest.hexdigest())


async def _erasures(store: Store, target: Store) -> None:
    """Copy what is new in the journal."""
    there = {key async for keys in target.keys(journal.PREFIX) for key in keys}
    async for keys in store.keys(journal.PREFIX):
        for key in keys:
            if key not in there:
                await target.put_raw(key, store.get_raw(key))


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


async def manifest_of(target: Store, keys_folder: Path, name: str, place: Places) -> form.Manifest:
    """What a snapshot holds.

    Raises:
        BackupRefused: there is no such one, or its keys are not there.
        MasterKeyMissing: the master key that it was made with is not here.
        Altered: it is not what was written.
    """
    keys = form.read_keys(keys_folder, name)
    key = await place.keyring.master.unwrap(keys.manifest, form.manifest_key(name), keys.master)
    what = form.sealed_file(name, "manifest")
    return form.parsed(b"".join([chunk async for chunk in target.get(what, key)]), name)


async def listed(target: Store, manifest: form.Manifest) -> AsyncIterator[form.ObjectLine]:
    """Objects of a snapshot. Raises Altered."""
    rest = b""
    async for chunk in target.get(form.sealed_file(manifest.name, "objects"), manifest.objects_key):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield msgspec.json.decode(line, type=form.ObjectLine)


async def _encoded(records: Iterable[msgspec.Struct]) -> AsyncIterator[bytes]:
    for record in records:
        yield msgspec.json.encode(record) + b"\n"


async def _struck_out(store: Store, folder: Path, keys_folder: Path) -> int:
    """What was erased goes from the backup, too: its keys from all that are there, whatever snapshot they are of, its
    objects from the folder; how many objects."""
    erased = {one.video_id for one in await journal.read(store)}
    removed = 0
    for name in form.names(folder):
        form.keys_file(keys_folder, name).with_suffix(".new").unlink(missing_ok=True)
    for file in sorted(keys_folder.glob("*.json")):
        try:
            keys = form.read_keys(keys_folder, file.stem)
        except BackupRefused:
            continue  # Another file, that somebody keeps there.
        gone = [row for row in keys.data_keys if row.video_id in erased]
        if gone:
            kept = tuple(row for row in keys.data_keys if row.video_id not in erased)
            form.write_keys(keys_folder, msgspec.structs.replace(keys, data_keys=kept))
        for row in gone:
            file = folder / "objects" / row.object_key
            removed += file.exists()
            file.unlink(missing_ok=True)
    return removed


def _dropped(folder: Path, keys_folder: Path, keep: int | None) -> int:
    """Drop the oldest snapshots; how many there were."""
    oldest = form.names(folder)[: -keep or None] if keep else []
    for name in oldest:
        (folder / "snapshots" / name / form.WHOLE).unlink()
        _removed(folder / "snapshots" / name, keys_folder)
    return len(oldest)


def _removed(place: Path, keys_folder: Path) -> None:
    """Remove one that is not whole. Its keys first, so that none stay whenever this ends; and none but its own: others
    may be of another folder, or of this one, whose disk is not there today."""
    file = form.keys_file(keys_folder, place.name)
    file.unlink(missing_ok=True)
    file.with_suffix(".new").unlink(missing_ok=True)
    shutil.rmtree(place)


async def _pruned(target: Store, folder: Path, keys_folder: Path, place: Places) -> int:
    """Delete objects that no snapshot names; how many there were. Where one cannot be asked, all stay."""
    named: set[str] = set()
    for name in form.names(folder):
        try:
            named |= {line.key async for line in listed(target, await manifest_of(target, keys_folder, name, place))}
        except BackupRefused:
            return 0
    removed = 0
    async for keys in target.keys("objects"):
        for key in keys:
            if key.removeprefix("objects/") not in named:
                await target.delete(key)
                removed += 1
    return removed
