"""Ways round the obvious: what a locked-in process can do with the files and ids that it does have."""

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.sandbox import isolation
from tests.pipeline.sandbox.locked import run

pytestmark = pytest.mark.skipif(not isolation.supported(), reason="no system call filter for this kind of machine")

#: FILE is open for reading only, VICTIM another process of the same user, OURS and THEIRS a pair of sockets.
ATTEMPTS = {
    "a signal by way of a socket's owner": "(fcntl.fcntl(OURS, 10, 9), fcntl.fcntl(OURS, 8, VICTIM), asynchronous())",
    "a signal by way of a structure": "fcntl.fcntl(OURS, 15, struct.pack('ii', 1, VICTIM))",
    "a signal by way of an ioctl": "(fcntl.ioctl(OURS, 0x8901, struct.pack('i', VICTIM)), asynchronous())",
    "a signal when something comes": "fcntl.fcntl(OURS, fcntl.F_SETFL, 0o20000)",
    "a lease on the video": "fcntl.fcntl(FILE, 1024, 0)",
    "a lock on the video": "fcntl.lockf(FILE, fcntl.LOCK_SH | fcntl.LOCK_NB)",
    "seals on the pictures": "fcntl.fcntl(FILE, 1033, 0)",
    "marks on the video": "fcntl.ioctl(FILE, 0x80086601, bytes(8))",
    "rights of the video": "os.fchmod(FILE, 0o777)",
    "owner of the video": "os.fchown(FILE, os.getuid(), os.getgid())",
    "times of the video": "os.utime(FILE, (0, 0))",
    "attributes of the video": "os.setxattr(FILE, 'user.x', b'x')",
    "others' priority": "os.setpriority(os.PRIO_PROCESS, VICTIM, 19)",
    "others' processors": "os.sched_setaffinity(VICTIM, {0})",
    "others' scheduling": "os.sched_setscheduler(VICTIM, os.SCHED_IDLE, os.sched_param(0))",
    "shared memory": "call('shmget', 0, 4096, 0o1600)",
    "message queues": "call('msgget', 0, 0o1600)",
    "semaphores": "call('semget', 0, 1, 0o1600)",
    "a named queue": "call('mq_open', b'/planted', 0o102, 0o600, None)",
    "a folder away": "os.rmdir(EMPTY)",
    "a named pipe": "os.mkfifo(EMPTY + '/pipe')",
    "the clock": "time.clock_settime(time.CLOCK_REALTIME, time.time())",
    "the host's name": "socket.sethostname(socket.gethostname())",
    "a tree of mounts": "call('syscall', 428, -100, b'/', 0)",
}

#: Innocent calls with the same names, which workers make.
NEEDED = {
    "blocking": "fcntl.ioctl(OURS, 0x5421, struct.pack('i', 1))",
    "flags": "fcntl.fcntl(OURS, fcntl.F_GETFL)",
    "a copy": "os.close(os.dup(FILE))",
    "size": "os.fstat(FILE).st_size",
    "somewhere else": "os.lseek(FILE, 0, 0)",
}

PROGRAM = """
OURS_SOCKET, right = socket.socketpair()
OURS, FILE, VICTIM, EMPTY = OURS_SOCKET.fileno(), os.open(GIVEN["file"], os.O_RDONLY), GIVEN["victim"], GIVEN["empty"]
def asynchronous():
    fcntl.fcntl(OURS, fcntl.F_SETFL, fcntl.fcntl(OURS, fcntl.F_GETFL) | 0o20000)
    right.send(b"x")
if GIVEN["locked"]:
    isolation.hide()
    isolation.give_up_rights()
    assert isolation.forbid_calls() is None
say(tried(GIVEN["codes"]))
"""


def _ends(process: subprocess.Popen, within_s: float) -> bool:
    """Signals are delivered when the kernel gets round to it."""
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _outcomes(attempts: dict[str, str], folder: Path, *, locked: bool) -> tuple[dict[str, str], bool]:
    """(attempt -> what came of it, whether the victim still lives)"""
    file, empty = folder / "video.mp4", folder / "empty"
    file.write_bytes(b"x")
    empty.mkdir(exist_ok=True)
    victim = subprocess.Popen(["/bin/sleep", "60"])
    try:
        given = {"codes": attempts, "locked": locked, "victim": victim.pid, "file": str(file), "empty": str(empty)}
        return run(PROGRAM, folder, given), not _ends(victim, 0.5 if locked else 10.0)
    finally:
        victim.kill()
        victim.wait()


def test_none_of_it_works(tmp_path):
    outcomes, lives = _outcomes(ATTEMPTS, tmp_path, locked=True)
    assert {name: how for name, how in outcomes.items() if how != "EACCES"} == {}
    assert lives
    assert os.path.isdir(tmp_path / "empty")


def test_what_workers_need_works(tmp_path):
    outcomes, _ = _outcomes(NEEDED, tmp_path, locked=True)
    assert set(outcomes.values()) == {"done"}


def test_without_the_filter_another_process_is_killed_by_way_of_a_socket(tmp_path):
    """So the first test can fail."""
    first = next(iter(ATTEMPTS))
    outcomes, lives = _outcomes({first: ATTEMPTS[first]}, tmp_path, locked=False)
    assert outcomes == {first: "done"}
    assert not lives
