"""The embedded PostgreSQL lets in who runs it, and nobody else on the machine."""

import asyncio
import os
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from serving.db import embedded
from serving.errors import PlaceRefused

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
