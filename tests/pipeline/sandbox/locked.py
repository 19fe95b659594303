"""Runs a program in a fresh interpreter that may lock itself in. It speaks over a socket: it cannot write then."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

_BEGINNING = """
import ctypes, errno, fcntl, json, mmap, os, platform, resource, socket, struct, sys, time
from pipeline.sandbox import isolation, syscalls
_out = socket.socket(fileno=int(sys.argv[1]))
GIVEN = json.loads(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def say(value):
    _out.sendall(json.dumps(value).encode())
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
def raw(number, *arguments):
    "A system call by its number, of which there may be one for x86-64 and one for AArch64."
    number = number[platform.machine() == "aarch64"] if isinstance(number, tuple) else number
    call("syscall", ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
def tried(codes):
    "What comes of each: `done`, or the error."
    codes = {name: compile(code, name, "eval") for name, code in codes.items()}
    outcomes = {}
    for name, code in codes.items():
        try:
            eval(code, globals())
            outcomes[name] = "done"
        except OSError as error:
            outcomes[name] = errno.errorcode.get(error.errno, type(error).__name__)
        except MemoryError:
            outcomes[name] = "MemoryError"
    return outcomes
"""


def run(program: str, folder: Path, given: Any = None, **how: Any) -> Any:
    """What `program` says with `say`. It finds `given` in GIVEN, and `folder` as its working folder.

    Args:
        how: for `subprocess.Popen`.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            command = [sys.executable, "-c", _BEGINNING + program, str(theirs.fileno()), json.dumps(given)]
            process = subprocess.Popen(
                command, cwd=folder, pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE, text=True, **how
            )
        ours.settimeout(60.0)
        said = b""
        try:
            while part := ours.recv(1 << 16):
                said += part
        finally:
            process.kill()
            _, complaints = process.communicate()
    assert said, complaints
    return json.loads(said)
