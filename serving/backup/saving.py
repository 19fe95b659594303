"""Makes a snapshot: the database as it is at one moment, and the objects that it names. The server may run on."""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from pipeline.record import Record
from serving.audit.signing import AuditSigner
from serving.backup import form
from serving.backup.agreeing import agreed, sign_there
from serving.backup.copying import copied_erasures, copied_objects, damaged_in, known_objects
from serving.backup.rows import WHERE, Out, columns_of
from serving.backup.striking import drop_old, prune, remove, strike_out
from serving.db import migrate
from serving.db.database import Database
from serving.errors import BackupRefused
from serving.places import Places
from serving.rights import journal
from serving.rights.journal import Erased, JournalKey
from serving.storage.store import Store, is_object

_UNSEALED: Final = """
    SELECT count(*) FROM video v WHERE NOT EXISTS (SELECT FROM data_key d WHERE d.object_key = v.object_key)
"""

_STILL: Final = "SELECT object_key FROM data_key WHERE object_key = ANY($1) ORDER BY object_key"

_ERASURES: Final = (
    "SELECT id, tenant_id, video_id, reason, rule_id, counts::text AS counts, at FROM erasure ORDER BY id"
)

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
    """Those that the snapshot does not name though the database did: they were not in the store. They were deleted
    meanwhile, but for"""
    lost: tuple[str, ...]
    """these."""
    removed_objects: int
    """Objects that were taken out of the folder, and"""
    removed_snapshots: int
    """snapshots."""
    unreadable: tuple[str, ...]
    """Older snapshots that were found not to be readable, now: their master key was taken away, their keys are
    elsewhere, or they are damaged."""
    disputed: tuple[str, ...]
    """Ids of entries of the journal that nobody signed, and whose videos are there: they were not believed."""
    damaged: tuple[str, ...]
    """Objects and files of older snapshots that are not what they were, where all were read."""


@dataclass(frozen=True, slots=True)
class _Database:
    """What was taken of the database."""

    tables: tuple[form.TableFile, ...]
    tenant_keys: tuple[form.TenantKeyRow, ...]
    data_keys: tuple[form.DataKeyRow, ...]
    erasures: tuple[Erased, ...]
    """All that there were, also those that are in no journal yet."""


async def save(
    place: Places, folder: Path, keys_folder: Path, keep: int | None = None, *, verify: bool = False
) -> Saved:
    """Add a snapshot to a folder. What is there of older ones is used; objects of what was erased since are taken out
    of it, and their keys out of the older ones.

    Args:
        keep: how many snapshots are kept, the new one counted; None: all.
        verify: read all that is there already, too. Objects that are not what they were are copied again.

    Raises:
        BackupRefused: another one is being made there; or there are videos that are not sealed.
        DatabaseUnavailable, MasterKeyMissing, AuditKeyMissing: see there.
        OSError: what the disks cannot do.
    """
    store, target = place.store, Store(folder, place.keyring)
    with form.alone(folder):
        for left in form.unfinished(folder):
            remove(left, keys_folder)
        await _swept(target)
        at = form.reserved(folder, keys_folder, datetime.now(UTC))
        name = form.name_of(at)
        (folder / "snapshots" / name).mkdir(parents=True)
        # Made where there is none, so that the snapshot has it: a restore knows the journal by it.
        journal_key = await _journal_key(place)
        taken = await _database(place.database_url, target, name)
        known, unreadable = await known_objects(target, folder, keys_folder, place)
        keys = [row.object_key for row in taken.data_keys if is_object(row.object_key)]
        lines, copied, missing = await copied_objects(store, target, folder, known, keys, verify)
        lost = await _lost(place.database_url, missing)
        there = await journal.read(target)
        found = await journal.read(store)
        videos = {row.video_id for row in taken.data_keys if row.video_id is not None}
        agreement = agreed(taken.erasures, [*found, *there], journal_key, videos)
        await sign_there(store, found, agreement)
        # Before anything is struck out, and no more than is struck out of what the snapshot does not have: a restore
        # leaves out what this names.
        await copied_erasures(target, there, agreement.entries.values())
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
        # What was erased meanwhile is in the snapshot: the next one strikes it out.
        struck = {(tenant, video) for tenant, video in agreement.struck if video not in videos}
        removed = strike_out(folder, keys_folder, struck)
        damaged = await damaged_in(target, folder, keys_folder, place, keys) if verify else ()
        dropped = drop_old(folder, keys_folder, keep)
        if dropped:
            pruned, others = await prune(target, folder, keys_folder, place)
            removed, unreadable = removed + pruned, unreadable + others
    return Saved(
        name=name,
        rows=sum(table.rows for table in taken.tables),
        objects=len(lines),
        copied=len(copied),
        copied_bytes=sum(line.size_bytes for line in copied),
        missing=tuple(missing),
        lost=lost,
        removed_objects=removed,
        removed_snapshots=dropped,
        unreadable=tuple(sorted(set(unreadable) & set(form.names(folder)))),
        disputed=agreement.disputed,
        damaged=damaged,
    )


async def _swept(target: Store) -> None:
    """Take away what was left of objects when a backup was killed: nobody else writes there now."""
    for prefix in ("objects/videos", "objects/uploads", journal.PREFIX):
        await target.sweep_unfinished(prefix, datetime.max.replace(tzinfo=UTC))


async def _journal_key(place: Places) -> JournalKey:
    database = Database(place.database_url, pool_size=1)
    try:
        return journal.key_of(await AuditSigner(database, place.keyring.master).key())
    finally:
        await database.close()


async def _lost(url: str, missing: list[str]) -> tuple[str, ...]:
    """Those of them that are lost, and not just deleted meanwhile: keys go first, then objects."""
    if not missing:
        return ()
    connection = await asyncpg.connect(url, timeout=10)
    try:
        async with connection.transaction(readonly=True):
            await connection.execute("SELECT set_config('app.tenant', '*', true)")
            return tuple(row["object_key"] for row in await connection.fetch(_STILL, missing))
    finally:
        await connection.close()


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
            erasures = [_erased(row) for row in await connection.fetch(_ERASURES)]
    finally:
        await connection.close()
    return _Database(tuple(tables), tuple(tenant_keys), tuple(data_keys), tuple(erasures))


def _erased(row: Mapping[str, Any]) -> Erased:
    return Erased(version=journal.VERSION, **dict(row) | {"counts": msgspec.json.decode(row["counts"])})


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
