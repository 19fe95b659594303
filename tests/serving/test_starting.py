"""Servers whose database is not there: not yet, not at all, or not any more."""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from serving.db import embedded, waiting
from serving.db.waiting import reached
from serving.errors import DatabaseMisconfigured, DatabaseUnavailable
from tests.serving.commands import ROOT, automations
from tests.serving.cutting import free_port
from tests.serving.jobs.conftest import url

__all__ = ["url"]


def test_a_database_that_never_comes_is_one_line_and_exit_code_2(tmp_path):
    done = automations(
        "worker",
        AUTOMATIONS_SERVER__DATABASE_URL="nothing://at/all",
        AUTOMATIONS_SERVER__DATA_DIR=tmp_path,
    )
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
    assert "has to be PostgreSQL" in done.stderr
    with pytest.raises(DatabaseUnavailable):
        asyncio.run(reached(f"postgresql://x:y@127.0.0.1:{free_port()}/z"))


def test_a_database_that_comes_later_is_waited_for(url, capsys, monkeypatch):
    monkeypatch.setattr(waiting, "AGAIN_S", 0.02)
    made = make_url(url)
    folder = Path(str(made.query["host"]))
    (real,) = folder.glob(".s.PGSQL.*[0-9]")

    async def body() -> None:
        with tempfile.TemporaryDirectory() as elsewhere:
            there = made.update_query_dict({"host": elsewhere}).render_as_string(hide_password=False)
            coming = asyncio.create_task(reached(there, 20.0))
            said = ""
            while "waiting" not in said:
                said += capsys.readouterr().err
                await asyncio.sleep(0.01)
            assert not coming.done()
            (Path(elsewhere) / real.name).symlink_to(real)
            await asyncio.wait_for(coming, 20)
            assert (said + capsys.readouterr().err).count("waiting   the database cannot be reached") == 1

    asyncio.run(body())


def test_who_is_not_let_in_does_not_wait(server):
    began = time.monotonic()
    with pytest.raises(DatabaseMisconfigured, match="nowhere"):
        asyncio.run(reached(embedded.named(server, "nowhere"), 60.0))
    assert time.monotonic() - began < 20


def test_an_end_that_hangs_is_cut_short():
    """A thread that nobody can stop, which Python would wait for."""
    code = (
        "import threading; from serving import ending; ending.within(0.5); print('told', flush=True);"
        "threading.Thread(target=threading.Event().wait).start()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "told\n")
    assert "within 0.5 s" in done.stderr
