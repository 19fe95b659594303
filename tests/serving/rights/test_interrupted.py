"""Backups and restores of what is not finished, and those that are not finished themselves."""

import asyncio
import json
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from serving.audit.signing import AuditSigner
from serving.backup import form, restoring, saving
from serving.db import embedded
from serving.db.accounts import Tenant
from serving.db.audit import AuditEntry
from serving.db.database import SYSTEM, Database
from tests.serving.api.conftest import SECRET, made_key
from tests.serving.commands import here
from tests.serving.rights.conftest import HEAD, uploaded
from tests.serving.rights.servers import running, settings_of, with_secret
from tests.serving.rights.test_backup import _done, empty
from tests.serving.rights.test_erasing import _holding
from tests.serving.sealing import keyring

__all__ = ["empty"]

TUS = {"Tus-Resumable": "1.0.0"}


@dataclass
class Small:
    """A server that was saved once; then a video was erased."""

    settings: dict[str, str]
    backup: Path
    key: str
    """Of tenant `a`."""
    name: str
    """Of the snapshot."""
    kept: str
    """A video, and"""
    erased: str
    """another one."""
    upload: str
    """Which waited for more, with a part."""
    journal: Path


@pytest.fixture(scope="module")
def small(server, tmp_path_factory) -> Small:
    """See there."""
    folder, backup = with_secret(tmp_path_factory.mktemp("data")), tmp_path_factory.mktemp("backup") / "to"
    embedded.copied(server, "small")
    url = embedded.named(server, "small")

    async def live() -> Small:
        database = Database(url)
        async with database.write("tenant.create", SYSTEM) as session:
            session.add(Tenant(id="a", name="a"))
        key = await made_key(database, "a")
        await database.close()
        async with running(url, folder, key) as api:
            kept, erased = [(await uploaded(api.a, content))["id"] for content in (b"kept", b"erased")]
            upload = await _begun(api)
            await _learnt(api, kept, erased)
            name = (await _done(api, "backup", backup))["name"]
            assert (await api.a.delete(f"/v1/videos/{erased}")).status_code == 204
            journal = folder / "erasures.jsonl"
            journal.write_text((await api.automations("erasures")).stdout)
        return Small(settings_of(url, folder), backup, key, name, kept, erased, upload, journal)

    return asyncio.run(live())


async def _learnt(api, kept: str, erased: str) -> None:
    """What was said of both videos was learnt."""
    labels = [{"name": name} for name in ("a dog", "a cat", "a \\ sign")] + [{"name": "a fox", "aliases": ["reynard"]}]
    made = await api.a.post("/v1/vocabularies", json={"name": "held", "labels": labels})
    assert made.status_code == 201, made.text
    for video, label in ((erased, "a dog"), (erased, "a \\ sign"), (erased, "a fox"), (kept, "a cat")):
        said = {"video_id": video, "label": label, "verdict": "accepted", "vocabulary": "held"}
        answer = await api.a.post("/v1/corrections", json=said)
        assert answer.status_code == 200, answer.text
    # It was said by the name that the label had then.
    await api.world.change("UPDATE correction SET label = 'reynard' WHERE label = 'a fox'")
    await api.world.change("UPDATE learning SET state = 'done'")


async def _begun(api) -> str:
    made = await api.a.post("/v1/uploads", headers=TUS | {"Upload-Length": "100"})
    assert made.status_code == 201, made.text
    headers = TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    sent = await api.a.patch(made.headers["location"], headers=headers, content=HEAD + b"CANARY")
    assert sent.status_code == 204, sent.text
    upload = made.headers["location"].rsplit("/", 1)[-1]
    known = "INSERT INTO idempotency_key (tenant_id, operation, key, digest, target) VALUES ('a', 'x', 'key', '', :id)"
    await api.world.change(known, id=upload)
    assert set(await _holding(api.world, upload)) >= {"upload", "upload_part", "data_key", "idempotency_key"}
    return upload


def _restored(small: Small, empty: dict[str, str]):
    return here("restore", small.backup, "--snapshot", small.name, "--erasures", small.journal, **empty)


def test_the_journal_of_the_store_is_enough(small, empty):
    """Where the database was lost alone: nobody has to name a journal. And the new one is as any other is."""
    folder = Path(empty["AUTOMATIONS_SERVER__DATA_DIR"])
    shutil.copytree(small.journal.parent / "objects" / "erasures", folder / "objects" / "erasures")
    done = here("restore", small.backup, "--snapshot", small.name, "--json", **empty)
    assert done.returncode == 0, done.stderr
    assert [json.loads(done.stdout)[name] for name in ("erasures", "left_out")] == [1, 1]
    urls = [settings["AUTOMATIONS_SERVER__DATABASE_URL"] for settings in (small.settings, empty)]
    # Tenants are kept apart by it, and what is written makes what it made: COPY is loaded without either.
    assert asyncio.run(_policed(urls[1])) == asyncio.run(_policed(urls[0])) != []


async def _policed(url: str) -> list[tuple]:
    """Whether row-level security binds each table's owner, and which of its triggers are on."""
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetch(
            "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, array(SELECT t.tgname || t.tgenabled::text "
            "FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal ORDER BY 1) FROM pg_class c "
            "WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY 1"
        )
    finally:
        await connection.close()
    return [tuple(row) for row in found]


def test_what_a_backup_or_restore_has_told_outlasts_a_loss_of_power(small, empty, tmp_path, monkeypatch):
    """Keys that were not, beside a snapshot that is whole, would make that unreadable."""
    copy, keys = Path(shutil.copytree(small.backup, tmp_path / "copy")), tmp_path / "keys"
    flushed, real = [], os.fsync

    def seen(descriptor: int) -> None:
        real(descriptor)
        flushed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr(os, "fsync", seen)
    done = here("backup", copy, "--keys", keys, "--json", **small.settings)
    assert done.returncode == 0, done.stderr
    name = json.loads(done.stdout)["name"]
    whole = flushed.index(copy / "snapshots" / name / "whole")
    assert flushed[:whole][-2:] == [keys / f"{name}.new", keys]
    assert tmp_path in flushed[:whole], "the folder of keys is new, and so is its name"
    assert all(file.stat().st_mode & 0o077 == 0 for file in keys.iterdir())
    flushed.clear()
    assert _restored(small, empty).returncode == 0
    # The secret, last of all before the rows are there, and its name; whose the store is follows those.
    assert [place for place in flushed if "owner" not in str(place)][-2] == Path(empty["AUTOMATIONS_SERVER__DATA_DIR"])


def test_rows_are_of_one_moment_and_nobody_takes_part_in_a_session(small, tmp_path, monkeypatch):
    """Else there were rows that refer to what is not there; and who was signed out would be signed in again."""
    copy, began = Path(shutil.copytree(small.backup, tmp_path / "copy")), []

    def saved() -> dict:
        done = here("backup", copy, "--json", **small.settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    async def change(statement: str) -> None:
        connection = await asyncpg.connect(small.settings["AUTOMATIONS_SERVER__DATABASE_URL"])
        await connection.execute("SELECT set_config('app.tenant', '*', false)")
        await connection.execute(statement)
        await connection.close()

    def columns_of(table: str) -> tuple[str, ...]:
        if not began:
            began.append(table)
            writer = threading.Thread(
                target=lambda: asyncio.run(change("INSERT INTO tenant (id, name) VALUES ('late', 'late')"))
            )
            writer.start()
            writer.join()
        return columns(table)

    columns = saving.columns_of
    before = saved()
    monkeypatch.setattr(saving, "columns_of", columns_of)
    while_written = saved()
    monkeypatch.undo()
    after = saved()
    asyncio.run(change("DELETE FROM tenant WHERE id = 'late'"))
    # Each backup is a line of the audit log, and a link of that.
    assert (while_written["rows"] - before["rows"], after["rows"] - before["rows"]) == (2, 2 + 2 + 1)
    tables = {file.name for file in (copy / "snapshots" / after["name"]).iterdir()}
    assert tables.isdisjoint({"session", "refresh_token", "tenant_key", "data_key", "question"})


def test_one_backup_at_a_time_and_what_is_damaged_there_is_copied_again(small, tmp_path):
    copy = Path(shutil.copytree(small.backup, tmp_path / "copy"))
    file = next(file for file in (copy / "objects" / "videos").iterdir() if small.kept in file.name)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with form.alone(copy):
        done = here("backup", copy, **small.settings)
    assert (done.returncode, "another backup" in done.stderr) == (2, True), done.stderr
    done = here("backup", copy, "--json", **small.settings)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["copied"], file.read_bytes()) == (1, whole)


@pytest.mark.parametrize("committed", [False, True])
def test_an_interrupted_restore_locks_nobody_out(small, empty, monkeypatch, committed):
    load = restoring._load

    async def dies(place, opened, keyless_too):
        if committed:
            await load(place, opened, keyless_too)
        raise OSError("the power went")

    monkeypatch.setattr(restoring, "_load", dies)
    with pytest.raises(OSError, match="power"):
        _restored(small, empty)
    monkeypatch.undo()
    again = _restored(small, empty)
    assert (again.returncode, "db upgrade" in again.stderr) == ((2, True) if committed else (0, False)), again.stderr
    url, folder = empty["AUTOMATIONS_SERVER__DATABASE_URL"], Path(empty["AUTOMATIONS_SERVER__DATA_DIR"])
    assert (folder / "secret").read_bytes() == SECRET

    async def look() -> None:
        async with running(url, folder, small.key) as api:
            assert (await api.a.get(f"/v1/videos/{small.kept}")).status_code == 200
            # The journal is there, for the next backup and the next restore.
            assert json.loads((await api.automations("erasures")).stdout)["video_id"] == small.erased

    asyncio.run(look())


def test_a_database_that_a_server_was_started_on_is_empty(small, empty):
    """It has a key of its own for its audit log, and lines in that."""
    url = empty["AUTOMATIONS_SERVER__DATABASE_URL"]

    async def started() -> None:
        database = Database(url)
        await AuditSigner(database, keyring().master).key()
        async with database.write("tenant.create", SYSTEM) as session:
            session.add(AuditEntry(id="aud_first", kind="write", operation="started"))
        await database.close()

    asyncio.run(started())
    done = _restored(small, empty)
    assert done.returncode == 0, done.stderr

    async def look() -> None:
        async with running(url, Path(empty["AUTOMATIONS_SERVER__DATA_DIR"]), small.key) as api:
            assert await api.world.sql("SELECT id FROM audit WHERE id = 'aud_first'") == []
            # It goes on with the key that came back, which is the only one.
            assert [tuple(row) for row in await api.world.sql("SELECT count(*) FROM audit_key")] == [(1,)]
            assert (await api.a.delete(f"/v1/videos/{small.kept}")).status_code == 204

    asyncio.run(look())


def test_neither_unfinished_uploads_nor_what_was_learnt_come_back(small, empty):
    """Else the video that an upload becomes came back after it was erased: no erasure names an upload."""
    assert list((small.backup / "objects").glob("uploads/*")) == []
    assert small.upload not in (small.backup / "keys" / f"{small.name}.json").read_text()
    done = _restored(small, empty)
    assert done.returncode == 0, done.stderr
    url, folder = empty["AUTOMATIONS_SERVER__DATABASE_URL"], Path(empty["AUTOMATIONS_SERVER__DATA_DIR"])

    async def look() -> None:
        async with running(url, folder, small.key) as api:
            assert [video["id"] for video in (await api.a.get("/v1/videos")).json()["data"]] == [small.kept]
            assert set(await _holding(api.world, small.upload)) <= {"audit"}
            # What was learnt of the erased one is to be learnt without it.
            learning = {row.label: row.state for row in await api.world.sql("SELECT label, state FROM learning")}
            assert learning == {"a dog": "due", "a \\ sign": "due", "a fox": "due", "a cat": "done"}

    asyncio.run(look())


@pytest.mark.parametrize("how", ["never whole", "half dropped", "of no snapshot here"])
def test_keys_of_what_is_no_snapshot_tell_nothing_of_what_was_erased(small, tmp_path, how):
    """Whatever was left when a backup died; but keys whose snapshot is elsewhere are kept, for all else."""
    copy = Path(shutil.copytree(small.backup, tmp_path / "copy"))
    keys, place = copy / "keys" / f"{small.name}.json", copy / "snapshots" / small.name
    assert small.erased in keys.read_text()
    if how == "never whole":
        shutil.copy(keys, keys.with_suffix(".new"))
        (place / "whole").unlink()
    elif how == "half dropped":
        for file in place.iterdir():
            file.unlink()
    else:
        shutil.rmtree(place)
        (copy / "keys" / "notes.json").write_text("{}")
    done = here("backup", copy, **small.settings)
    assert done.returncode == 0, done.stderr
    assert not any(small.erased in file.read_text() for file in (copy / "keys").iterdir())
    assert keys.exists() == (how == "of no snapshot here")
    assert not keys.with_suffix(".new").exists()
    assert len(list((copy / "snapshots").iterdir())) == 1
