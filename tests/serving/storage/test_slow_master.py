"""A service that has the master key and is slow holds up few, and none who need nothing of it."""

import asyncio
import threading
import time

from serving.db.database import Database
from serving.db.keys import TenantKey
from serving.errors import MasterKeyUnavailable
from serving.storage import keyring, remote_master, rotating
from serving.storage.keyring import Keyring, fresh_key
from serving.storage.master import LocalMaster
from serving.storage.remote_master import RemoteMaster
from tests.serving.storage.test_remote_master import WHAT, refused, service

__all__ = ["service"]


def test_of_many_who_ask_at_once_few_wait_for_one_that_is_slow(service, monkeypatch):
    monkeypatch.setattr(remote_master, "WAIT_S", 2.0)
    ending = threading.Event()

    async def body() -> None:
        master = RemoteMaster(service, 60.0)
        # One that is not slow answers all of them.
        service.does = lambda: time.sleep(0.005) or b"wrapped"
        assert await asyncio.gather(*(master.wrap(b"", WHAT) for _ in range(20))) == [b"wrapped"] * 20
        monkeypatch.setattr(remote_master, "PLACE_S", 0.1)
        service.asked, service.does = 0, lambda: bytes(ending.wait(10))
        waiting = [asyncio.create_task(refused(master, "no answer|it is slow")) for _ in range(20)]
        done, hanging = await asyncio.wait(waiting, timeout=1.0)
        assert (len(done), len(hanging), service.asked) == (16, 4, 4)
        assert max(task.result() for task in done) < 0.8
        # By now it is known to be slow.
        assert await refused(master, "4 others wait for it already") < 0.05
        assert min(await asyncio.gather(*hanging)) > 1.5

    try:
        asyncio.run(body())
    finally:
        ending.set()


def test_who_asks_for_a_key_keeps_no_connection_from_those_who_need_none(run, service, url, monkeypatch):
    monkeypatch.setattr(remote_master, "WAIT_S", 3.0)
    monkeypatch.setattr(remote_master, "PLACE_S", 0.2)
    monkeypatch.setattr(keyring, "PATIENCE_S", 1.5)
    ending, asked = threading.Event(), []

    def decrypt(kept, what):
        asked.append(what.generation)
        ending.wait(10)
        return kept

    service.encrypt = lambda key, _: key

    async def body(world) -> None:
        ring, database = Keyring(RemoteMaster(service, 60.0)), Database(url, pool_size=6)
        async with world.database.write("video.write", "a") as session:
            known = await ring.latest(session, "a")
        service.decrypt = lambda kept, _: kept
        await ring.tenant_key(known)
        others = [TenantKey(tenant_id="a", version=n, wrapped=known.wrapped, master=known.master) for n in range(2, 20)]
        service.decrypt = decrypt

        async def needs(row) -> str:
            began = time.monotonic()
            async with database.read("a"):
                try:
                    await ring.tenant_key(row)
                except MasterKeyUnavailable:
                    assert time.monotonic() - began < 2.5
                    return "refused"
            return f"{time.monotonic() - began < 1.0}"

        try:
            waiting = [asyncio.create_task(needs(row)) for row in others]
            await asyncio.sleep(0.01)
            assert await needs(known) == "True"
            assert await asyncio.gather(*waiting) == ["refused"] * 18
            # What was on its way is there for who comes again.
            ending.set()
            await asyncio.sleep(0.2)
            assert len(asked) == 4
            assert await asyncio.gather(*(needs(row) for row in others if row.version in asked)) == ["True"] * 4
            assert len(asked) == 4
        finally:
            ending.set()
            await database.close()

    run(body)


class Halting(LocalMaster):
    """It wraps when it is told to."""

    def __init__(self, *keys: bytes) -> None:
        super().__init__(keys)
        self.asked, self.goes_on = asyncio.Event(), asyncio.Event()

    async def wrap(self, key, what):
        self.asked.set()
        await self.goes_on.wait()
        return await super().wrap(key, what)


async def _stored(world, ring: Keyring, name: str) -> None:
    async with asyncio.timeout(5), world.database.write("video.write", "a") as session:
        await ring.keep(session, "a", name, fresh_key(), video_id="vid_a")


def test_who_seals_something_does_not_wait_for_a_rotation_that_waits(run):
    old, new = bytes(range(32)), bytes(32)

    async def body(world) -> None:
        both = Keyring(LocalMaster([new, old]))
        await _stored(world, Keyring(LocalMaster([old])), "videos/1")
        slow = Halting(new, old)
        rotation = asyncio.create_task(rotating.rotate(world.database, Keyring(slow)))
        # By the new master key.
        await slow.asked.wait()
        await _stored(world, both, "videos/2")
        slow.goes_on.set()
        done = await rotation
        assert (done.under_master, done.tenant_keys, done.data_keys) == (1, 1, 2)

        slow = Halting(new)
        rotation = asyncio.create_task(rotating.rotate(world.database, Keyring(slow)))
        # By a new key of the tenant: no transaction is open meanwhile.
        await slow.asked.wait()
        idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in tr%'"
        assert [tuple(row) for row in await world.sql(idle)] == [(0,)]
        # Somebody else rotates meanwhile, from beginning to end.
        assert (await rotating.rotate(world.database, both)).tenant_keys == 1
        slow.goes_on.set()
        assert (await rotation).tenant_keys == 0
        assert [tuple(row) for row in await world.sql("SELECT version FROM tenant_key")] == [(3,)]

    run(body)
