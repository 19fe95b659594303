"""The system calls that a locked-in process may still make, and the filter that refuses it all others (seccomp(2)).

A list of what is allowed, so that calls which future kernels bring are refused before anybody has heard of them. Each
is here because workers were seen to make it (strace over every file of tests/formats and every hostile one), or, where
that is said, because another C library, kernel or clock makes it in the place of one that was seen. None of them makes
a descriptor out of nothing or reaches another process, and only one can take the name of a file, see `RULES`.
"""

import errno
import struct
from dataclasses import dataclass

#: linux/audit.h.
_ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}

#: Call -> its number on (x86-64, AArch64), from the kernel's tables; None where a machine has no such call. Those that
#: are made most often come first: the filter looks in this order.
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    # With rules, below. Kernels from 5.11 on run the filter for these only: of the others they remember what it says.
    "newfstatat": (262, 79),
    "ioctl": (16, 29),
    "mmap": (9, 222),
    "futex": (202, 98),
    "fcntl": (72, 25),
    "madvise": (28, 233),
    # Not seen: memory of a second heap, clocks that cannot be read without a call, waits of a decoder.
    "mprotect": (10, 226),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    # The connection to the keeper, over which descriptors come; with rules, too.
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "recvmsg": (47, 212),
    "recvfrom": (45, 207),
    # The video and the shared memory.
    "read": (0, 63),
    "pread64": (17, 67),
    "lseek": (8, 62),
    "fstat": (5, 80),
    "dup": (32, 23),
    "close": (3, 57),
    # Memory of its own.
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "getrandom": (318, 278),
    # Its own number, which it tells its keeper, and its end, which mostly its keeper sees to.
    "getpid": (39, 172),
    "exit_group": (231, 94),
    "exit": (60, 93),
    # Not seen: what the kernel itself has a process do after a signal or a stop.
    "rt_sigreturn": (15, 139),
    "restart_syscall": (219, 128),
    # Not seen: more of clocks and waits.
    "gettimeofday": (96, 169),
    "time": (201, None),
    "nanosleep": (35, 101),
    "sched_yield": (24, 124),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What an argument of a call must be. Its lower half only: of all that stand here the kernel looks at no more."""

    argument: int
    """Which, from 0."""
    values: tuple[int, ...]
    """One of these,"""
    mask: int = 0xFFFF_FFFF
    """of the bits that are looked at."""


_NO_CODE = Rule(2, (0,), mask=0x4)  # PROT_EXEC

#: What allowed calls may be used for.
RULES: dict[str, Rule] = {
    # What glibc 2.33 to 2.38 makes of fstat: AT_EMPTY_PATH and an empty path. FFmpeg opens nothing without fstat: that
    # of PyAV's wheels gets the plain call for it, one that was built on such a machine would get this one. No filter
    # can see that the path is empty, so a process that was taken over can name any file with this flag, and learn
    # whether it is there and how large it is: hence the empty folder for a root (`isolation.give_up_rights`).
    "newfstatat": Rule(3, (0x1000,)),
    # FIONBIO, FIONREAD, FIONCLEX, FIOCLEX, TCGETS. Not FIOSETOWN, by which the kernel signals others, nor file marks.
    "ioctl": Rule(1, (0x5421, 0x541B, 0x5450, 0x5451, 0x5401)),
    # No memory that can be run, and none made so: what was not loaded before cannot be run (W^X).
    "mmap": _NO_CODE,
    "mprotect": _NO_CODE,
    # WAIT, WAKE, WAIT_BITSET and WAKE_BITSET, private or not, by either clock. Not those that hand priorities on.
    "futex": Rule(1, (0, 1, 9, 10), mask=0xFFFF_FFFF ^ 0x80 ^ 0x100),
    # F_SETFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL. Not F_SETOWN and the like, by which the kernel signals others, nor
    # leases, locks and seals, nor F_SETFL: the keeper's descriptor of the video would change, too.
    "fcntl": Rule(1, (2, 1030, 1, 3)),
    # MADV_HUGEPAGE, DONTNEED, FREE, NOHUGEPAGE. Not MERGEABLE, which tells by time what others have in memory.
    "madvise": Rule(2, (14, 4, 8, 15)),
    # The clocks that all have. Other numbers are processes, of which they would tell that they are, and how busy.
    "clock_gettime": Rule(0, (1, 0, 2, 3, 4, 5, 6, 7)),
    "clock_nanosleep": Rule(0, (1, 0)),
    # No flags, or MSG_NOSIGNAL. Not MSG_OOB, by which a locked-in browser process could take over the kernel
    # (CVE-2025-38236).
    "sendmsg": Rule(2, (0, 0x4000)),
    "sendto": Rule(3, (0, 0x4000)),
    "recvmsg": Rule(2, (0,)),
    "recvfrom": Rule(3, (0,)),
}

#: Classic BPF (linux/filter.h): load a word of seccomp_data, keep some of its bits, jump if equal, jump if greater or
#: equal, return.
_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _KILL = 0x7FFF_0000, 0x8000_0000
_REFUSE = 0x0005_0000 | errno.EACCES

#: Where things lie in seccomp_data: the number, the architecture, and the arguments of 8 bytes, lower half first.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

#: Numbers from here on are those of the x32 ABI.
_X32_CALLS = 0x4000_0000

Step = tuple[int, int, int, int]
"""Code, steps to jump over if true, if false, operand."""


def known(machine: str) -> bool:
    """Whether there is a filter for this kind of machine, as `platform.machine` names it."""
    return machine in _ARCHITECTURES


def numbers(machine: str) -> dict[str, int]:
    """Allowed call -> number."""
    column = list(_ARCHITECTURES).index(machine)
    return {name: number for name, both in _NUMBERS.items() if (number := both[column]) is not None}


def program(machine: str) -> list[Step]:
    """The filter: what is not allowed fails with EACCES; calls by another architecture's numbers end the process."""
    calls = numbers(machine)
    steps: list[Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 0, 1, _X32_CALLS),
        (_RETURN, 0, 0, _KILL),
    ]
    for name, rule in RULES.items():
        steps += _with_rule(calls[name], rule)
    free = [number for name, number in calls.items() if name not in RULES]
    steps += [(_IF_EQUAL, len(free) - at, 0, number) for at, number in enumerate(free)]
    return [*steps, (_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]


def packed(steps: list[Step]) -> bytes:
    """A filter as an array of struct sock_filter."""
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _with_rule(number: int, rule: Rule) -> list[Step]:
    """Steps that end with a verdict on this call, and let others pass by."""
    look: list[Step] = [(_LOAD, 0, 0, _ARGUMENTS + 8 * rule.argument)]
    if rule.mask != 0xFFFF_FFFF:
        look.append((_AND, 0, 0, rule.mask))
    look += [(_IF_EQUAL, len(rule.values) - at, 0, value) for at, value in enumerate(rule.values)]
    look += [(_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    return [(_IF_EQUAL, 0, len(look), number), *look]
