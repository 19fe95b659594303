"""A backup brings all back but what was erased, and tells nothing to who lacks the master key."""

import asyncio
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from serving.db import embedded
from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from tests.serving.api.conftest import SECRET, made_key
from tests.serving.commands import here
from tests.serving.rights.conftest import HEAD, lived_in, uploaded
from tests.serving.rights.servers import running, settings_of, with_secret
from tests.serving.rights.test_erasing import _asked, _holding
from tests.serving.sealing import kept


@dataclass
class Lost:
    """A server that was saved, lived on, and is gone."""

    backup: Path
    key: str
    """Of tenant `a`."""
    first: str
    """Name of the first snapshot."""
    other: str
    video: str
    """Saved in both, and erased since."""
    later: str
    """Saved in the second one only."""
    said: dict
    """What was said of the other one."""
    erasures: str
    """What `automations erasures` printed in the end."""
    saved: list[dict]
    """What the backups did."""


@pytest.fixture(scope="module")
def lost(server, tmp_path_factory, sample_report) -> Lost:
    """See there."""
    folder = with_secret(tmp_path_factory.mktemp("data"))
    backup = tmp_path_factory.mktemp("backup") / "to"
    embedded.copied(server, "saved")
    url = embedded.named(server, "saved")

    async def live() -> Lost:
        database = Database(url)
        async with database.write("tenant.create", SYSTEM) as session:
            session.add(Tenant(id="a", name="a"))
        key = await made_key(database, "a")
        await database.close()
        async with running(url, folder, key) as api:
            other = await lived_in(api, "OTHERS", sample_report)
            video = await lived_in(api, "CANARY", sample_report, other)
            saved = [await _done(api, "backup", backup)]
            later = (await uploaded(api.a, b"later", title="later"))["id"]
            saved.append(await _done(api, "backup", backup))
            assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
            erasures = (await api.automations("erasures")).stdout
            said = await _said(api, other)
        return Lost(backup, key, saved[0]["name"], other, video, later, said, erasures, saved)

    return asyncio.run(live())


async def _done(api, *args: object) -> dict:
    done = await api.automations(*args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def _said(api, video: str) -> dict:
    """All that callers are told of a video, and its bytes."""
    found = {}
    for part in ("", "/report", "/segments", "/shots", "/tags", "/signals"):
        answer = await api.a.get(f"/v1/videos/{video}{part}")
        assert answer.status_code == 200, (part, answer.text)
        found[part] = answer.json()
    for path in ("/v1/corrections", "/v1/jobs"):
        found[path] = (await api.a.get(path, params={"video_id": video})).json()["data"]
    ((object_key,),) = await api.world.sql("SELECT object_key FROM video WHERE id = :id", id=video)
    found["bytes"] = await kept(api.world.database, api.store, object_key)
    return found


@pytest.fixture
def empty(server, tmp_path) -> dict[str, str]:
    """Settings of a server that has nothing yet."""
    name = f"empty_{tmp_path.name}"
    embedded.copied(server, name)
    return settings_of(embedded.named(server, name), tmp_path / "data")


def _copy(lost: Lost, tmp_path: Path) -> Path:
    """The backup, to be damaged."""
    return Path(shutil.copytree(lost.backup, tmp_path / "copy"))


async def _files_with(url: str, word: bytes) -> list[str]:
    """Files of a database that hold a word, once all is written to them."""
    connection = await asyncpg.connect(make_url(url).set(username="postgres").render_as_string(hide_password=False))
    try:
        await connection.execute("CHECKPOINT")
        folder = Path(await connection.fetchval("SHOW data_directory"))
        number = await connection.fetchval("SELECT oid FROM pg_database WHERE datname = current_database()")
    finally:
        await connection.close()
    files = list((folder / "base" / str(number)).iterdir())
    assert len(files) > 100
    return [file.name for file in files if word in file.read_bytes()]


@pytest.mark.parametrize("first", [True, False])
def test_all_comes_back_but_what_was_erased(lost, empty, tmp_path, first):
    journal = tmp_path / "erasures.jsonl"
    journal.write_text(lost.erasures)
    which = ("--snapshot", lost.first) if first else ()
    done = here("restore", lost.backup, "--erasures", journal, *which, "--json", **empty)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["left_out"], told["erasures"], told["objects"], told["damaged"]) == (1, 1, 1 if first else 2, [])
    url, folder = empty["AUTOMATIONS_SERVER__DATABASE_URL"], Path(empty["AUTOMATIONS_SERVER__DATA_DIR"])
    assert (folder / "secret").read_bytes() == SECRET

    async def look() -> None:
        async with running(url, folder, lost.key) as api:
            assert await _said(api, lost.other) == lost.said
            later = await api.a.get(f"/v1/videos/{lost.later}")
            assert later.status_code == (404 if first else 200)
            # Nothing of it, neither in rows nor objects, nor where callers ask,
            assert set(await _holding(api.world, lost.video)) == {"erasure", "audit"}
            assert await _holding(api.world, "CANARY", b"CANARY".hex()) == {}
            asked = await _asked(api, lost.video)
            assert all(code == 404 for path, (code, _) in asked.items() if path.startswith("/v1/videos/it"))
            assert "CANARY" not in str(asked)
            objects = [key async for keys in api.store.keys("videos") for key in keys]
            assert len(objects) == (1 if first else 2)
            assert not any(lost.video in key for key in objects)
            # and the record stays.
            (record,) = (await api.a.get("/v1/erasures")).json()["data"]
            assert (record["video_id"], record["reason"]) == (lost.video, "request")
            # It goes on: what is there can be changed, and deleted.
            assert (await api.a.delete(f"/v1/videos/{lost.other}")).status_code == 204
            assert (await uploaded(api.a, b"new"))["status"] == "uploaded"

    # Its rows never came to the new database's files: nothing has to be vacuumed away.
    assert asyncio.run(_files_with(url, b"OTHERS"))
    assert asyncio.run(_files_with(url, b"CANARY")) == []
    asyncio.run(look())


def test_objects_are_copied_once(lost):
    first, second = lost.saved
    assert (first["objects"], first["copied"]) == (2, 2)
    assert (second["objects"], second["copied"]) == (3, 1)
    assert second["name"] > first["name"]


def test_it_tells_nothing_without_the_master_key(lost, empty):
    everything = b"".join(file.read_bytes() for file in lost.backup.rglob("*") if file.is_file())
    for secret in (b"CANARY", b"OTHERS", HEAD + b"CANARY", SECRET, b"held", lost.key.encode()):
        assert secret not in everything, secret
    done = here("restore", lost.backup, **empty | {"AUTOMATIONS_STORAGE__MASTER_KEY": "07" * 32})
    assert (done.returncode, "[master_key_missing]" in done.stderr) == (2, True), done.stderr


def test_the_next_backup_forgets_what_was_erased(lost, server, tmp_path, empty):
    """Where older snapshots have it, they have no key to it any more; and it is not brought back from them, whoever
    knows of no journal but theirs."""
    copy = _copy(lost, tmp_path)
    keys = tmp_path / "apart"
    (copy / "keys").rename(keys)
    url = embedded.named(server, "saved")
    data = with_secret(tmp_path / "live")
    # The live server's folder, as far as a backup looks: its objects, and its journal.
    source = next(path for path in lost.backup.parents[1].glob("data*") if (path / "objects").exists())
    shutil.copytree(source / "objects", data / "objects")
    done = here("backup", copy, "--keys", keys, "--keep", "2", "--json", **settings_of(url, data))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["removed_objects"], told["removed_snapshots"], told["copied"]) == (1, 1, 0)
    assert not any(lost.video in file.name for file in (copy / "objects").rglob("*"))
    names = sorted(file.stem for file in keys.glob("*.json"))
    assert len(names) == 2
    for name in names:
        content = json.loads((keys / f"{name}.json").read_bytes())
        assert not any(lost.video in row["object_key"] for row in content["data_keys"])
    done = here("restore", copy, "--keys", keys, "--snapshot", names[0], "--json", **empty)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["left_out"] == 1


def _damage(copy: Path, what: str) -> tuple[str, ...]:
    """Change something in a backup; further arguments, and then what is said."""
    latest = sorted((copy / "snapshots").iterdir())[-1]
    if what == "an object":
        file = next(file for file in (copy / "objects" / "videos").iterdir())
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        return ("backup_refused",)
    if what == "no object":
        next(file for file in (copy / "objects" / "videos").iterdir()).unlink()
        return ("backup_refused",)
    if what == "rows":
        content = bytearray((latest / "video").read_bytes())
        content[-20] ^= 1
        (latest / "video").write_bytes(content)
        return ("altered",)
    if what == "rows of another snapshot":
        shutil.copy(sorted((copy / "snapshots").iterdir())[0] / "video", latest / "video")
        return ("altered",)
    if what == "a cut manifest":
        content = (latest / "manifest").read_bytes()
        (latest / "manifest").write_bytes(content[:-1])
        return ("altered",)
    if what == "no keys":
        (copy / "keys" / f"{latest.name}.json").unlink()
        return ("backup_refused",)
    (latest / "whole").unlink()
    return ("--snapshot", latest.name, "backup_refused")


@pytest.mark.parametrize(
    "what",
    ["an object", "no object", "rows", "rows of another snapshot", "a cut manifest", "no keys", "an unfinished one"],
)
def test_what_was_changed_is_refused(lost, empty, tmp_path, what):
    copy = _copy(lost, tmp_path)
    *more, code = _damage(copy, what)
    done = here("restore", copy, *more, **empty)
    assert (done.returncode, f"[{code}]" in done.stderr) == (2, True), done.stderr
    url = empty["AUTOMATIONS_SERVER__DATABASE_URL"]

    async def tenants() -> int:
        connection = await asyncpg.connect(url)
        await connection.execute("SELECT set_config('app.tenant', '*', false)")
        count = await connection.fetchval("SELECT count(*) FROM tenant")
        await connection.close()
        return count

    assert asyncio.run(tenants()) == 0
    if what in ("an object", "no object"):
        done = here("restore", copy, "--damaged-too", "--json", **empty)
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["damaged"]) == 1


def test_a_database_that_is_in_use_is_left_alone(lost, server, tmp_path):
    url = embedded.named(server, "saved")
    done = here("restore", lost.backup, **settings_of(url, tmp_path / "data"))
    assert (done.returncode, "in use" in done.stderr) == (2, True)


def test_what_is_no_journal_is_refused(lost, empty, tmp_path):
    journal = tmp_path / "erasures.jsonl"
    journal.write_text(lost.erasures + "{}\n")
    done = here("restore", lost.backup, "--erasures", journal, **empty)
    assert (done.returncode, "not a journal" in done.stderr) == (2, True)
