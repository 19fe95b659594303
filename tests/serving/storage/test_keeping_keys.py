"""Keys of tenants are asked for once, by however many, and kept for no longer than whoever unwrapped them lets us."""

import asyncio

import pytest

from serving.errors import MasterKeyUnavailable
from serving.storage.keyring import Keyring, fresh_key
from serving.storage.master import LocalMaster, SeveralMasters

MASTER, OTHER = bytes(range(32)), bytes(32)


class Lent(LocalMaster):
    """A master key that is elsewhere: counts what it is asked, may be away, and answers after a moment."""

    lent_s, takes_s, away, asked = 60.0, 0.01, False, 0

    def kept_s(self, name: str) -> float:
        return self.lent_s

    async def unwrap(self, wrapped, what, name):
        self.asked += 1
        await asyncio.sleep(self.takes_s)
        if self.away:
            raise MasterKeyUnavailable("it is away", away=True)
        return await super().unwrap(wrapped, what, name)


async def _read(world, ring: Keyring, tenant: str = "a") -> bytes | None:
    async with world.database.read(tenant) as session:
        return await ring.key_of(session, tenant, f"videos/{tenant}")


async def _kept(world, ring: Keyring, tenant: str = "a") -> bytes:
    key = fresh_key()
    async with world.database.write("video.write", tenant) as session:
        await ring.keep(session, tenant, f"videos/{tenant}", key, video_id=f"vid_{tenant}")
    return key


def test_of_many_who_need_a_key_one_asks(run):
    async def body(world):
        key = await _kept(world, Keyring(LocalMaster([MASTER])))
        ring = Keyring(master := Lent([MASTER]))
        master.takes_s = 0.5
        assert await asyncio.gather(*(_read(world, ring) for _ in range(8))) == [key] * 8
        assert await _read(world, ring) == key
        assert master.asked == 1
        assert ring.used() == [("a", 1)]

    run(body)


def test_a_key_is_kept_for_as_long_as_that_is_allowed(run):
    async def body(world):
        key = await _kept(world, Keyring(LocalMaster([MASTER])))
        ring = Keyring(master := Lent([MASTER]))
        assert await _read(world, ring) == key
        # What is kept, is good while the service is away, and no longer.
        master.away = True
        assert await _read(world, ring) == key
        ring = Keyring(master := Lent([MASTER]))
        master.lent_s = 0.05
        assert await _read(world, ring) == key
        await asyncio.sleep(0.06)
        master.away = True
        with pytest.raises(MasterKeyUnavailable):
            await _read(world, ring)
        master.away = False
        assert await _read(world, ring) == key
        assert master.asked == 3

    run(body)


def test_who_gives_up_takes_it_from_nobody_and_is_told_of_no_fault(run, caplog):
    async def body(world):
        key = await _kept(world, Keyring(LocalMaster([MASTER])))
        ring = Keyring(master := Lent([MASTER]))
        first, second = (asyncio.create_task(_read(world, ring)) for _ in range(2))
        while not master.asked:
            await asyncio.sleep(0)
        first.cancel()
        assert await second == key
        assert master.asked == 1

    run(body)
    assert caplog.text == ""


def test_of_several_masters_the_first_wraps_and_all_unwrap(run):
    async def body(world):
        old = LocalMaster([MASTER])
        key = await _kept(world, Keyring(old))
        both = SeveralMasters([new := Lent([OTHER]), old])
        assert await _read(world, Keyring(both)) == key
        assert new.asked == 0
        assert await _kept(world, Keyring(both), "b") == await _read(world, Keyring(new), "b")
        assert (both.kept_s(new.name), both.kept_s(old.name)) == (60.0, old.kept_s(old.name))
        assert (both.name, both.knows(old.name), both.knows("0" * 16)) == (new.name, True, False)

    run(body)
