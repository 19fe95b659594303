"""Keys of objects and of values: kept wrapped in the database, given out as they are, destroyed.

A data key seals one object, or all values of one video, or those of a tenant that are of no video; its tenant's key
wraps it; a master key wraps that. The database has wrapped ones only.
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.errors import Altered, InputNotFound
from pipeline.sealed.form import KEY_BYTES, What
from serving.audit.recording import key_used
from serving.db.keys import DataKey, TenantKey
from serving.db.statements import execute
from serving.errors import MasterKeyUnavailable
from serving.storage.master import Master, unwrapped, wrapped
from serving.storage.values import Values

#: Keys of tenants that are kept unwrapped, those that were used last: a service that has the master key is not asked
#: for each object. Each takes some 300 bytes.
_KEPT: Final = 20_000

#: How long whoever needs a key waits for a service that has the master key, seconds: a connection to the database is
#: kept from others meanwhile. The journey itself may take longer: who comes again finds what it brought.
PATIENCE_S: Final = 5.0

#: A key of a tenant, by the content of its row: whose, its version, and as it is wrapped. One that was made in a
#: transaction that was undone has the version of the next one that is made, and is another key.
_Row = tuple[str, int, bytes]


def fresh_key() -> bytes:
    """[32] A new key."""
    return os.urandom(KEY_BYTES)


def tenant_key_of(tenant: str, version: int) -> What:
    """As what a tenant's key is wrapped."""
    return What(tenant, "", "tenant key", version)


def data_key_of(tenant: str, object_key: str, version: int) -> What:
    """As what an object's key is wrapped. `version`: of the tenant's key."""
    return What(tenant, object_key, "data key", version)


def values_at(tenant: str, video_id: str | None) -> str:
    """Under what name, in the place of an object's, the key of a video's values is kept; None: of the tenant's."""
    return f"values/{tenant}" if video_id is None else f"values/{tenant}/{video_id}"


class Keyring:
    """All keys, for who has the master key. One for a process; used in the transactions of others."""

    def __init__(self, master: Master) -> None:
        """`master`: see there."""
        self.master = master
        """Who wraps keys of tenants."""
        self._tenant_keys: OrderedDict[_Row, tuple[bytes, float]] = OrderedDict()
        """[32] Each, and until when it is kept: seconds, monotonic."""
        self._unwrapping: dict[_Row, asyncio.Task[bytes]] = {}
        self._unwrapped: list[tuple[str, int]] = []

    async def keep(
        self,
        session: AsyncSession,
        tenant: str,
        object_key: str,
        key: bytes,
        *,
        video_id: str | None = None,
        upload_id: str | None = None,
    ) -> None:
        """Keep the key of an object, in the transaction that names the object; whose it is, has its row already.

        Raises:
            MasterKeyMissing, Altered: see `tenant_key`.
        """
        row = await self._wrapped(session, tenant, object_key, key)
        session.add(DataKey(**row, video_id=video_id, upload_id=upload_id))
        await session.flush()

    async def key_of(self, session: AsyncSession, tenant: str, object_key: str) -> bytes | None:
        """[32] The key of an object; None of one that was kept before objects were sealed, or whose key is destroyed.

        Raises:
            MasterKeyMissing, Altered: see `tenant_key`.
        """
        return (await self.keys_of(session, tenant, [object_key])).get(object_key)

    async def keys_of(self, session: AsyncSession, tenant: str, object_keys: Sequence[str]) -> dict[str, bytes]:
        """The keys of objects, of those that have one. Raises as `key_of`."""
        same = (col(TenantKey.tenant_id) == col(DataKey.tenant_id)) & (
            col(TenantKey.version) == col(DataKey.tenant_version)
        )
        query = select(DataKey, TenantKey).join(TenantKey, same)
        query = query.where(DataKey.tenant_id == tenant, col(DataKey.object_key).in_(object_keys))
        return {row.object_key: await self.unwrap(row, by) for row, by in (await session.exec(query)).all()}

    async def unwrap(self, row: DataKey, by: TenantKey) -> bytes:
        """[32] The key of an object. `by`: the row of what wraps it. Raises as `key_of`."""
        what = data_key_of(row.tenant_id, row.object_key, row.tenant_version)
        return unwrapped(await self.tenant_key(by), row.wrapped, what)

    async def values(self, session: AsyncSession, tenant: str, video_id: str | None = None) -> Values:
        """What opens the values of a video, or, without one, of the tenant.

        Raises:
            InputNotFound: their key was destroyed.
            MasterKeyMissing, Altered: see `tenant_key`.
        """
        key = await self.key_of(session, tenant, values_at(tenant, video_id))
        if key is None:
            raise InputNotFound(f"the key of what is kept of {video_id or tenant} was destroyed")
        return Values(tenant, key)

    async def values_to_seal(self, session: AsyncSession, tenant: str, video_id: str | None = None) -> Values:
        """The same, to seal some; their key is made where there is none. Raises MasterKeyMissing and Altered."""
        name = values_at(tenant, video_id)
        key = await self.key_of(session, tenant, name)
        if key is None:
            # Of two who make the first one, one waits for the other, and finds it.
            row = await self._wrapped(session, tenant, name, fresh_key())
            await execute(session, insert(DataKey).values(row | {"video_id": video_id}).on_conflict_do_nothing())
            key = (await self.keys_of(session, tenant, [name]))[name]
        return Values(tenant, key)

    def of_tenants(self, session: AsyncSession) -> "TenantValues":
        """What opens values of tenants, for as long as the transaction lasts."""
        return TenantValues(self, session)

    async def latest(self, session: AsyncSession, tenant: str) -> TenantKey:
        """The key of a tenant that wraps, made where there is none. It is there as long as the transaction lasts."""
        query = select(TenantKey).where(TenantKey.tenant_id == tenant).order_by(col(TenantKey.version).desc()).limit(1)
        query = query.with_for_update(read=True, key_share=True)
        found = (await session.exec(query)).one_or_none()
        if found is None:
            # Of two who make the first one, one waits for the other, and finds it.
            made = await self.made(tenant, 1)
            await execute(session, insert(TenantKey).values(made).on_conflict_do_nothing())
            found = (await session.exec(query)).one()
        return found

    async def made(self, tenant: str, version: int) -> dict[str, str | int | bytes]:
        """A row with a new key of a tenant. Raises MasterKeyUnavailable."""
        kept = await self._waited_for(_watched(self.master.wrap(fresh_key(), tenant_key_of(tenant, version))))
        return {"tenant_id": tenant, "version": version, "wrapped": kept, "master": self.master.name}

    async def _wrapped(self, session: AsyncSession, tenant: str, name: str, key: bytes) -> dict[str, Any]:
        latest = await self.latest(session, tenant)
        kept = wrapped(await self.tenant_key(latest), key, data_key_of(tenant, name, latest.version))
        return {"object_key": name, "tenant_id": tenant, "tenant_version": latest.version, "wrapped": kept}

    async def tenant_key(self, row: TenantKey) -> bytes:
        """[32] A tenant's key. Of many who need it at once, one asks the master key for it.

        Raises:
            MasterKeyMissing: the master key that it is wrapped by is not here; MasterKeyUnavailable, which is one: it
                cannot be asked just now, or does not answer within `PATIENCE_S`.
            Altered: the row is not what was written.
        """
        name = (row.tenant_id, row.version, row.wrapped)
        key, until = self._tenant_keys.get(name, (b"", 0.0))
        if time.monotonic() < until:
            self._tenant_keys.move_to_end(name)
            return key
        unwrapping = self._unwrapping.get(name)
        if unwrapping is None:
            unwrapping = self._unwrapping[name] = _watched(self._unwrap_tenant_key(name, row.master))
            unwrapping.add_done_callback(lambda done: self._unwrapped_by(name, done))
        return await self._waited_for(unwrapping)

    async def _waited_for(self, journey: "asyncio.Task[bytes]") -> bytes:
        # Who gives up waiting does not take it from the others.
        done, _ = await asyncio.wait({journey}, timeout=PATIENCE_S)
        if not done:
            raise MasterKeyUnavailable(f"{self.master.name}: no answer within {PATIENCE_S:g} s", away=True)
        return journey.result()

    async def _unwrap_tenant_key(self, name: _Row, master: str) -> bytes:
        tenant, version, wrapped = name
        # What is kept from here on was good now, not when an answer came that took its time.
        asked = time.monotonic()
        key = await self.master.unwrap(wrapped, tenant_key_of(tenant, version), master)
        if len(key) != KEY_BYTES:
            raise Altered(f"the tenant key of {tenant} has {len(key)} bytes")
        self._tenant_keys[name] = key, asked + self.master.kept_s(master)
        self._tenant_keys.move_to_end(name)
        if len(self._unwrapped) < _KEPT:
            self._unwrapped.append((tenant, version))
        while len(self._tenant_keys) > _KEPT:
            self._tenant_keys.popitem(last=False)
        return key

    def _unwrapped_by(self, name: _Row, done: "asyncio.Task[bytes]") -> None:
        if self._unwrapping.get(name) is done:
            del self._unwrapping[name]

    def used(self) -> list[tuple[str, int]]:
        """For the audit log: tenants whose keys were unwrapped since this was asked last, and versions of those."""
        unwrapped, self._unwrapped = self._unwrapped, []
        return unwrapped


def _watched(journey: Coroutine[Any, Any, bytes]) -> "asyncio.Task[bytes]":
    """It goes on, whoever gives up waiting for it; how it ends is looked at, for all of them may have."""
    task = asyncio.create_task(journey)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


class TenantValues:
    """What opens values of tenants; each key is asked for once, and not before it is needed."""

    def __init__(self, keyring: Keyring, session: AsyncSession) -> None:
        self._keyring, self._session = keyring, session
        self._known: dict[str, Values] = {}

    async def of(self, tenant: str) -> Values:
        """Those of one. Raises as `Keyring.values`."""
        if tenant not in self._known:
            self._known[tenant] = await self._keyring.values(self._session, tenant)
        return self._known[tenant]


async def forget(session: AsyncSession, object_keys: Sequence[str]) -> None:
    """Destroy the keys of objects: once this is committed nobody reads these any more, wherever copies of them are."""
    which = col(DataKey.object_key).in_(object_keys)
    gone = delete(DataKey).where(which).returning(col(DataKey.tenant_id), col(DataKey.video_id))
    videos: dict[str, list[str]] = {}
    for row in (await execute(session, gone)).all():
        # Those of parts go with every upload; it has lines of its own.
        if row.video_id is not None:
            videos.setdefault(row.tenant_id, []).append(row.video_id)
    for tenant, ids in videos.items():
        await key_used(session, "key.destroy", tenant, list(dict.fromkeys(ids)), len(ids))
