"""Keys are kept wrapped, found by whose they are, and gone with what they seal."""

import asyncio
import os

import pytest
from sqlalchemy.exc import IntegrityError

from pipeline.errors import Altered
from serving.db.keys import TenantKey
from serving.db.media import Video
from serving.errors import MasterKeyMissing
from serving.storage import keyring
from serving.storage.keyring import Keyring, data_key_of, forget, fresh_key, tenant_key_of
from serving.storage.master import LocalMaster, named, unwrapped, wrapped

MASTER = bytes(range(32))


def _ring(*keys: bytes) -> Keyring:
    return Keyring(LocalMaster(keys or (MASTER,)))


async def _kept(world, ring: Keyring, tenant: str, name: str, **of) -> bytes:
    key = fresh_key()
    async with world.database.write("video.write", tenant) as session:
        await ring.keep(session, tenant, name, key, **of)
    return key


async def _found(world, ring: Keyring, tenant: str, name: str) -> bytes | None:
    async with world.database.read(tenant) as session:
        return await ring.key_of(session, tenant, name)


def test_a_wrapped_key_is_unwrapped_as_what_it_is_only():
    key, by, what = fresh_key(), os.urandom(32), data_key_of("a", "videos/1", 1)
    kept = wrapped(by, key, what)
    assert key not in kept
    assert kept != wrapped(by, key, what)
    assert unwrapped(by, kept, what) == key
    changed = (data_key_of("b", "videos/1", 1), data_key_of("a", "videos/2", 1), data_key_of("a", "videos/1", 2))
    for other in changed:
        with pytest.raises(Altered):
            unwrapped(by, kept, other)
    for bit in range(len(kept) * 8):
        flipped = bytearray(kept)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Altered):
            unwrapped(by, bytes(flipped), what)
    for short in (b"", kept[:12], kept[:-1]):
        with pytest.raises(Altered):
            unwrapped(by, short, what)


def test_the_name_of_a_master_key_is_its_own():
    assert named(MASTER) == named(MASTER) != named(bytes(32))
    assert bytes.fromhex(named(MASTER)) not in MASTER


def test_keys_that_are_used_stay_at_hand_and_others_go(monkeypatch):
    monkeypatch.setattr(keyring, "_KEPT", 2)
    rows = [
        TenantKey(
            tenant_id=name,
            version=1,
            wrapped=wrapped(MASTER, fresh_key(), tenant_key_of(name, 1)),
            master=named(MASTER),
        )
        for name in "abc"
    ]

    async def body():
        ring = _ring()
        unwrapped_then = []
        for one in (0, 1, 0, 2, 0, 1):
            await ring.tenant_key(rows[one])
            unwrapped_then.append("".join(tenant for tenant, _ in ring.used()))
        # The first was used between the others: it did not have to be unwrapped again.
        assert unwrapped_then == ["a", "b", "", "c", "", "b"]

    asyncio.run(body())


def test_keys_are_found_again_by_another_process_and_nowhere_as_they_are(run):
    async def body(world):
        key = await _kept(world, _ring(), "a", "videos/1", video_id="vid_a")
        assert await _found(world, _ring(), "a", "videos/1") == key
        assert await _found(world, _ring(), "a", "videos/2") is None
        rows = await world.sql("SELECT wrapped FROM data_key UNION ALL SELECT wrapped FROM tenant_key")
        assert len(rows) == 2
        assert not any(key in row.wrapped for row in rows)

    run(body)


def test_nobody_finds_the_keys_of_others(run):
    async def body(world):
        ring = _ring()
        await _kept(world, ring, "a", "videos/1", video_id="vid_a")
        async with world.database.read("b") as session:
            # Its own query asks for tenant a; the policy has no rows for it.
            assert await ring.key_of(session, "a", "videos/1") is None
        # Somebody who may write to the database gives the key to tenant b.
        async with world.database.write("video.write", "b") as session:
            await ring.latest(session, "b")
        await world.change("UPDATE data_key SET tenant_id = 'b'")
        with pytest.raises(Altered):
            await _found(world, ring, "b", "videos/1")

    run(body)


def test_without_the_master_key_nothing_is_found(run):
    async def body(world):
        key = await _kept(world, _ring(), "a", "videos/1", video_id="vid_a")
        other = os.urandom(32)
        with pytest.raises(MasterKeyMissing, match=named(MASTER)):
            await _found(world, _ring(other), "a", "videos/1")
        assert await _found(world, _ring(other, MASTER), "a", "videos/1") == key
        # The name alone does not help.
        await world.change("UPDATE tenant_key SET master = :name", name=named(other))
        with pytest.raises(Altered):
            await _found(world, _ring(other), "a", "videos/1")

    run(body)


def test_a_video_that_is_deleted_takes_its_key_along(run):
    async def body(world):
        ring = _ring()
        await _kept(world, ring, "a", "videos/1", video_id="vid_a")
        async with world.database.write("video.delete", "a") as session:
            await session.delete(await session.get_one(Video, "vid_a"))
        assert await _found(world, ring, "a", "videos/1") is None
        assert await world.sql("SELECT object_key FROM data_key") == []

    run(body)


def test_a_key_is_destroyed_when_that_is_committed(run):
    async def body(world):
        ring = _ring()
        key = await _kept(world, ring, "a", "videos/1", video_id="vid_a")
        # One that is not committed.
        async with world.database.read("a") as session:
            await forget(session, ["videos/1"])
        assert await _found(world, ring, "a", "videos/1") == key
        async with world.database.write("video.delete", "a") as session:
            await forget(session, ["videos/1"])
        assert await _found(world, ring, "a", "videos/1") is None

    run(body)


def test_of_many_who_need_a_first_key_of_a_tenant_one_makes_it(run):
    async def body(world):
        rings = [_ring() for _ in range(8)]
        keys = await asyncio.gather(*(_kept(world, ring, "a", f"uploads/{n}") for n, ring in enumerate(rings)))
        for number, key in enumerate(keys):
            assert await _found(world, _ring(), "a", f"uploads/{number}") == key
        assert [row.version for row in await world.sql("SELECT version FROM tenant_key")] == [1]

    run(body)


def test_an_object_has_one_key(run):
    async def body(world):
        ring = _ring()
        key = await _kept(world, ring, "a", "videos/1", video_id="vid_a")
        with pytest.raises(IntegrityError):
            await _kept(world, ring, "a", "videos/1", video_id="vid_a")
        assert await _found(world, ring, "a", "videos/1") == key

    run(body)
