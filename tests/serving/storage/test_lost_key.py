"""A master key that is lost is told before anything else is sealed by another one."""

import json
import os

import msgspec
import pytest

from pipeline.errors import Altered
from serving.errors import MasterKeyMissing
from serving.options import ServerOptions, StorageOptions
from serving.places import MASTER_KEY, places
from serving.settings import DEFAULTS
from serving.storage.keyring import Keyring, fresh_key
from serving.storage.master import LocalMaster, named
from serving.storage.store import Store
from serving.uploads import receive
from serving.uploads.tus import Uploads
from tests.serving.commands import automations, here
from tests.serving.cutting import free_port

MASTER = bytes(range(32))

#: It begins as a video does, which is all that is looked at here.
FILM = b"\0\0\0\x20ftypisom" + bytes(20_000)


async def _kept(world) -> None:
    async with world.database.write("video.write", "a") as session:
        await Keyring(LocalMaster([MASTER])).keep(session, "a", "videos/1", fresh_key(), video_id="vid_a")


def _started(url: str, folder, **storage: str) -> bool:
    """Whether a server's places are come by."""
    options = ServerOptions(data_dir=str(folder), database_url=url)
    settings = msgspec.structs.replace(DEFAULTS, server=options, storage=StorageOptions(**storage))
    with places(settings, migrated=False, keyed=True):
        return True


def test_no_server_starts_without_a_master_key_that_the_database_relies_on(run, url, tmp_path):
    assert _started(url, tmp_path)
    run(_kept)
    # One was made where there was none, which is not the one that is needed; the second time it is there.
    for _ in range(2):
        with pytest.raises(MasterKeyMissing, match=named(MASTER)):
            _started(url, tmp_path)
    assert _started(url, tmp_path, old_master_keys=MASTER.hex())
    (tmp_path / MASTER_KEY).write_text(MASTER.hex())
    assert _started(url, tmp_path)


@pytest.mark.parametrize("command", ["api", "worker"])
def test_neither_an_api_nor_a_worker_starts(run, url, tmp_path, command):
    run(_kept)
    settings = {
        "AUTOMATIONS_SERVER__DATABASE_URL": url,
        "AUTOMATIONS_SERVER__DATA_DIR": tmp_path / "data",
        "AUTOMATIONS_SERVER__PORT": free_port(),
    }
    refused = automations(command, **settings)
    assert refused.returncode != 0
    assert named(MASTER) in refused.stderr


def test_the_status_says_that_it_is_lost(run, url, tmp_path):
    run(_kept)
    settings = {"AUTOMATIONS_SERVER__DATABASE_URL": url, "AUTOMATIONS_SERVER__DATA_DIR": tmp_path / "data"}
    said = here("keys", "status", **settings)
    assert said.returncode == 0
    assert f"by {named(MASTER)}, which is LOST" in said.stdout
    assert json.loads(here("keys", "status", "--json", **settings).stdout)["lost"] == [named(MASTER)]
    settings["AUTOMATIONS_STORAGE__OLD_MASTER_KEYS"] = MASTER.hex()
    assert "LOST" not in here("keys", "status", **settings).stdout


@pytest.mark.parametrize("altered", [False, True])
def test_what_cannot_get_a_key_leaves_no_object(run, tmp_path, altered):
    async def body(world):
        await _kept(world)
        other = LocalMaster([os.urandom(32)])
        if altered:
            await world.change("UPDATE tenant_key SET master = :name", name=other.name)
        store = Store(tmp_path, Keyring(other))
        refused = pytest.raises(Altered if altered else MasterKeyMissing)
        with refused:
            await receive.whole(world.database, store, "a", _once(FILM))
        uploads = Uploads(world.database, store, DEFAULTS.upload)
        upload = await uploads.create("a", size_bytes=len(FILM), filename=None, title=None, metadata=None)
        with refused:
            await uploads.append(upload, 0, _once(FILM))
        assert [file for file in tmp_path.rglob("*") if file.is_file()] == []

    run(body)


async def _once(content: bytes):
    yield content
