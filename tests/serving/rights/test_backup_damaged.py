"""Backups over what is damaged, lost, ended in the middle, or sealed with keys that were turned since."""

import asyncio
from pathlib import Path

from sqlalchemy import text

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from tests.serving.commands import here
from tests.serving.rights.attacked import keyed, live, made
from tests.serving.rights.servers import settings_of
from tests.serving.rights.test_backup import empty
from tests.serving.sealing import MASTER_KEY

__all__ = ["empty", "live"]


def test_snapshots_that_cannot_be_read_are_told_and_no_reason_not_to_make_another(server, tmp_path):
    """The master key was turned over as docs/security.md says, or one bit is another."""
    turned = made(server, f"turned_{tmp_path.name}", tmp_path / "data")
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
    assert sorted(keyed(backup)) == [second["name"], third["name"]]
    assert not any(f"videos/{gone}" in keys for keys in keyed(backup).values())


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

    async def lines(url: str, operation: str) -> set[tuple]:
        database = Database(url)
        async with database.read(SYSTEM) as session:
            query = text("SELECT kind, actor, write FROM audit WHERE operation = :op AND :name = ANY(targets)")
            found = {tuple(row) for row in (await execute(session, query, op=operation, name=name)).all()}
        await database.close()
        return found

    assert asyncio.run(lines(live.url, "backup")) == {("write", "command", "backup.made")}
    done = here("restore", backup, "--damaged-too", **empty)
    assert done.returncode == 0, done.stderr
    url = empty["AUTOMATIONS_SERVER__DATABASE_URL"]
    assert asyncio.run(lines(url, "restore")) == {("write", "command", "backup.restored")}
    verified = here("audit", "verify", **empty)
    assert verified.returncode == 0, (verified.stdout, verified.stderr)
