"""Backups over a store that somebody else may write to, over what is damaged, and over keys that were turned."""

import asyncio
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from serving.backup import form, saving
from serving.db import embedded
from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.rights import journal
from tests.serving.api.conftest import made_key
from tests.serving.commands import here
from tests.serving.rights.conftest import uploaded
from tests.serving.rights.servers import running, settings_of, with_secret
from tests.serving.rights.test_backup import _done, empty
from tests.serving.sealing import MASTER_KEY

__all__ = ["empty"]


@dataclass
class Live:
    """A server that lives through all of these."""

    url: str
    folder: Path
    key: str
    """Of tenant `a`."""

    def backup(self, folder: Path, *args: object, code: int = 0, settings: Mapping[str, str] = {}) -> dict:
        """What a backup did."""
        done = here("backup", folder, *args, "--json", **settings_of(self.url, self.folder) | dict(settings))
        assert done.returncode == code, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    def during(self, what) -> Any:
        """What comes of something that is done while it runs."""

        async def run():
            async with running(self.url, self.folder, self.key) as api:
                return await what(api)

        return asyncio.run(run())

    def uploaded(self, content: bytes) -> str:
        """A video; its id."""
        return self.during(lambda api: _uploaded(api, content))

    def deleted(self, video: str) -> None:
        """It goes."""

        async def delete(api) -> None:
            assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204

        self.during(delete)


async def _uploaded(api, content: bytes) -> str:
    return (await uploaded(api.a, content))["id"]


def _made(server: str, name: str, folder: Path) -> Live:
    embedded.copied(server, name)
    url = embedded.named(server, name)

    async def tenant() -> str:
        database = Database(url)
        async with database.write("tenant.create", SYSTEM) as session:
            session.add(Tenant(id="a", name="a"))
        key = await made_key(database, "a")
        await database.close()
        return key

    return Live(url, with_secret(folder), asyncio.run(tenant()))


@pytest.fixture(scope="module")
def live(server, tmp_path_factory) -> Live:
    """See there."""
    return _made(server, "attacked", tmp_path_factory.mktemp("data") / "data")


def _keyed(backup: Path, keys: Path | None = None) -> dict[str, set[str]]:
    """Snapshot -> objects that it has keys of."""
    return {
        file.stem: {row["object_key"] for row in json.loads(file.read_bytes())["data_keys"]}
        for file in sorted((keys or backup / "keys").glob("*.json"))
    }


def _entry(video: str, **changes: object) -> dict:
    at = "2026-01-01T00:00:00Z"
    bare = {"version": 1, "id": "era_made_up", "tenant_id": "a", "video_id": video, "reason": "request"}
    return bare | {"rule_id": None, "counts": {}, "at": at} | changes


def _put(folder: Path, entry: dict) -> Path:
    file = folder / "erasures" / entry["id"]
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(entry))
    return file


def test_what_is_erased_while_a_backup_is_made_is_struck_out_by_the_next(live, tmp_path, empty, monkeypatch):
    """One that is struck out, and in no journal of the backup, would come back without its bytes."""
    video, backup, finish = live.uploaded(b"meanwhile"), tmp_path / "backup", saving._finish

    async def erased_first(*args: Any) -> None:
        answer = await asyncio.to_thread(lambda: httpx.delete(address[0], headers=headers, timeout=60))
        assert answer.status_code == 204
        await finish(*args)

    address: list[str] = []
    headers = {"Authorization": f"Bearer {live.key}"}

    async def both(api) -> dict:
        address.append(f"{api.a.base_url}/v1/videos/{video}".replace("//v1", "/v1"))
        monkeypatch.setattr(saving, "_finish", erased_first)
        done = await _done(api, "backup", backup)
        monkeypatch.undo()
        return done

    name = live.during(both)["name"]
    assert f"videos/{video}" in _keyed(backup)[name]
    assert (backup / "objects" / "videos" / video).exists()
    live.backup(backup)
    assert not any(f"videos/{video}" in keys for keys in _keyed(backup).values())
    assert not (backup / "objects" / "videos" / video).exists()
    # Of the older snapshot it does not come back: the journal of the backup knows.
    done = here("restore", backup, "--snapshot", name, "--json", **empty)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["left_out"], json.loads(done.stdout)["keyless"]) == (1, [])


def test_a_video_without_a_key_does_not_come_back_as_one_from_before_objects_were_sealed(live, tmp_path, empty):
    video, backup = live.uploaded(b"keyless"), tmp_path / "backup"
    name = live.backup(backup)["name"]
    file = backup / "keys" / f"{name}.json"
    keys = json.loads(file.read_bytes())
    keys["data_keys"] = [row for row in keys["data_keys"] if row["video_id"] != video]
    file.write_text(json.dumps(keys))
    done = here("restore", backup, **empty)
    assert (done.returncode, video in done.stderr) == (2, True), done.stderr
    done = here("restore", backup, "--damaged-too", "--json", **empty)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["keyless"] == [video]

    async def look() -> list[str]:
        url, folder = empty["AUTOMATIONS_SERVER__DATABASE_URL"], Path(empty["AUTOMATIONS_SERVER__DATA_DIR"])
        async with running(url, folder, live.key) as api:
            return [one["id"] for one in (await api.a.get("/v1/videos")).json()["data"]]

    assert video not in asyncio.run(look())


@pytest.mark.parametrize("mac", [None, "0" * 64])
def test_an_erasure_that_nobody_signed_takes_no_video_out(live, tmp_path, empty, mac):
    """Who may write to the store, and has no key, would else empty the backup."""
    video, backup = live.uploaded(b"forged %s" % str(mac).encode()), tmp_path / "backup"
    live.backup(backup)
    forged = _put(live.folder / "objects", _entry(video) | ({"mac": mac} if mac else {}))
    told = live.backup(backup, code=1)
    assert told["disputed"] == ["era_made_up"]
    assert all(f"videos/{video}" in keys for keys in _keyed(backup).values())
    assert (backup / "objects" / "videos" / video).exists()
    assert not (backup / "erasures" / "era_made_up").exists()
    forged.unlink()
    # Nor where it is in the backup itself.
    _put(backup, _entry(video) | ({"mac": mac} if mac else {}))
    done = here("restore", backup, "--json", **empty)
    assert (done.returncode, "era_made_up" in done.stderr) == (2, True), done.stderr
    (backup / "erasures" / "era_made_up").unlink()
    given = tmp_path / "erasures.jsonl"
    given.write_text(json.dumps(_entry(video) | ({"mac": mac} if mac else {})))
    done = here("restore", backup, "--erasures", given, "--json", **empty)
    # One without a signature may be from before there were any: whoever names it vouches for it.
    assert done.returncode == (2 if mac else 0), done.stderr
    assert mac or json.loads(done.stdout)["left_out"] == 1


def test_erasures_that_are_in_no_journal_yet_or_not_signed_there_are_struck_out(live, tmp_path, monkeypatch):
    """The store was away, or the process died; or it is from before entries were signed."""
    first, second, backup = live.uploaded(b"not yet"), live.uploaded(b"unsigned"), tmp_path / "backup"
    live.backup(backup)

    async def away(*_: object) -> None:
        raise OSError("the store is away")

    monkeypatch.setattr(journal, "write", away)
    live.deleted(first)
    monkeypatch.undo()
    live.deleted(second)
    entries = {json.loads(file.read_bytes())["video_id"]: file for file in (live.folder / "objects/erasures").iterdir()}
    assert first not in entries
    bare = json.loads(entries[second].read_bytes())
    assert bare.pop("mac")
    entries[second].write_text(json.dumps(bare))
    live.backup(backup)
    for video in (first, second):
        assert not any(f"videos/{video}" in keys for keys in _keyed(backup).values())
    known = {one["video_id"]: one["mac"] for one in _journal(backup)}
    assert known[first]
    assert known[second]
    assert live.backup(backup)["disputed"] == []


def _journal(backup: Path) -> list[dict]:
    return [json.loads(file.read_bytes()) for file in (backup / "erasures").iterdir()]


def test_snapshots_that_cannot_be_read_are_told_and_no_reason_not_to_make_another(server, tmp_path):
    """The master key was turned over as docs/security.md says, or one bit is another."""
    turned = _made(server, f"turned_{tmp_path.name}", tmp_path / "data")
    gone, backup = turned.uploaded(b"gone"), tmp_path / "backup"
    turned.uploaded(b"kept")
    first = turned.backup(backup)["name"]
    manifest = backup / "snapshots" / first / "manifest"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    second = turned.backup(backup)
    assert (second["unreadable"], second["copied"]) == ([first], 2)
    manifest.write_bytes(whole)
    turned.deleted(gone)
    new = {"AUTOMATIONS_STORAGE__MASTER_KEY": "07" * 32}
    old = {"AUTOMATIONS_STORAGE__OLD_MASTER_KEYS": MASTER_KEY.hex()}
    done = here("keys", "rotate", **settings_of(turned.url, turned.folder) | new | old)
    assert done.returncode == 0, done.stderr
    third = turned.backup(backup, "--keep", "2", settings=new)
    assert third["unreadable"] == [second["name"]]
    # What was erased goes from those, too: that needs no key.
    assert (third["objects"], third["removed_objects"], third["removed_snapshots"]) == (1, 1, 1)
    assert sorted(_keyed(backup)) == [second["name"], third["name"]]
    assert not any(f"videos/{gone}" in keys for keys in _keyed(backup).values())


def test_objects_of_what_was_erased_go_however_often_a_backup_dies(live, tmp_path, monkeypatch):
    video, backup, unlink = live.uploaded(b"dying"), tmp_path / "backup", Path.unlink
    live.backup(backup)
    live.deleted(video)

    def dying(self: Path, missing_ok: bool = False) -> None:
        if self.name == video:
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", dying)
    assert here("backup", backup, **settings_of(live.url, live.folder)).returncode != 0
    monkeypatch.undo()
    assert live.backup(backup)["removed_objects"] == 1
    assert not (backup / "objects" / "videos" / video).exists()


def test_half_an_object_of_a_backup_that_was_killed_goes_with_the_next(live, tmp_path):
    backup = tmp_path / "backup"
    live.uploaded(b"half")
    live.backup(backup)
    left = backup / "objects" / "videos" / "vid_big#1"
    left.write_bytes(b"half of it")
    live.backup(backup)
    assert not left.exists()


def test_no_file_but_the_backups_own_is_deleted(live, tmp_path):
    """Whatever those say who may write to the folder of keys."""
    victim, backup = tmp_path / "victim", tmp_path / "backup"
    victim.write_text("x")
    live.uploaded(b"path")
    name = live.backup(backup)["name"]
    gone = live.uploaded(b"gone")
    live.deleted(gone)
    file = backup / "keys" / f"{name}.json"
    keys = json.loads(file.read_bytes())
    row = keys["data_keys"][0] | {"video_id": gone}
    keys["data_keys"] += [
        row | {"object_key": name} for name in ("../../victim", str(victim), "videos/../../../victim")
    ]
    file.write_text(json.dumps(keys))
    live.backup(backup)
    assert victim.exists()
    assert str(victim) not in file.read_text()


@pytest.mark.parametrize("id", ["era_../x", "../era_x", "era_a/b", "era_x\n", "vid_x"])
def test_an_entry_whose_id_is_no_name_is_none(live, tmp_path, empty, id):
    backup, given = tmp_path / "backup", tmp_path / "erasures.jsonl"
    shutil.copytree(_one_backup(live, tmp_path), backup, dirs_exist_ok=True)
    given.write_text(json.dumps(_entry("vid_x", id=id)))
    done = here("restore", backup, "--erasures", given, **empty)
    assert (done.returncode, "not a journal" in done.stderr) == (2, True), done.stderr


def _one_backup(live: Live, tmp_path: Path) -> Path:
    """The same for all who only read it."""
    folder = live.folder.parent / "one"
    if not folder.exists():
        live.backup(folder)
    return folder


def test_what_is_lost_or_damaged_is_told_by_the_exit_code(live, tmp_path):
    lost, damaged, backup = live.uploaded(b"lost"), live.uploaded(b"damaged"), tmp_path / "backup"
    live.backup(backup)
    file = backup / "objects" / "videos" / damaged
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert live.backup(backup)["copied"] == 0
    told = live.backup(backup, "--verify")
    assert (told["copied"], told["damaged"], file.read_bytes()) == (1, [], whole)
    # What only older snapshots have cannot be copied again.
    first = told["name"]
    table = backup / "snapshots" / first / "video"
    content = bytearray(table.read_bytes())
    content[-1] ^= 1
    table.write_bytes(content)
    (live.folder / "objects" / "videos" / lost).unlink()
    (backup / "objects" / "videos" / lost).unlink()
    told = live.backup(backup, "--verify", code=1)
    assert set(told["damaged"]) == {f"snapshots/{first}/video"}
    assert (told["lost"], told["missing"]) == ([f"videos/{lost}"], [f"videos/{lost}"])
    live.deleted(lost)
    assert live.backup(backup)["lost"] == []


def test_who_backs_up_and_who_restores_is_in_the_audit_log(live, tmp_path, empty):
    backup = tmp_path / "backup"
    name = live.backup(backup)["name"]

    async def lines(url: str, operation: str) -> list[tuple]:
        database = Database(url)
        async with database.read(SYSTEM) as session:
            query = text("SELECT kind, actor, write FROM audit WHERE operation = :op AND :name = ANY(targets)")
            found = [tuple(row) for row in (await execute(session, query, op=operation, name=name)).all()]
        await database.close()
        return found

    assert asyncio.run(lines(live.url, "backup")) == [("write", "command", "backup.made")]
    done = here("restore", backup, "--damaged-too", **empty)
    assert done.returncode == 0, done.stderr
    url = empty["AUTOMATIONS_SERVER__DATABASE_URL"]
    assert asyncio.run(lines(url, "restore")) == [("write", "command", "backup.restored")]
    verified = here("audit", "verify", **empty)
    assert verified.returncode == 0, (verified.stdout, verified.stderr)


def test_two_servers_whose_keys_are_in_one_folder_may_begin_in_the_same_second(live, tmp_path, monkeypatch):
    class At(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 11, 27, 3, tzinfo=UTC)

    monkeypatch.setattr(saving, "datetime", At)
    keys = tmp_path / "keys"
    first = live.backup(tmp_path / "first", "--keys", keys)["name"]
    before = (keys / f"{first}.json").read_bytes()
    second = live.backup(tmp_path / "second", "--keys", keys)["name"]
    assert (keys / f"{first}.json").read_bytes() == before
    assert sorted(file.name for file in keys.glob("*.json")) == [f"{first}.json", f"{second}.json"]
    # One of the two is not written yet: its name is taken all the same.
    taken = form.reserved(tmp_path / "third", keys, At.now())
    assert form.reserved(tmp_path / "fourth", keys, At.now()) > taken > datetime(2026, 11, 27, 3, 0, 1, tzinfo=UTC)


def test_a_store_of_another_library_is_not_restored_into(live, server, tmp_path, empty):
    """The restored server would sweep what that one has there."""
    backup, other = tmp_path / "backup", _made(server, f"other_{tmp_path.name}", tmp_path / "other")
    live.backup(backup)
    other.uploaded(b"of the other")
    assert here("store", "claim", **settings_of(other.url, other.folder)).returncode == 0
    into = empty | {"AUTOMATIONS_SERVER__DATA_DIR": str(other.folder)}
    done = here("restore", backup, "--damaged-too", **into)
    assert (done.returncode, "--take-over" in done.stderr) == (2, True), done.stderr
    assert here("restore", backup, "--damaged-too", "--take-over", **into).returncode == 0
    assert os.listdir(other.folder / "objects" / "owner") == ["database"]
