"""The filter itself, run by an interpreter of its few instructions, for every machine that it is written for."""

import errno
import re
from pathlib import Path

import pytest

from pipeline.sandbox import syscalls

ALLOW, REFUSE, KILL = 0x7FFF_0000, 0x0005_0000 | errno.EACCES, 0x8000_0000
ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
MACHINES = tuple(ARCHITECTURES)

#: The kernel's tables, where its headers are installed (linux-libc-dev).
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}

#: Calls that would let a process out: name -> number on (x86-64, AArch64), None where there is no such call.
DANGEROUS = {
    "open": (2, None), "openat": (257, 56), "openat2": (437, 437), "open_by_handle_at": (304, 265), "stat": (4, None),
    "statx": (332, 291), "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439), "getcwd": (79, 17),
    "readlinkat": (267, 78), "getdents64": (217, 61), "chdir": (80, 49), "fchdir": (81, 50), "chroot": (161, 51),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "socket": (41, 198), "socketpair": (53, 199),
    "connect": (42, 203), "bind": (49, 200), "accept4": (288, 242), "setsockopt": (54, 208), "clone": (56, 220),
    "clone3": (435, 435), "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tgkill": (234, 131), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "ptrace": (101, 117), "process_vm_readv": (310, 270), "prctl": (157, 167),
    "seccomp": (317, 277), "capset": (126, 91), "setuid": (105, 146), "setresuid": (117, 147), "unshare": (272, 97),
    "setns": (308, 268), "mount": (165, 40), "bpf": (321, 280), "perf_event_open": (298, 241), "keyctl": (250, 219),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_setup": (206, 0),
    "pkey_mprotect": (329, 288), "remap_file_pages": (216, 234), "personality": (135, 92), "prlimit64": (302, 261),
    "ftruncate": (77, 46), "fchmod": (91, 52), "fallocate": (285, 47), "sendfile": (40, 71), "splice": (275, 76),
    "ioprio_set": (251, 30), "sched_setaffinity": (203, 122), "shmget": (29, 194), "unlinkat": (263, 35),
    "write": (1, 64), "timer_create": (222, 107), "arch_prctl": (158, None), "modify_ldt": (154, None),
}  # fmt: skip

#: (call, arguments, whether they are allowed)
RULED = [
    ("mmap", (0, 4096, 3, 0x22), True),
    ("mmap", (0, 4096, 1, 2), True),
    ("mmap", (0, 4096, 5, 2), False),
    ("mmap", (0, 4096, 7, 0x22), False),
    ("mmap", (0, 4096, 1 << 32 | 4, 2), False),
    ("mprotect", (4096, 4096, 0), True),
    ("mprotect", (4096, 4096, 3), True),
    ("mprotect", (4096, 4096, 4), False),
    ("mprotect", (4096, 4096, 0x0100_0005), False),
    ("fcntl", (3, 1030, 0), True),
    ("fcntl", (3, 2, 1), True),
    *(("fcntl", (3, what, 0), False) for what in (0, 4, 6, 8, 10, 15, 37, 1024, 1026, 1031, 1033)),
    ("ioctl", (3, 0x5421, 0), True),
    *(("ioctl", (3, what, 0), False) for what in (0, 0x5412, 0x8901, 0x8902, 0x5452, 0x4008_6602, 0x4004_9409)),
    ("madvise", (4096, 4096, 14), True),
    *(("madvise", (4096, 4096, what), False) for what in (9, 12, 21, 100, 101, 102)),
    ("futex", (0, 0x80), True),
    ("futex", (0, 0x81), True),
    ("futex", (0, 9 | 0x80 | 0x100), True),
    *(("futex", (0, what | 0x80), False) for what in (3, 4, 5, 6, 7, 11, 12, 13, 0x200)),
    *(("clock_gettime", (clock,), True) for clock in range(8)),
    *(("clock_gettime", (~process << 3 | 2,), False) for process in (0, 1, 4711)),
    ("clock_nanosleep", (1, 0), True),
    ("clock_nanosleep", (~4711 << 3 | 2, 0), False),
    ("newfstatat", (3, 0, 0, 0x1000), True),
    *(("newfstatat", (-100, 0, 0, flags), False) for flags in (0, 0x100, 0x1100, 0x1800)),
    ("sendto", (3, 0, 1, 0), True),
    ("sendto", (3, 0, 1, 1), False),
    ("sendmsg", (3, 0, 0x4000), True),
    ("sendmsg", (3, 0, 0x4001), False),
    ("recvmsg", (3, 0, 0), True),
    ("recvmsg", (3, 0, 1), False),
    ("recvfrom", (3, 0, 1, 0), True),
    ("recvfrom", (3, 0, 1, 1), False),
]


def verdict(machine: str, number: int, arguments: tuple[int, ...] = (), architecture: int | None = None):
    """(what the filter says, instructions that it took)"""
    architecture = ARCHITECTURES[machine] if architecture is None else architecture
    words = [number & 0xFFFF_FFFF, architecture, 0, 0]
    for argument in (*arguments, *[0] * (6 - len(arguments))):
        words += [argument & 0xFFFF_FFFF, argument >> 32 & 0xFFFF_FFFF]
    steps = syscalls.program(machine)
    at = register = taken = 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at, taken = at + 1, taken + 1
        if code == 0x20:
            assert operand % 4 == 0
            register = words[operand // 4]
        elif code == 0x54:
            register &= operand
        elif code == 0x15:
            at += if_true if register == operand else if_false
        elif code == 0x35:
            at += if_true if register >= operand else if_false
        else:
            assert code == 0x06
            return operand, taken


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_allowed(machine):
    calls = syscalls.numbers(machine)
    free = {name for name in calls if name not in syscalls.RULES}
    assert {verdict(machine, calls[name], (-1,) * 6)[0] for name in free} == {ALLOW}
    for name, arguments, good in RULED:
        assert verdict(machine, calls[name], arguments)[0] == (ALLOW if good else REFUSE), (name, arguments)
    assert (
        {name for name, _, good in RULED if good} == {name for name, _, good in RULED if not good} == {*syscalls.RULES}
    )


@pytest.mark.parametrize("machine", MACHINES)
def test_all_else_is_refused(machine):
    allowed = set(syscalls.numbers(machine).values())
    assert {verdict(machine, number)[0] for number in range(2048) if number not in allowed} == {REFUSE}
    for name, both in DANGEROUS.items():
        number = both[MACHINES.index(machine)]
        assert number is None or verdict(machine, number)[0] == REFUSE, name


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_other_machines_end_the_process(machine):
    others = {0x4000_0003, 0x4000_0028, 0, *ARCHITECTURES.values()} - {ARCHITECTURES[machine]}
    for number in syscalls.numbers(machine).values():
        assert {verdict(machine, number, architecture=other)[0] for other in others} == {KILL}
        assert verdict(machine, 0x4000_0000 | number)[0] == KILL
    assert verdict(machine, -1)[0] == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_it_is_short(machine):
    """The kernel takes no more than 4096 instructions, jumps of 8 bits, and none that leave the filter."""
    steps = syscalls.program(machine)
    assert len(syscalls.packed(steps)) == 8 * len(steps) < 8 * 256
    for at, (code, if_true, if_false, _) in enumerate(steps):
        assert code == 0x06 or at + 1 + max(if_true, if_false) < len(steps)
    calls = syscalls.numbers(machine)
    taken = {name: verdict(machine, number)[1] for name, number in calls.items()}
    print(machine, len(steps), taken)
    assert max(taken.values()) <= 50


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_the_kernels(machine):
    header = next((Path(name) for name in HEADERS[machine] if Path(name).exists()), None)
    if header is None:
        pytest.skip("the kernel's headers are not installed")
    defined = dict(re.findall(r"#define (__NR\w+)\s+(\w+)", header.read_text()))
    found = {name.removeprefix("__NR_"): defined.get(number, number) for name, number in defined.items()}
    for name, number in syscalls.numbers(machine).items():
        assert found[name] == str(number), name
    for name, both in DANGEROUS.items():
        number = both[MACHINES.index(machine)]
        # Headers older than the call do not have it.
        assert number is None or found.get(name, str(number)) == str(number), name
