"""Rotation wraps all keys anew, changes none, and may be interrupted, under load."""

import asyncio
import os
import subprocess
import sys

import pytest

from serving.db import failpoints
from serving.storage import rotating
from serving.storage.keyring import Keyring, forget, fresh_key
from serving.storage.master import LocalMaster, named
from tests.serving.commands import ROOT, here
from tests.serving.sealing import MASTER_KEY, keyring
from tests.serving.storage.turning import AT_ONCE, MASTER


def _ring(*keys: bytes) -> Keyring:
    return Keyring(LocalMaster(keys or (MASTER,)))


async def _filled(world, ring: Keyring, count: int) -> dict[tuple[str, str], bytes]:
    """Keys of objects of both tenants, as they are."""
    keys = {(tenant, f"videos/{tenant}{n}"): fresh_key() for tenant in "ab" for n in range(count)}
    for tenant in "ab":
        async with world.database.write("video.write", tenant) as session:
            for (whose, name), key in keys.items():
                if whose == tenant:
                    await ring.keep(session, tenant, name, key, video_id=f"vid_{tenant}")
    return keys


async def _all(world, ring: Keyring, keys: dict[tuple[str, str], bytes]) -> dict[tuple[str, str], bytes | None]:
    found = {}
    for tenant, name in keys:
        async with world.database.read(tenant) as session:
            found[tenant, name] = await ring.key_of(session, tenant, name)
    return found


def test_all_keys_are_wrapped_anew_and_none_is_another_one(run):
    async def body(world):
        ring = _ring()
        keys = await _filled(world, ring, 3)
        before = {row.object_key: row.wrapped for row in await world.sql("SELECT object_key, wrapped FROM data_key")}
        done = await rotating.rotate(world.database, ring)
        assert (done.tenant_keys, done.under_master, done.data_keys) == (2, 0, 6)
        after = {row.object_key: row.wrapped for row in await world.sql("SELECT object_key, wrapped FROM data_key")}
        assert set(before.values()).isdisjoint(after.values())
        assert [tuple(row) for row in await world.sql("SELECT tenant_id, version FROM tenant_key ORDER BY 1")] == [
            ("a", 2),
            ("b", 2),
        ]
        assert await _all(world, _ring(), keys) == keys
        status = await rotating.status(world.database, ring)
        assert (status.master, status.masters, status.tenants) == (named(MASTER), {named(MASTER): 2}, 2)
        # The two videos of the world have objects of their own, without keys.
        assert (status.data_keys, status.behind, status.unsealed_videos) == (6, 0, 2)

    run(body)


def test_another_master_key_takes_the_place_of_the_first(run):
    async def body(world):
        keys = await _filled(world, _ring(), 2)
        new = os.urandom(32)
        done = await rotating.rotate(world.database, _ring(new, MASTER))
        assert (done.tenant_keys, done.under_master, done.data_keys) == (2, 2, 4)
        assert await _all(world, _ring(new), keys) == keys
        assert (await rotating.status(world.database, _ring(new))).masters == {named(new): 2}

    run(body)


def test_what_is_damaged_is_told_and_in_nobodys_way(run, url, tmp_path):
    async def damaged(world) -> None:
        keys = await _filled(world, keyring(), 2)
        await world.change(
            "UPDATE data_key SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) WHERE object_key = :name",
            name="videos/a0",
        )
        for version in (2, 3):
            done = await rotating.rotate(world.database, keyring())
            assert (done.tenant_keys, done.data_keys, done.damaged) == (2, 3, ("videos/a0",))
            rows = await world.sql("SELECT tenant_id, version FROM tenant_key ORDER BY 1, 2")
            # What wraps the damaged one is there still: its row may come back from somewhere.
            assert [tuple(row) for row in rows] == [("a", 1), ("a", version), ("b", version)]
        rest = {name: key for name, key in keys.items() if name[1] != "videos/a0"}
        assert await _all(world, keyring(), rest) == rest
        assert (await rotating.status(world.database, keyring())).behind == 1
        # Of one whose tenant's key is damaged, the same: others go on.
        await world.change(
            "UPDATE tenant_key SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) "
            "WHERE tenant_id = 'a' AND version = 3"
        )
        done = await rotating.rotate(world.database, keyring())
        assert (done.data_keys, done.damaged) == (2, ("tenant key a/3", "videos/a0", "videos/a1"))

    run(damaged)
    (tmp_path / "master-key").write_text(MASTER_KEY.hex())
    (tmp_path / "master-key").chmod(0o600)
    settings = {"AUTOMATIONS_SERVER__DATABASE_URL": url, "AUTOMATIONS_SERVER__DATA_DIR": tmp_path}
    said = here("keys", "rotate", **settings)
    assert said.returncode == 1, said.stderr
    assert "videos/a0: its key is not what was written" in said.stderr


@pytest.mark.parametrize("point", ["before:2", "after:2", "before:3", "after:4"])
def test_a_rotation_that_dies_is_gone_on_with(run, url, point):
    async def body(world):
        keys = await _filled(world, _ring(), 2 * AT_ONCE)
        died = await asyncio.to_thread(_turned, url, f"keys.rotate:{point}")
        assert died == failpoints.EXIT
        assert await _all(world, _ring(), keys) == keys
        assert await asyncio.to_thread(_turned, url) == 0
        assert await _all(world, _ring(), keys) == keys
        # Whatever was done before is not done again: the tenants' keys are the second ones.
        assert {row.version for row in await world.sql("SELECT version FROM tenant_key")} == {2}
        assert (await rotating.status(world.database, _ring())).behind == 0

    run(body)


def _turned(url: str, failpoint: str | None = None) -> int:
    environment = os.environ | ({failpoints.VARIABLE: failpoint} if failpoint else {})
    command = (sys.executable, "-m", "tests.serving.storage.turning", url)
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=120).returncode


def test_keys_are_kept_read_and_destroyed_meanwhile(run, monkeypatch):
    monkeypatch.setattr(rotating, "_AT_ONCE", AT_ONCE)

    async def body(world):
        keys = await _filled(world, _ring(), 40)
        turning = True
        turns = 0

        async def turn() -> None:
            nonlocal turning, turns
            for _ in range(3):
                await rotating.rotate(world.database, _ring())
                turns += 1
            turning = False

        async def load(tenant: str, number: int) -> None:
            ring, count = _ring(), 0
            while turning:
                # As an upload that is finished: keys of parts are destroyed, and one is kept, in one transaction.
                name, old = f"videos/{tenant}{number}.{count}", f"videos/{tenant}{number}.{count - 1}"
                key = fresh_key()
                async with world.database.write("video.write", tenant) as session:
                    await forget(session, [old])
                    await ring.keep(session, tenant, name, key, video_id=f"vid_{tenant}")
                keys.pop((tenant, old), None)
                keys[tenant, name] = key
                async with world.database.read(tenant) as session:
                    assert await ring.key_of(session, tenant, name) == key
                count += 1

        loads = [load(tenant, 1000 + number) for tenant in "ab" for number in range(2)]
        await asyncio.wait_for(asyncio.gather(turn(), *loads), 120)
        assert turns == 3
        assert await _all(world, _ring(), keys) == keys
        assert len(await world.sql("SELECT object_key FROM data_key")) == len(keys)
        assert len(await world.sql("SELECT version FROM tenant_key")) == 2

    run(body)
