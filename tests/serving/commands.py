"""The command `automations`: as a process, and in the process of the tests, where torch is loaded once for all."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from serving.cli import main

ROOT = Path(__file__).resolve().parents[2]


def automations(*args: object, timeout_s: float = 240, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run `automations` with these arguments, and `settings` as the only AUTOMATIONS_ variables of its environment."""
    command = [sys.executable, "-c", "from serving.cli import main; main()", *map(str, args)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, env=environment(settings)
    )


def environment(settings: dict[str, object]) -> dict[str, str]:
    """The environment of the tests, but for what a developer may have set for a server."""
    ours = {name: value for name, value in os.environ.items() if not name.upper().startswith("AUTOMATIONS_")}
    return ours | {name: str(value) for name, value in settings.items()}


Run = Callable[..., tuple[int, str, str]]


def here(*args: object, **settings: object) -> subprocess.CompletedProcess[str]:
    """As `automations`, which takes some seconds of CPU time to start; for what may run in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with (
        mock.patch.dict(os.environ, environment(settings), clear=True),
        mock.patch.object(sys, "argv", ["automations", *map(str, args)]),
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return subprocess.CompletedProcess(args, int(ended.value.code or 0), *said)


@pytest.fixture(name="automations")
def automations_here(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with these arguments, and with what tests set meanwhile: (exit code, stdout, stderr)."""
    for name in environment({}).keys() ^ os.environ.keys():
        monkeypatch.delenv(name)

    def run(*args: object) -> tuple[int, str, str]:
        done = here(*args, **{name: os.environ[name] for name in environment({}).keys() ^ os.environ.keys()})
        return done.returncode, done.stdout, done.stderr

    return run
