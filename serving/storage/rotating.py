"""Wraps keys anew, with new keys of tenants and by the present master key. No object is read or written.

It may be ended at any time, and begun again: what is to be done is seen from the rows. A tenant with two keys is one
whose rotation is under way.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.errors import Altered
from pipeline.record import Record
from serving.audit.recording import key_used
from serving.audit.signing import WHAT as AUDIT_KEY
from serving.db.audit import AuditKey
from serving.db.database import SYSTEM, Database
from serving.db.keys import DataKey, TenantKey
from serving.db.statements import execute
from serving.storage import known
from serving.storage.keyring import Keyring, data_key_of, tenant_key_of
from serving.storage.master import unwrapped, wrapped

#: Keys that are wrapped anew in one transaction: some milliseconds, for which whoever deletes one of them waits.
_AT_ONCE: Final = 200

#: Seconds until those are looked at again that somebody else had locked.
_WAIT_S: Final = 0.2

_LATEST: Final = text("SELECT tenant_id, max(version) AS version FROM tenant_key GROUP BY tenant_id ORDER BY tenant_id")

_UNDER_WAY: Final = text("SELECT tenant_id FROM tenant_key GROUP BY tenant_id HAVING count(*) > 1 ORDER BY tenant_id")

_STATUS: Final = text(
    """
    SELECT
        (SELECT count(DISTINCT tenant_id) FROM tenant_key) AS tenants,
        (SELECT count(*) FROM data_key WHERE object_key NOT LIKE 'values/%') AS data_keys,
        (SELECT count(*) FROM data_key WHERE object_key LIKE 'values/%') AS value_keys,
        (SELECT count(*) FROM data_key d WHERE d.tenant_version < (
            SELECT max(t.version) FROM tenant_key t WHERE t.tenant_id = d.tenant_id
        )) AS behind,
        (SELECT count(*) FROM video v WHERE NOT EXISTS (
            SELECT FROM data_key d WHERE d.object_key = v.object_key
        )) AS unsealed_videos,
        (SELECT count(*) FROM report WHERE NOT sealed)
            + (SELECT count(*) FROM webhook_endpoint WHERE sealed IS NULL)
            + (SELECT count(*) FROM upload WHERE sealed IS NULL AND (url IS NOT NULL OR tus_metadata IS NOT NULL))
            AS unsealed_values,
        ARRAY(SELECT table_name FROM written_over ORDER BY table_name) AS written_over
    """
)


class KeysStatus(Record, frozen=True, kw_only=True):
    """What is wrapped by what."""

    master: str
    """Name of the master key that wraps now."""
    masters: dict[str, int]
    """Name of a master key -> keys that are wrapped by it: those of tenants, and that of the audit log."""
    lost: tuple[str, ...]
    """Those of them that are not here: nothing is readable that they wrap."""
    tenants: int
    """Tenants that have a key."""
    data_keys: int
    """Objects that are sealed."""
    value_keys: int
    """Videos, and tenants, of whom something in the database is sealed."""
    behind: int
    """Those of both whose key is wrapped by an older key of its tenant: a rotation is under way."""
    unsealed_videos: int
    """Videos from before objects were sealed; see `old_objects.seal`."""
    unsealed_values: int
    """Reports, webhooks and uploads from before what is in the database was sealed; see `old_values.seal`."""
    written_over: tuple[str, ...]
    """Tables in whose files these may still be, though their rows are sealed; that writes them anew."""


class Rotated(Record, frozen=True, kw_only=True):
    """What a rotation did."""

    tenant_keys: int
    """Keys of tenants that were made."""
    under_master: int
    """Those that were wrapped by the present master key instead of another."""
    data_keys: int
    """Keys of objects and values that were wrapped anew."""
    damaged: tuple[str, ...] = ()
    """Keys whose rows are not what was written, by what they are of: `videos/vid_...`, or `tenant key TENANT/VERSION`.
    They stay as they are, and so does what wraps them."""


async def status(database: Database, keyring: Keyring) -> KeysStatus:
    """How keys are wrapped."""
    async with database.read(SYSTEM) as session:
        counts = dict((await execute(session, _STATUS)).mappings().one())
    tables = tuple(counts.pop("written_over"))
    masters = await known.masters(database)
    return KeysStatus(
        master=keyring.master.name, masters=masters, lost=known.lost(masters, keyring), written_over=tables, **counts
    )


async def rotate(database: Database, keyring: Keyring) -> Rotated:
    """Give each tenant a new key, and wrap all keys of objects and values by it; or go on with what was left of one.
    What is damaged is told, and in nobody's way.

    Raises:
        MasterKeyMissing: see `Keyring.tenant_key`.
        Altered: the key of the audit log is damaged.
    """
    damaged: set[str] = set()
    under_master = await _under_master(database, keyring, damaged)
    await _log_under_master(database, keyring)
    async with database.read(SYSTEM) as session:
        under_way = (await execute(session, _UNDER_WAY)).scalars().all()
    done, made = 0, []
    for tenant in under_way:
        done += await _finished(database, keyring, tenant, damaged)
    if not under_way or (damaged and not done):
        # Where what is damaged is all that is left of an earlier one, it keeps nobody from a new key.
        made = await _new_keys(database, keyring, under_way)
        for tenant in made:
            done += await _finished(database, keyring, tenant, damaged)
    return Rotated(tenant_keys=len(made), under_master=under_master, data_keys=done, damaged=tuple(sorted(damaged)))


async def _new_keys(database: Database, keyring: Keyring, left: Sequence[str]) -> list[str]:
    """Make new keys of tenants; of which. `left`: tenants that have more than one all the same."""
    async with database.read(SYSTEM) as session:
        latest = (await execute(session, _LATEST)).all()
    # Before the transaction begins: whoever has the master key may take its time for each.
    made = [await keyring.made(row.tenant_id, row.version + 1) for row in latest]
    async with database.write("keys.rotate", SYSTEM) as session:
        under_way = (await execute(session, _UNDER_WAY)).scalars().all()
        if others := [tenant for tenant in under_way if tenant not in left]:
            # Somebody else has just begun.
            return others
        # Whose key is another one by now has a new one already, or is gone.
        still = {(row.tenant_id, row.version + 1) for row in (await execute(session, _LATEST)).all()}
        made = [row for row in made if (row["tenant_id"], row["version"]) in still]
        if made:
            # Of two who rotate at once, one makes them. One by one: a statement takes 32,767 values.
            await (await session.connection()).execute(insert(TenantKey).on_conflict_do_nothing(), made)
    return [str(row["tenant_id"]) for row in made]


async def _under_master(database: Database, keyring: Keyring, damaged: set[str]) -> int:
    """Wrap keys of tenants by the present master key; how many there were."""
    after, done = ("", 0), 0
    others = select(TenantKey).where(TenantKey.master != keyring.master.name).limit(_AT_ONCE)
    # Whoever seals something meanwhile has a share of the key, and does not wait for these journeys to be over.
    others = others.order_by(col(TenantKey.tenant_id), col(TenantKey.version)).with_for_update(key_share=True)
    while True:
        behind = func.row(TenantKey.tenant_id, TenantKey.version) > func.row(*after)
        async with database.write("keys.rotate", SYSTEM) as session:
            rows = (await session.exec(others.where(behind))).all()
            good = 0
            for row in rows:
                try:
                    key = await keyring.tenant_key(row)
                except Altered:
                    damaged.add(_tenant_key(row))
                    continue
                row.wrapped = await keyring.master.wrap(key, tenant_key_of(row.tenant_id, row.version))
                row.master = keyring.master.name
                session.add(row)
                good += 1
            if good:
                await key_used(session, "key.master", None, [keyring.master.name], good)
        done += good
        if len(rows) < _AT_ONCE:
            return done
        after = rows[-1].tenant_id, rows[-1].version


async def _log_under_master(database: Database, keyring: Keyring) -> None:
    """The same for the key of the audit log."""
    async with database.write("keys.rotate", SYSTEM) as session:
        other = select(AuditKey).where(AuditKey.master != keyring.master.name).with_for_update(key_share=True)
        for row in (await session.exec(other)).all():
            key = await keyring.master.unwrap(row.wrapped, AUDIT_KEY, row.master)
            row.wrapped, row.master = await keyring.master.wrap(key, AUDIT_KEY), keyring.master.name
            session.add(row)
            await key_used(session, "key.master", None, [keyring.master.name])


async def _finished(database: Database, keyring: Keyring, tenant: str, damaged: set[str]) -> int:
    """As `_finish`; of a tenant whose latest key is damaged, nothing is done."""
    try:
        return await _finish(database, keyring, tenant, damaged)
    except Altered:
        return 0


async def _finish(database: Database, keyring: Keyring, tenant: str, damaged: set[str]) -> int:
    """Wrap a tenant's keys of objects by its latest key, and take those away that wrap none any more; how many there
    were."""
    done = 0
    while True:
        async with database.write("keys.rotate", SYSTEM) as session:
            looked_at, rewrapped = await _rewrap(session, keyring, tenant, damaged)
        done += rewrapped
        if looked_at < _AT_ONCE:
            break
    while True:
        async with database.write("keys.rotate", SYSTEM) as session:
            # Whoever keeps a key has a share of the tenant's until that is committed: with this, all of them are seen.
            versions = select(TenantKey.version).where(TenantKey.tenant_id == tenant).order_by(col(TenantKey.version))
            *older, latest = (await session.exec(versions.with_for_update())).all()
            done += (await _rewrap(session, keyring, tenant, damaged))[1]
            behind = select(DataKey.object_key, DataKey.tenant_version)
            behind = behind.where(DataKey.tenant_id == tenant, DataKey.tenant_version < latest)
            left = (await session.exec(behind)).all()
            # What wraps a damaged one stays: the row may be had from a backup.
            needed = {version for name, version in left if name in damaged}
            left = [name for name, _ in left if name not in damaged]
            if not left:
                unused = [version for version in older if version not in needed]
                gone = delete(TenantKey).where(col(TenantKey.tenant_id) == tenant, col(TenantKey.version).in_(unused))
                await execute(session, gone)
                if unused:
                    await key_used(session, "key.rotate", tenant, [f"{tenant}/{latest}"])
        if not left:
            return done
        # Somebody is about to delete these. They are not waited for with the tenant's key in hand: they may want it.
        await asyncio.sleep(_WAIT_S)


async def _rewrap(session: AsyncSession, keyring: Keyring, tenant: str, damaged: set[str]) -> tuple[int, int]:
    """Some of a tenant's keys of objects that are behind, that nobody holds, and that are not known to be damaged; how
    many there were, and how many of them are wrapped anew. Raises Altered: the tenant's latest key is damaged."""
    found = (await session.exec(select(TenantKey).where(TenantKey.tenant_id == tenant))).all()
    keys: dict[int, bytes] = {}
    for row in found:
        try:
            keys[row.version] = await keyring.tenant_key(row)
        except Altered:
            damaged.add(_tenant_key(row))
    latest = max(row.version for row in found)
    if latest not in keys:
        raise Altered(f"the tenant key of {tenant} is damaged")
    behind = select(DataKey).where(DataKey.tenant_id == tenant, DataKey.tenant_version < latest)
    behind = behind.where(col(DataKey.object_key).not_in(damaged))
    behind = behind.order_by(col(DataKey.object_key)).limit(_AT_ONCE).with_for_update(skip_locked=True)
    rows = (await session.exec(behind)).all()
    good = 0
    for row in rows:
        try:
            key = _unwrapped(keys, row)
        except Altered:
            damaged.add(row.object_key)
            continue
        row.wrapped = wrapped(keys[latest], key, data_key_of(tenant, row.object_key, latest))
        row.tenant_version = latest
        session.add(row)
        good += 1
    await session.flush()
    return len(rows), good


def _unwrapped(keys: Mapping[int, bytes], row: DataKey) -> bytes:
    """Raises Altered: it, or what wraps it, is damaged."""
    if row.tenant_version not in keys:
        raise Altered(f"the key that wraps that of {row.object_key} is damaged")
    what = data_key_of(row.tenant_id, row.object_key, row.tenant_version)
    return unwrapped(keys[row.tenant_version], row.wrapped, what)


def _tenant_key(row: TenantKey) -> str:
    return f"tenant key {row.tenant_id}/{row.version}"
