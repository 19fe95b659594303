"""Gives up what a process that reads hostile bytes must not have: files, network, other processes, endless resources.

Four layers, each of which holds alone against what it is for:

- `no new privileges` and a seccomp filter (`syscalls`): from then on the process cannot open files, make sockets, start
  programs or processes, signal or trace others; what it was given open it may use. Linux on x86-64 and AArch64.
- no capabilities, not root's user id, and an empty folder for a root, as far as the process had the right to do this.
- an empty network namespace, where the machine allows one.
- resource limits (setrlimit(2)): address space, files, size of files, processes, core dumps.
"""

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from dataclasses import dataclass

from pipeline.sandbox import syscalls

#: linux/prctl.h.
_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP = 1, 2, 4, 22
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000

#: linux/capability.h: version of the structures, as many capabilities as they hold, and some of these.
_CAPABILITY_VERSION, _CAPABILITIES = 0x2008_0522, 64
_CAP_KILL, _CAP_SETGID, _CAP_SETUID = 5, 6, 7

#: User and group id of nobody in particular, which owns no files.
_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Isolation:
    """Which layers hold on this machine."""

    syscalls: bool
    """Files, network and processes are refused by a seccomp filter."""
    network: bool
    """The network namespace is empty."""
    missing: tuple[str, ...] = ()
    """What does not hold and why, one line each."""
    kept: tuple[str, ...] = ()
    """Rights that the process still has because it could not give them up, one line each; see `give_up_rights`."""


def supported() -> bool:
    """Whether this kind of machine has a filter at all."""
    return sys.platform == "linux" and syscalls.known(platform.machine())


def leave_network() -> str | None:
    """Move this process, and those it forks later, into an empty network namespace; why not, where it cannot."""
    libc = _libc()
    for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET):
        if libc.unshare(flags) == 0:
            return None
    return f"no empty network namespace ({os.strerror(ctypes.get_errno())}); allow unprivileged user namespaces"


def forbid_calls() -> str | None:
    """Give up all system calls but those in `syscalls`, for good; why not, where it cannot. Rights come before, see
    `give_up_rights`.

    A refused call fails with EACCES. The filter cannot be taken back, and needs no privilege.
    """
    if not supported():
        return f"no system call filter for {sys.platform} on {platform.machine()}"
    libc = _libc()
    program = syscalls.packed(syscalls.program(platform.machine()))
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    filter_ = ctypes.create_string_buffer(header, len(header))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(filter_), 0, 0
    ):
        return f"the kernel takes no system call filter ({os.strerror(ctypes.get_errno())})"
    return None


def give_up_rights() -> tuple[str, ...]:
    """Make the working folder the root, take on nobody's user id if this one is root's, and drop all capabilities; what
    is kept because this process may not do that, one line each.

    A process in a user namespace of its own (`leave_network`) may change its root, too, and has capabilities to drop.
    Its user id means nothing there, and stays.
    """
    if sys.platform != "linux":
        return ()
    kept: list[str] = []
    libc = _libc()
    # The order is what each step needs the right for: the root and the bounding set before the user id, with which
    # capabilities go; these last, for who was not root has them still.
    try:
        os.chroot(".")
    except OSError as error:
        kept.append(f"whether a file is there can be learnt, and its size (no empty root: {error.strerror})")
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if 0 in os.getresuid() and (why := _become_nobody(libc)):
        kept.append(f"root's user id, without its capabilities ({why})")
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    if libc.capset(header, bytes(24)):
        kept.append(f"capabilities ({os.strerror(ctypes.get_errno())})")
    return tuple(kept)


def limit_resources(memory_bytes: int, files: int = 64) -> None:
    """Bound this process: address space beyond what it has now, open files; no growing files, no processes or threads
    (the kernel does not hold root to that), no core dumps."""
    address_space = _address_space_bytes() + memory_bytes
    for what, limit in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (limit, limit))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that forked it ends, or at once if it has.

    Args:
        parent: the process that forked it.
    """
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def hide() -> None:
    """No core dumps of this process, and no looking into it by others of the same user."""
    _libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _become_nobody(libc: ctypes.CDLL) -> str | None:
    """Take on the user and group id of nobody, and no other groups; why not, where that is not possible."""
    # A keeper that may change its user but not signal other users' processes could not end this one any more.
    if not {_CAP_KILL, _CAP_SETGID, _CAP_SETUID} <= _capabilities(libc):
        return "the capabilities KILL, SETGID and SETUID are not all there"
    parent, signal_number = os.getppid(), ctypes.c_int()
    libc.prctl(_PR_GET_PDEATHSIG, ctypes.addressof(signal_number), 0, 0, 0)
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError as error:
        return error.strerror
    # The kernel takes a new user id for a reason to forget this, and to go by the machine's rule for core dumps.
    hide()
    if signal_number.value:
        die_with_parent(parent)
    return None


def _capabilities(libc: ctypes.CDLL) -> set[int]:
    """Numbers of those in effect."""
    data = ctypes.create_string_buffer(24)
    libc.capget(struct.pack("Ii", _CAPABILITY_VERSION, 0), data)
    low, _, _, high, _, _ = struct.unpack("6I", data.raw)
    return {number for number in range(_CAPABILITIES) if (high << 32 | low) >> number & 1}


def _address_space_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    libc.unshare.argtypes = [ctypes.c_int]
    return libc
