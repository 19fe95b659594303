"""Backups over a store, and folders, that somebody else may write to."""

import asyncio
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.backup import form, saving
from serving.rights import journal
from tests.serving.commands import here
from tests.serving.rights.attacked import Live, entry, keyed, live, made, printed, put
from tests.serving.rights.servers import running, settings_of
from tests.serving.rights.test_backup import _done, empty

__all__ = ["empty", "live"]


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
    assert f"videos/{video}" in keyed(backup)[name]
    assert (backup / "objects" / "videos" / video).exists()
    live.backup(backup)
    assert not any(f"videos/{video}" in keys for keys in keyed(backup).values())
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
    forged = put(live.folder / "objects", entry(video) | ({"mac": mac} if mac else {}))
    told = live.backup(backup, code=1)
    assert told["disputed"] == ["era_made_up"]
    assert all(f"videos/{video}" in keys for keys in keyed(backup).values())
    assert (backup / "objects" / "videos" / video).exists()
    assert not (backup / "erasures" / "era_made_up").exists()
    forged.unlink()
    # Nor where it is in the backup itself.
    put(backup, entry(video) | ({"mac": mac} if mac else {}))
    done = here("restore", backup, "--json", **empty)
    assert (done.returncode, "era_made_up" in done.stderr) == (2, True), done.stderr
    (backup / "erasures" / "era_made_up").unlink()
    given = tmp_path / "erasures.jsonl"
    given.write_text(json.dumps(entry(video) | ({"mac": mac} if mac else {})))
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
        assert not any(f"videos/{video}" in keys for keys in keyed(backup).values())
    known = {one["video_id"]: one["mac"] for one in _journal(backup)}
    assert known[first]
    assert known[second]
    assert live.backup(backup)["disputed"] == []


def test_the_stores_journal_is_signed_once_there_is_a_row(live):
    """Entries from before they were signed would else be disputed where the database is lost alone."""
    video = live.uploaded(b"from before")
    live.deleted(video)
    journal_ = live.folder / "objects/erasures"
    (file,) = (file for file in journal_.iterdir() if json.loads(file.read_bytes())["video_id"] == video)
    whole = json.loads(file.read_bytes())
    file.write_text(json.dumps(whole | {"mac": None}))
    printed_, _ = printed(live)
    assert printed_[video]["mac"] == whole["mac"]
    assert json.loads(file.read_bytes())["mac"] == whole["mac"]


def test_what_nobody_signed_is_not_printed_for_restore_would_believe_it(live):
    video = live.uploaded(b"printed")
    forged = put(live.folder / "objects", entry(video))
    known, said = printed(live, code=1)
    assert (video in known, "era_made_up" in said) == (False, True)
    forged.unlink()
    assert video not in printed(live)[0]


def test_an_entry_that_nobody_signed_takes_nothing_from_another_server(live, server, tmp_path):
    """Whose keys are in the same folder: its video is not in this database, but is not gone for that."""
    keys, other = tmp_path / "keys", made(server, f"beside_{tmp_path.name}", tmp_path / "beside")
    video = other.uploaded(b"of the other")
    name = other.backup(tmp_path / "its", "--keys", keys)["name"]
    forged = put(live.folder / "objects", entry(video))
    live.backup(tmp_path / "mine", "--keys", keys)
    forged.unlink()
    kept = json.loads((keys / f"{name}.json").read_bytes())["data_keys"]
    assert video in {row["video_id"] for row in kept}


def test_nor_from_newer_snapshots_once_an_older_one_is_restored(live, tmp_path, empty):
    backup = tmp_path / "backup"
    older = live.backup(backup)["name"]
    video = live.uploaded(b"newer")
    newer = live.backup(backup)["name"]
    folder = Path(empty["AUTOMATIONS_SERVER__DATA_DIR"])
    (folder / "objects").mkdir(parents=True)
    put(folder / "objects", entry(video))
    done = here("restore", backup, "--snapshot", older, **empty)
    assert done.returncode == 0, done.stderr
    live.backup(backup, settings=empty)
    assert f"videos/{video}" in keyed(backup)[newer]
    assert (backup / "objects" / "videos" / video).exists()


def _journal(backup: Path) -> list[dict]:
    return [json.loads(file.read_bytes()) for file in (backup / "erasures").iterdir()]


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
    shutil.copytree(_one_backup(live), backup, dirs_exist_ok=True)
    given.write_text(json.dumps(entry("vid_x", id=id)))
    done = here("restore", backup, "--erasures", given, **empty)
    assert (done.returncode, "not a journal" in done.stderr) == (2, True), done.stderr


def _one_backup(live: Live) -> Path:
    """The same for all who only read it."""
    folder = live.folder.parent / "one"
    if not folder.exists():
        live.backup(folder)
    return folder


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
    """The restored server would sweep what that one has there. Nor into that of the one saved, which may still run."""
    backup, other = tmp_path / "backup", made(server, f"other_{tmp_path.name}", tmp_path / "other")
    live.backup(backup)
    other.uploaded(b"of the other")
    assert here("store", "claim", **settings_of(other.url, other.folder)).returncode == 0
    into = empty | {"AUTOMATIONS_SERVER__DATA_DIR": str(other.folder)}
    done = here("restore", backup, "--damaged-too", **into)
    assert (done.returncode, "--take-over" in done.stderr) == (2, True), done.stderr
    assert here("restore", backup, "--damaged-too", "--take-over", **into).returncode == 0
    assert os.listdir(other.folder / "objects" / "owner") == ["database"]


def test_a_trial_takes_no_store_from_the_server_that_was_saved(live, tmp_path, empty):
    backup, owner = tmp_path / "backup", live.folder / "objects" / "owner" / "database"
    assert here("store", "claim", **settings_of(live.url, live.folder)).returncode == 0
    before = owner.read_bytes()
    live.backup(backup)
    trial = empty | {"AUTOMATIONS_STORAGE__URL": f"file://{live.folder / 'objects'}"}
    done = here("restore", backup, **trial)
    assert (done.returncode, "--take-over" in done.stderr) == (2, True), done.stderr
    assert owner.read_bytes() == before
