"""Brings a server back from a snapshot, without what was erased since: into an empty database, and before it starts."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from pipeline.errors import Altered
from pipeline.record import Record
from serving.backup import form
from serving.backup.agreeing import Agreed, agreed, snapshot_key, vouched
from serving.backup.beginning import begin, put_secret, require_nobodys
from serving.backup.reading import listed, manifest_of
from serving.backup.rows import Sieve, references
from serving.db import migrate
from serving.errors import BackupRefused, MasterKeyMissing
from serving.places import Places
from serving.rights import journal
from serving.rights.journal import Erased
from serving.storage.store import Store, is_object
from serving.tagging.due import learn_without

#: Lists that name videos; of those of a tenant's labels there are few.
_LISTS: Final = """
    UPDATE learned_label SET
        gained_videos = ARRAY(SELECT v FROM unnest(gained_videos) v WHERE v <> ALL($1::text[])),
        lost_videos = ARRAY(SELECT v FROM unnest(lost_videos) v WHERE v <> ALL($1::text[]))
    WHERE gained_videos && $1::text[] OR lost_videos && $1::text[]
"""

_ERASED: Final = """
    INSERT INTO erasure (id, tenant_id, video_id, reason, rule_id, counts, pending, at, finished_at)
    SELECT $1, $2, $3, $4, $5, $6::jsonb, '{}', $7, now() WHERE EXISTS (SELECT FROM tenant WHERE id = $2)
    ON CONFLICT (id) DO UPDATE SET pending = '{}', finished_at = coalesce(erasure.finished_at, now())
"""


class Restored(Record, frozen=True, kw_only=True):
    """What a restore did."""

    name: str
    rows: int
    objects: int
    erasures: int
    """Erasures that were known, from before and since."""
    left_out: int
    """Videos of the snapshot that were not brought back: they were erased since."""
    damaged: tuple[str, ...]
    """Objects that are missing in the backup, or not what they were; what they belong to cannot be read."""
    keyless: tuple[str, ...]
    """Videos of the snapshot that were not brought back: it has no key for them, and no journal says why."""


def restore(
    place: Places,
    folder: Path,
    keys_folder: Path,
    *,
    name: str | None = None,
    erasures: Sequence[Erased] = (),
    damaged_too: bool = False,
    take_over: bool = False,
) -> Restored:
    """Bring back a snapshot, where no loop runs. The database has all of it, or nothing: in one transaction, once all
    else is there. Interrupted before that, it can be done again; after it, the schema is all that may be left behind.

    Args:
        name: of the snapshot; None: the latest.
        erasures: what was erased, besides what the journals here and in the folder know.
        damaged_too: go on where objects are damaged, or keys of them are missing, without them.
        take_over: go on where the store belongs to a database, which loses it.

    Raises:
        BackupRefused: the database is in use; there is no such snapshot; objects of it are damaged; a journal says of
            videos of it that they were erased, and nobody signed that; or the store is a database's.
        MasterKeyMissing: the master key that it was made with is not here.
        Altered: a part of it is not what was written.
        OSError: what the disks cannot do.
    """
    name = name or next(reversed(form.names(folder)), "none at all")
    if name not in form.names(folder):
        raise BackupRefused(f"{folder}: there is no such snapshot ({name})")
    opened = asyncio.run(_opened(place, folder, keys_folder, name, erasures))
    if not take_over:
        asyncio.run(require_nobodys(place.store))
    _prepare(place.database_url, opened.manifest.revision)
    objects, damaged = asyncio.run(_objects(place.store, opened))
    if damaged and not damaged_too:
        raise BackupRefused(
            f"{len(damaged)} objects are missing in the backup, or not what they were: {', '.join(damaged[:5])}; the "
            "database was not restored; try an older snapshot, or go on without them by --damaged-too"
        )
    sieve = asyncio.run(_load(place, opened, damaged_too))
    migrate.upgrade(place.database_url)
    asyncio.run(begin(place, name))
    return Restored(
        name=name,
        rows=sum(table.rows for table in opened.manifest.tables) - sum(sieve.left_out.values()),
        objects=objects,
        erasures=len(opened.agreement.entries),
        left_out=sieve.left_out.get("video", 0) - len(sieve.keyless),
        damaged=tuple(damaged),
        keyless=tuple(sorted(sieve.keyless)),
    )


@dataclass(frozen=True, slots=True)
class _Opened:
    """A snapshot that can be read, and what is not to be brought back of it."""

    source: Store
    manifest: form.Manifest
    keys: form.Keys
    secret: bytes
    agreement: Agreed
    """What was erased."""


async def _opened(place: Places, folder: Path, keys_folder: Path, name: str, erasures: Sequence[Erased]) -> _Opened:
    await _require_empty(place.database_url)
    source, master = Store(folder, place.keyring), place.keyring.master
    manifest = await manifest_of(source, keys_folder, name, place)
    keys = form.read_keys(keys_folder, name)
    secret = await master.unwrap(keys.secret, form.secret_of(name), keys.master)
    if lost := sorted({row.master for row in keys.tenant_keys if not master.knows(row.master)}):
        raise MasterKeyMissing(
            f"keys of the snapshot are wrapped by the master key {', '.join(lost)}, which is not here; name it in "
            "storage.old_master_keys"
        )
    return _Opened(source, manifest, keys, secret, await _agreement(place, source, manifest, keys, erasures))


async def _agreement(
    place: Places, source: Store, manifest: form.Manifest, keys: form.Keys, given: Sequence[Erased]
) -> Agreed:
    """What was erased. Raises BackupRefused where some of it is not believed."""
    key = await snapshot_key(source, manifest, place.keyring.master)
    believed, changed = vouched(given, key)
    if changed:
        raise BackupRefused(f"--erasures: {', '.join(changed[:5])} are not what this server wrote; use another copy")
    found = [*await journal.read(source), *await journal.read(place.store)]
    videos = {row.video_id for row in keys.data_keys if row.video_id is not None}
    agreement = agreed(believed, found, key, videos)
    if agreement.disputed:
        raise BackupRefused(
            f"{len(agreement.disputed)} entries of the journal are not signed by the server that was saved, and name "
            f"videos of the snapshot: {', '.join(agreement.disputed[:5])}. If you know that these were erased, give "
            f"the entries by --erasures; if you know that they were not, remove the objects (below {journal.PREFIX}/)"
        )
    return agreement


async def _require_empty(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute("SELECT set_config('app.tenant', '*', false)")
        if await connection.fetchval("SELECT to_regclass('tenant') IS NOT NULL"):
            await _require_nobody(connection)
    finally:
        await connection.close()


async def _require_nobody(connection: asyncpg.Connection) -> None:
    if await connection.fetchval("SELECT EXISTS (SELECT FROM tenant)"):
        raise BackupRefused(
            "the database is in use, and a backup is restored into an empty one only; name another database or data "
            "folder, or move this one away. Nothing was changed. If a restore into it was interrupted, it has all of "
            "that, and `automations db upgrade` and `automations store claim` do the rest"
        )


def _prepare(url: str, revision: str) -> None:
    """Have the schema be as it was. Raises BackupRefused: nobody here knows that one."""
    if not migrate.knows(revision):
        raise BackupRefused(
            f"the snapshot has the schema {revision}, which this version does not know; use a newer one"
        )
    there = migrate.current(url)
    if there is None:
        migrate.upgrade(url, revision)
    elif there != revision:
        migrate.downgrade(url, "base")
        migrate.upgrade(url, revision)


async def _objects(store: Store, opened: _Opened) -> tuple[int, list[str]]:
    """Copy all objects that are wanted, each proved to be what was saved; how many, and which could not be."""
    there = [row for row in opened.keys.data_keys if row.video_id not in opened.agreement.videos]
    wanted = {row.object_key for row in there if is_object(row.object_key)}
    damaged, done = [], 0
    async for line in listed(opened.source, opened.manifest):
        if line.key not in wanted:
            continue
        wanted.remove(line.key)
        try:
            await store.put_raw(line.key, _proved(opened.source, line))
            done += 1
        except (Altered, FileNotFoundError):
            damaged.append(line.key)
    return done, sorted([*damaged, *wanted])


async def _proved(source: Store, line: form.ObjectLine) -> AsyncIterator[bytes]:
    digest, size = hashlib.sha256(), 0
    async for chunk in source.get_raw(f"objects/{line.key}"):
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if (size, digest.hexdigest()) != (line.size_bytes, line.sha256):
        raise Altered(f"{line.key}: not what was saved")


async def _load(place: Places, opened: _Opened, keyless_too: bool) -> Sieve:
    """All rows that are to come back, in one transaction; which were left out."""
    names = [table.name for table in opened.manifest.tables]
    connection = await asyncpg.connect(place.database_url, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute("SELECT set_config('app.tenant', '*', true)")
            # COPY into a table is not for whom row-level security binds; and triggers would make what comes anyway.
            for name in (*names, "data_key"):
                await connection.execute(f'ALTER TABLE "{name}" NO FORCE ROW LEVEL SECURITY, DISABLE TRIGGER USER')
            # Asked again, now that nobody else writes.
            await _require_nobody(connection)
            # A server that was started here without tenants has begun an audit log with a key of its own.
            await connection.execute("TRUNCATE {} CASCADE".format(", ".join(f'"{name}"' for name in names)))
            keyed = [row.object_key for row in opened.keys.data_keys]
            sieve = Sieve.without(await references(connection), tuple(opened.agreement.videos), keyed)
            for table in opened.manifest.tables:
                what = form.sealed_file(opened.manifest.name, table.name)
                rows = sieve.kept(table.name, table.columns, opened.source.get(what, table.key))
                done = await connection.copy_to_table(table.name, source=rows, columns=table.columns, format="text")
                if int(done.split()[-1]) + sieve.left_out.get(table.name, 0) != table.rows:
                    raise Altered(f"{table.name}: not as many rows as were saved")
            if sieve.keyless and not keyless_too:
                raise BackupRefused(
                    f"the snapshot has no keys of {len(sieve.keyless)} of its videos, and no journal says that they "
                    f"were erased: {', '.join(sieve.keyless[:5])}; the database was not restored; name the journal by "
                    "--erasures, or go on without them by --damaged-too"
                )
            await _keys(connection, opened.keys, sieve)
            await connection.execute(_LISTS, [*opened.agreement.videos, *sieve.keyless])
            await learn_without(connection, sieve.said)
            # What nobody proved has no row: the next backup would take that for a proof.
            for one in (opened.agreement.entries[id] for id in sorted(opened.agreement.proved)):
                counts = msgspec.json.encode(one.counts).decode()
                values = (one.id, one.tenant_id, one.video_id, one.reason, one.rule_id, counts, one.at)
                await connection.execute(_ERASED, *values)
            for name in (*names, "data_key"):
                await connection.execute(f'ALTER TABLE "{name}" FORCE ROW LEVEL SECURITY, ENABLE TRIGGER USER')
            # Before the commit: from then on the database is in use, and nothing is restored into it again.
            await journal.write_all(place.store, list(opened.agreement.entries.values()))
            put_secret(place.folder / "secret", opened.secret)
    finally:
        await connection.close()
    return sieve


async def _keys(connection: asyncpg.Connection, keys: form.Keys, sieve: Sieve) -> None:
    """Keys of tenants, and of the objects that are there."""
    stay = [
        row
        for row in keys.data_keys
        if not sieve.is_gone("video", "id", row.video_id) and not sieve.is_gone("upload", "id", row.upload_id)
    ]
    for table, kind, rows in (("tenant_key", form.TenantKeyRow, keys.tenant_keys), ("data_key", form.DataKeyRow, stay)):
        columns = kind.__struct_fields__
        places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
        await connection.executemany(insert, [msgspec.structs.astuple(row) for row in rows])
