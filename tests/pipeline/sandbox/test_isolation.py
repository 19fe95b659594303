"""What a worker can still do once it is locked in: a real process tries it all."""

import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipeline.sandbox import isolation

pytestmark = pytest.mark.skipif(not isolation.supported(), reason="no system call filter for this kind of machine")

ATTEMPTS = {
    "read a file": "open('/etc/passwd').read()",
    "write a file": "open('/tmp/planted', 'w')",
    "list a folder": "__import__('os').listdir('/')",
    "make a TCP socket": "socket.create_connection(('127.0.0.1', PORT), 1)",
    "make a Unix socket": "socket.socket(socket.AF_UNIX)",
    "make a pair of sockets": "socket.socketpair()",
    "look up a name": "socket.getaddrinfo('localhost', 80)",
    "start a program": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "signal its keeper": "os.kill(os.getppid(), 0)",
    "signal anybody": "os.kill(1, 0)",
    "trace": "ctypes.CDLL(None, use_errno=True).ptrace(0, 0, 0, 0) == -1 and boom(ctypes.get_errno())",
    "make a file in memory": "os.memfd_create('x')",
    "take back its limits": "resource.prlimit(0, resource.RLIMIT_AS, (-1, -1))",
    "leave by a namespace": "ctypes.CDLL(None, use_errno=True).unshare(0x20000) == -1 and boom(ctypes.get_errno())",
    "delete": "os.unlink('/tmp/nothing-here')",
    "eat memory": "bytearray(2 << 30)",
}

PROGRAM = """
import ctypes, os, resource, socket, sys
from pipeline.sandbox import isolation
def boom(number): raise OSError(number, os.strerror(number))
PORT = int(sys.argv[1])
attempts = eval(sys.argv[2])
codes = {name: compile(code, name, "eval") for name, code in attempts.items()}
os.listdir("/"), socket.getaddrinfo("localhost", 80)  # whatever these load lazily, they have loaded
isolation.hide()
isolation.limit_resources(256 << 20)
assert isolation.forbid_calls() is None
for name, code in codes.items():
    try:
        eval(code)
        print(f"{name}: DONE")
    except (OSError, MemoryError) as error:
        print(f"{name}: {type(error).__name__}")
"""


def test_nothing_that_matters_is_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(port), repr(ATTEMPTS)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        with pytest.raises(TimeoutError):
            server.accept()
    assert done.returncode == 0, done.stderr
    outcomes = dict(line.split(": ") for line in done.stdout.splitlines())
    assert outcomes.pop("eat memory") == "MemoryError"
    assert set(outcomes) == set(ATTEMPTS) - {"eat memory"}
    assert {name for name, how in outcomes.items() if how == "DONE"} == set()


def test_without_the_filter_the_same_attempts_succeed(tmp_path: Path) -> None:
    """So the test above sees the filter, and not an attempt that would fail anyway."""
    harmless = {name: ATTEMPTS[name] for name in ("read a file", "make a Unix socket", "make a file in memory", "fork")}
    program = PROGRAM.replace("assert isolation.forbid_calls() is None", "")
    harmless["fork"] = "os.fork() or os._exit(0)"
    command = [sys.executable, "-c", program, "1", repr(harmless)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.count(": DONE") == len(harmless), done.stdout + done.stderr
