"""What rights a worker has left, and that it can still be ended, whoever its keeper is."""

import os
import signal
import time
from pathlib import Path

import pytest

from pipeline.sandbox import isolation
from pipeline.sandbox.client import Sandbox
from tests.pipeline.sandbox.locked import run

pytestmark = pytest.mark.skipif(not isolation.supported(), reason="no system call filter for this kind of machine")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become others")

NOBODY = 65534


def _status(text: str) -> dict[str, str]:
    return {name: value.strip() for name, value in (line.split(":", 1) for line in text.splitlines())}


def _gone(pid: int, within_s: float = 10.0) -> bool:
    end_s = time.monotonic() + within_s
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end_s:
        time.sleep(0.02)
    return not Path(f"/proc/{pid}").exists()


def _assert_powerless(status: dict[str, str]) -> None:
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_a_worker_has_no_capabilities_and_no_files():
    with Sandbox() as sandbox:
        worker = sandbox.worker()
        status = _status(Path(f"/proc/{worker.pid}/status").read_text())
        _assert_powerless(status)
        assert sandbox.isolation().kept == worker.ready.isolation.kept
        if os.geteuid() == 0 and not worker.ready.isolation.kept:
            assert status["CapBnd"] == "0" * 16
            assert status["Uid"].split() == status["Gid"].split() == [str(NOBODY)] * 4
            assert status["Groups"] == ""
            assert os.readlink(f"/proc/{worker.pid}/root").endswith("(deleted)")
            assert os.listdir(f"/proc/{worker.pid}/root/") == []
        worker.kill()
        assert _gone(worker.pid)


def test_workers_end_with_the_process_that_they_come_from():
    """The kernel forgets who to end with whom when a process takes on another user id."""
    with Sandbox() as sandbox:
        worker = sandbox.worker()
        assert sandbox._zygote is not None
        os.kill(sandbox._zygote.pid, signal.SIGKILL)
        sandbox._zygote.wait()
        assert _gone(worker.pid)
        worker.kill()


#: By the name of a file, and by the flag that honest code uses for an open one.
LOOKS = """
def look(path):
    try:
        raw((262, 79), -100, path, ctypes.create_string_buffer(256), 0x1000)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "there"
"""

#: Becomes a user that is not root, whoever it was; the interpreter may lie where others cannot start it.
ANOTHER = f"""
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid({NOBODY - 1}, {NOBODY - 1}, {NOBODY - 1})
    os.setresuid({NOBODY - 1}, {NOBODY - 1}, {NOBODY - 1})
"""

IN_A_FOLDER_OF_ITS_OWN = """
import tempfile
{before}
kept = isolation.give_up_rights()
assert isolation.forbid_calls() is None
say([kept, look(b"/etc/passwd"), look(b"/etc/nobody-has-this")])
"""


def test_whether_a_file_is_there_cannot_be_learnt(tmp_path):
    program = LOOKS + IN_A_FOLDER_OF_ITS_OWN.format(before="isolation.leave_network()")
    kept, there, missing = run(program, tmp_path)
    if kept:
        pytest.skip(f"not on this machine, and workers say so: {kept}")
    assert there == missing != "there"


def test_whoever_may_not_change_its_root_says_so(tmp_path):
    """And this is the attempt that the test above is about."""
    kept, there, missing = run(LOOKS + IN_A_FOLDER_OF_ITS_OWN.format(before=ANOTHER), tmp_path)
    assert len(kept) == 1
    assert "can be learnt" in kept[0]
    assert (there, missing) == ("there", "ENOENT")


WEAKENED = """
for capability in GIVEN:
    assert libc.prctl(24, capability, 0, 0, 0) == 0
data = ctypes.create_string_buffer(24)
libc.capget(struct.pack("Ii", 0x20080522, 0), data)
low, _, _, high, _, _ = struct.unpack("6I", data.raw)
low &= ~sum(1 << capability for capability in GIVEN)
assert libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", low, low, 0, high, high, 0)) == 0
kept = isolation.give_up_rights()
assert isolation.forbid_calls() is None
say(kept)
"""


@as_root
@pytest.mark.parametrize(
    ("dropped", "kept"),
    [
        ((), 0),
        ((21,), 0),  # SYS_ADMIN, as in any container
        ((5,), 1),  # KILL: whoever took on another user id could not be ended by its keeper
        ((7,), 1),
        ((18,), 1),
        (tuple(range(24)), 2),
    ],
    ids=["all", "without SYS_ADMIN", "without KILL", "without SETUID", "without SYS_CHROOT", "none to speak of"],
)
def test_root_with_fewer_rights_gives_up_what_it_can(dropped, kept, tmp_path):
    said = run(WEAKENED, tmp_path, dropped)
    assert len(said) == kept, said


KEEPER = """
from pathlib import Path
from pipeline.sandbox import worker, zygote
from pipeline.sandbox.client import Worker
worker.rehearse()
ours, theirs = socket.socketpair()
{another}
if os.fork() == 0:
    ours.close()
    sys.argv[1:] = [str(theirs.fileno()), str(1 << 30)]
    zygote.main()
    os._exit(0)
theirs.close()
assert ours.recv(5) == zygote.READY
mine, its = socket.socketpair()
socket.send_fds(ours, [b"w"], [its.fileno()])
its.close()
made = Worker(mine)
place = Path(f"/proc/{{made.pid}}")
status = (place / "status").read_text()
made.kill()
end_s = time.monotonic() + 10
while place.exists() and time.monotonic() < end_s:
    time.sleep(0.01)
say([status, made.ready.isolation.syscalls, place.exists()])
"""


def test_a_keeper_that_is_not_root(tmp_path):
    status, syscalls, still_there = run(KEEPER.format(another=ANOTHER), tmp_path)
    assert syscalls
    assert not still_there
    _assert_powerless(_status(status))
