"""The cluster of a machine: what it is started with, what survives what, and that nothing of it stays."""

import os
import signal
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import pytest

from serving.errors import PlaceRefused
from serving.graph.cluster import cluster, tidied
from serving.graph.launch import waits
from serving.graph.quiet import NOISE, Quiet
from serving.graph.sessions import end_session, members
from serving.graph.standing import DeploymentStanding, Standing, Telling, gist
from tests.serving.commands import ROOT
from tests.serving.graph.launching import config, start, until
from tests.serving.jobs.conftest import url

__all__ = ["url"]

SECRET = b"s" * 32


@pytest.mark.drill
def test_a_fallen_cluster_is_started_again_and_a_killed_one_leaves_nothing(url, tmp_path):
    """`automations graph`, whose Ray loses its head, and which is killed itself then."""
    settings = {"AUTOMATIONS_SERVER__DATABASE_URL": url}
    graph = start(tmp_path, "graph", "--config", config(tmp_path), **settings)
    try:
        graph.says("ray is up", 120)
        (store,) = graph.named("/gcs_server ")
        os.kill(store, signal.SIGKILL)
        graph.says("ray's gcs_server has ended", 20)
        graph.says("it is started again in 1 s", 30)
        assert store not in graph.processes()
        graph.says("ray is up", 120, times=2)
        there = graph.processes()
        assert any("/raylet " in line for line in there.values()), there
        graph.process.kill()
        graph.process.wait(10)
        graph.nothing_left(20)
    finally:
        graph.kill()


def test_one_that_is_told_to_end_while_it_starts_leaves_nothing(url, tmp_path):
    graph = start(tmp_path, "graph", "--config", config(tmp_path), AUTOMATIONS_SERVER__DATABASE_URL=url)
    try:
        until(lambda: graph.named("/raylet "), 120, "a raylet")
        assert graph.ended(signal.SIGTERM, 30) == 0
        graph.nothing_left(5)
        assert not (graph.folder / "graph" / "address").exists()
    finally:
        graph.kill()


def test_what_cannot_be_deployed_here_is_refused_in_one_line_before_ray_starts(tmp_path):
    path = config(tmp_path)
    path.write_text(path.read_text().replace("num_cpus: 0.5", "num_cpus: 5000"))
    graph = start(tmp_path, "graph", "--config", path)
    try:
        assert graph.process.wait(60) == 2
        (line,) = [line for line in graph.said().splitlines() if "RuntimeDirWarning" not in line]
        assert "engine-default 1 x 5000" in line
        assert "[invalid_settings]" in line
        assert not list(graph.cluster().temporary.iterdir())
        graph.nothing_left(5)
    finally:
        graph.kill()


def test_waits_grow_to_a_minute():
    assert list(islice(waits(), 8)) == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.fixture
def session():
    """A session of a process and a child of it, which do not end by themselves, nor when they are asked to."""
    code = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print('there', flush=True); child.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield process
        process.kill()


def test_all_of_a_session_is_ended(session):
    assert len(members(session.pid)) == 2
    end_session(session.pid)
    assert members(session.pid) == ()
    assert session.wait(10) == -signal.SIGKILL


def test_a_guard_ends_the_last_session_it_was_told_of_once_nobody_tells_it_more(session):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    guard = subprocess.Popen([sys.executable, "-m", "serving.graph.guard"], cwd=ROOT, stdin=subprocess.PIPE, text=True)
    try:
        assert guard.stdin is not None
        print(other.pid, session.pid, sep="\n", file=guard.stdin, flush=True)
        until(lambda: _ignores(guard.pid, signal.SIGTERM), 20, "the guard is there")
        guard.send_signal(signal.SIGINT)
        guard.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            guard.wait(1.0)
        assert len(members(session.pid)) == 2
        guard.stdin.close()
        assert guard.wait(20) == 0
        assert members(session.pid) == ()
        assert other.poll() is None
    finally:
        guard.kill()
        other.kill()
        other.wait(10)


def _ignores(pid: int, number: signal.Signals) -> bool:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn:"))
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


def test_what_a_cluster_keeps_is_its_owners_alone(tmp_path):
    made = cluster(tmp_path, SECRET)
    assert made.token.stat().st_mode & 0o777 == 0o600
    assert made.token.read_text() == cluster(tmp_path, SECRET).token.read_text()
    assert len(made.token.read_text()) == 64
    for around in (made.token.parent, made.temporary.parent):
        assert around.stat().st_mode & 0o777 == 0o700
    environment = made.environment({"RAY_ADDRESS": "elsewhere:1", "RAY_AUTH_TOKEN": "known", "HOME": "/h"})
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["HOME"] == "/h"
    assert not {"RAY_ADDRESS", "RAY_AUTH_TOKEN"} & set(environment)
    token = made.token.read_text()
    assert token not in str(environment)
    assert cluster(tmp_path, b"t" * 32).token.read_text() != token


def test_sockets_of_a_folder_that_is_deep_are_elsewhere(tmp_path, monkeypatch):
    tmp = Path(tempfile.mkdtemp(prefix="t-"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp))
    deep = tmp_path / ("d" * 80)
    made, again = cluster(deep, SECRET), cluster(deep, SECRET)
    assert made == again
    assert made.temporary != cluster(tmp_path / ("e" * 80), SECRET).temporary
    # session_<date>_<time>_<microseconds>_<pid>, with a pid of seven digits.
    longest = made.temporary / "session_2026-11-26_01-43-38_912544_4194304" / "sockets" / "plasma_store"
    assert len(os.fsencode(longest)) <= 107
    made.temporary.parent.chmod(0o755)
    with pytest.raises(PlaceRefused, match="others own it or get in"):
        cluster(deep, SECRET)
    assert made.temporary.parent.parent == tmp
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("t" * 60)))
    (tmp_path / ("t" * 60)).mkdir()
    with pytest.raises(PlaceRefused, match="too long a path"):
        cluster(deep, SECRET)


def test_logs_of_the_last_runs_stay(tmp_path):
    for number in range(5):
        (tmp_path / f"session_2026-11-2{number}_01-00-00_1_{9 - number}").mkdir()
    (tmp_path / "session_latest").symlink_to(tmp_path / "session_2026-11-24_01-00-00_1_5")
    tidied(tmp_path)
    assert sorted(place.name[:18] for place in tmp_path.iterdir()) == [
        "session_2026-11-23",
        "session_2026-11-24",
        "session_latest",
    ]


def standing(status: str, **deployments: tuple[str, int, str]) -> Standing:
    """Name -> (status, replicas that run, message)."""
    return Standing(
        status=status,
        message="",
        deployments=tuple(
            DeploymentStanding(name=name, status=how, running=running, message=message)
            for name, (how, running, message) in deployments.items()
        ),
    )


def test_news_are_told_once():
    telling = Telling()
    assert list(telling.news(standing("DEPLOYING", engine=("UPDATING", 0, "")))) == ["engine starts"]
    assert list(telling.news(standing("DEPLOYING", engine=("UPDATING", 0, "")))) == []
    failing = "It failed 1 times in a row. Error:\nTraceback (most recent call last):\n\nX: no weights"
    told = [list(telling.news(standing("DEPLOYING", engine=("UPDATING", 0, failing)))) for _ in range(2)]
    assert told == [["engine: X: no weights"], []]
    up = standing("RUNNING", engine=("HEALTHY", 1, ""))
    assert list(telling.news(up)) == ["engine is up", "all is up"]
    assert list(telling.news(up)) == []
    assert list(telling.news(standing("RUNNING", engine=("UPSCALING", 2, "it scales")))) == ["engine is up: 2 replicas"]
    assert list(telling.news(standing("UNHEALTHY", engine=("UNHEALTHY", 0, "it died")))) == [
        "engine has no replica",
        "engine: it died",
    ]
    assert list(telling.news(up)) == ["engine is up", "all is up"]


def test_one_that_has_no_replica_until_it_is_needed_is_not_said_to_be_lost_or_to_start():
    telling = Telling()
    told = [
        list(telling.news(standing("RUNNING", engine=(status, running, ""))))
        for status, running in (
            ("UPDATING", 0),
            ("HEALTHY", 0),
            ("HEALTHY", 0),
            ("UPSCALING", 0),
            ("HEALTHY", 1),
            ("DOWNSCALING", 0),
            ("HEALTHY", 0),
        )
    ]
    asleep = "engine has no replica until one is needed"
    assert told == [["engine starts", "all is up"], [asleep], [], ["engine starts"], ["engine is up"], [asleep], []]


def test_the_gist_of_a_message_is_one_line():
    assert gist("") == ""
    assert gist("waits for 3 CPUs\nsee ray status") == "waits for 3 CPUs"
    assert gist("It failed. Error:\nTraceback\n  File x\nValueError: no\n") == "ValueError: no"


def test_noise_is_left_out_line_by_line():
    class Lines(list):
        def write(self, text: str) -> int:
            self.append(text)
            return len(text)

        def flush(self) -> None: ...

    kept = Lines()
    quiet = Quiet(kept)  # type: ignore[arg-type]
    print("good", file=quiet)  # type: ignore[arg-type]
    print(f"(controller) {NOISE[0]} x", file=quiet)  # type: ignore[arg-type]
    print("a\nb", end="", file=quiet)  # type: ignore[arg-type]
    print("c", file=quiet)  # type: ignore[arg-type]
    assert "".join(kept) == "good\na\nbc\n"
