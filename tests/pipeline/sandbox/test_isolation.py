"""What a worker can still do once it is locked in: a real process tries it all."""

import socket
from pathlib import Path

import pytest

from pipeline.sandbox import isolation
from tests.pipeline.sandbox.locked import run

pytestmark = pytest.mark.skipif(not isolation.supported(), reason="no system call filter for this kind of machine")

ATTEMPTS = {
    "read a file": "open('/etc/passwd').read()",
    "read a file, the newest way": "raw(437, -100, b'/etc/passwd', bytes(24), 24)",
    "write a file": "open('/tmp/planted', 'w')",
    "list a folder": "os.listdir('/')",
    "list an open folder": "raw((217, 61), FOLDER, bytes(4096), 4096)",
    "see whether a file is there": "os.stat('/etc/passwd')",
    "see whether a file is there, the newest way": "raw((332, 291), -100, b'/etc/passwd', 0, 0x7FF, bytes(256))",
    "see whether it may read a file": "raw((269, 48), -100, b'/etc/passwd', 4, 0)",
    "read a link": "os.readlink('/proc/self/exe')",
    "see where it is": "os.getcwd()",
    "go elsewhere": "os.chdir('/')",
    "make a TCP socket": "socket.create_connection(('127.0.0.1', GIVEN['port']), 1)",
    "make a Unix socket": "socket.socket(socket.AF_UNIX)",
    "make a pair of sockets": "socket.socketpair()",
    "look up a name": "socket.getaddrinfo('localhost', 80)",
    "make a pipe": "os.pipe()",
    "start a program": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "fork, the newest way": "raw(435, bytes(88), 88)",
    "signal its keeper": "os.kill(PARENT, 0)",
    "signal anybody": "os.kill(1, 0)",
    "signal itself": "os.kill(os.getpid(), 0)",
    "trace": "call('ptrace', 0, 0, 0, 0)",
    "get hold of a process": "raw(434, PARENT, 0)",
    "see how busy a process is": "time.clock_gettime(~PARENT << 3 | 2)",
    "wait on a process's clock": "raw((230, 115), ~PARENT << 3 | 2, 0, bytes(16), 0)",
    "make a file in memory": "os.memfd_create('x')",
    "take back its limits": "resource.prlimit(0, resource.RLIMIT_AS, (-1, -1))",
    "leave by a namespace": "call('unshare', 0x20000)",
    "leave its folder": "os.chroot('.')",
    "take on another user": "os.setuid(0)",
    "take on capabilities": "call('capset', struct.pack('Ii', 0x20080522, 0), bytes(24))",
    "show itself to others": "call('prctl', 4, 1, 0, 0, 0)",
    "another filter": "raw((317, 277), 1, 0, bytes(16))",
    "a queue of calls": "raw(425, 1, bytes(120))",
    "a program for the kernel": "raw((321, 280), 0, bytes(64), 64)",
    "a call that no kernel has": "raw(999)",
    "delete": "os.unlink('/tmp/nothing-here')",
    "memory that can be run": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "make memory one that can be run": "call('mprotect', PAGE, ctypes.c_size_t(4096), mmap.PROT_READ | mmap.PROT_EXEC)",
    "have memory compared with others'": "call('madvise', PAGE, ctypes.c_size_t(4096), 12)",
    "urgent data": "OURS.send(b'x', socket.MSG_OOB)",
    "urgent data, another way": "OURS.sendmsg([b'x'], [], socket.MSG_OOB)",
    "receive urgent data": "OURS.recv(1, socket.MSG_OOB)",
    "receive urgent data, another way": "OURS.recvmsg(1, 0, socket.MSG_OOB)",
}

#: What workers do, and the same calls for the same.
NEEDED = {
    "memory": "bytearray(64 << 20)",
    "shared memory": "mmap.mmap(SHARED, 4096)",
    "time": "(time.monotonic(), time.time(), time.process_time())",
    "sleep": "time.sleep(0.001)",
    "chance": "os.urandom(16)",
    "send": "OURS.send(b'x')",
    "receive": "(THEIRS.send(b'x'), OURS.recv(1))",
    "send files": "socket.send_fds(OURS, [b'x'], [FOLDER])",
    "receive files": "(socket.send_fds(THEIRS, [b'x'], [FOLDER]), socket.recv_fds(OURS, 1, 1))",
    "memory that can be read only": "call('mprotect', PAGE, ctypes.c_size_t(4096), mmap.PROT_READ)",
}

PROGRAM = """
PARENT, FOLDER, SHARED = os.getppid(), os.open("/", os.O_RDONLY), os.memfd_create("shared")
os.ftruncate(SHARED, 4096)
OURS, THEIRS = socket.socketpair()
pages = mmap.mmap(-1, 8192)
PAGE = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(pages)))
os.listdir("/"), socket.getaddrinfo("localhost", 80)  # whatever these load lazily, they have loaded
if GIVEN["locked"]:
    isolation.hide()
    isolation.limit_resources(256 << 20)
    isolation.give_up_rights()
    assert isolation.forbid_calls() is None
say(tried(GIVEN["codes"]))
"""


def test_nothing_that_matters_is_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        given = {"port": server.getsockname()[1], "codes": ATTEMPTS, "locked": True}
        outcomes = run(PROGRAM, tmp_path, given)
        with pytest.raises(TimeoutError):
            server.accept()
    assert outcomes.pop("look up a name") != "done"  # an error of its own, whatever the reason
    assert {name: how for name, how in outcomes.items() if how != "EACCES"} == {}
    assert len(outcomes) == len(ATTEMPTS) - 1


def test_what_workers_need_is_left(tmp_path: Path) -> None:
    outcomes = run(PROGRAM, tmp_path, {"codes": NEEDED | {"much memory": "bytearray(2 << 30)"}, "locked": True})
    assert outcomes.pop("much memory") == "MemoryError"
    assert {name: how for name, how in outcomes.items() if how != "done"} == {}


#: Attempts that anybody may make, and that do no harm here.
HARMLESS = (
    "read a file", "read a file, the newest way", "see whether a file is there", "see whether it may read a file",
    "read a link", "make a Unix socket", "make a pipe", "signal itself", "get hold of a process",
    "see how busy a process is", "make a file in memory", "show itself to others", "memory that can be run",
    "make memory one that can be run",
)  # fmt: skip


def test_without_the_filter_the_same_attempts_succeed(tmp_path: Path) -> None:
    """So the test above sees the filter, and not an attempt that would fail anyway."""
    codes = {name: ATTEMPTS[name] for name in HARMLESS} | {"fork": "os.fork() or os._exit(0)"}
    codes |= {"list an open folder": ATTEMPTS["list an open folder"]}
    outcomes = run(PROGRAM, tmp_path, {"codes": codes, "locked": False})
    assert {name: how for name, how in outcomes.items() if how != "done"} == {}


#: (what it does, the signal that ends it; None for any)
ENDS = {
    "gives itself up": ("libc.abort()", None),  # without the right to signal itself: it has to end all the same
    "calls by the numbers of x32": ("raw(0x40000027)", 31),
}

ENDING = """
child = os.fork()
if not child:
    assert isolation.forbid_calls() is None
    eval(GIVEN)
    os._exit(0)
for _ in range(1000):
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        break
    time.sleep(0.01)
else:
    os.kill(child, 9)
say(os.WTERMSIG(status) if ended and os.WIFSIGNALED(status) else None)
"""


@pytest.mark.parametrize("what", ENDS)
def test_what_ends_a_process(what: str, tmp_path: Path) -> None:
    code, by = ENDS[what]
    ended_by = run(ENDING, tmp_path, code)
    assert ended_by is not None
    assert by in (None, ended_by)
