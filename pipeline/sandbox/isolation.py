"""Gives up what a process that reads hostile bytes must not have: files, network, other processes, endless resources.

Three layers, each of which holds alone against what it is for:

- `no new privileges` and a seccomp filter (seccomp(2)): from then on the process cannot open files, make sockets, start
  programs or processes, signal or trace others; what it was given open it may use. Linux on x86-64 and AArch64.
- an empty network namespace, where the machine allows one.
- resource limits (setrlimit(2)): address space, files, size of files, core dumps.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from dataclasses import dataclass

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_SET_PDEATHSIG = 4, 22, 38, 1
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000
_SIGKILL = 9

#: Machine -> (AUDIT_ARCH of linux/audit.h, numbers of the refused system calls from the kernel's tables).
_REFUSED: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000_003E,
        {
            "open": 2, "openat": 257, "openat2": 437, "creat": 85, "open_by_handle_at": 304, "memfd_create": 319,
            "socket": 41, "connect": 42, "bind": 49, "listen": 50, "socketpair": 53, "accept": 43,
            "accept4": 288, "clone": 56, "fork": 57, "vfork": 58, "clone3": 435, "execve": 59, "execveat": 322,
            "kill": 62, "tkill": 200, "tgkill": 234, "pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438,
            "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "ptrace": 101, "process_vm_readv": 310,
            "process_vm_writev": 311, "process_madvise": 440, "mount": 165, "umount2": 166, "pivot_root": 155,
            "chroot": 161, "unshare": 272, "setns": 308, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
            "keyctl": 250, "add_key": 248, "request_key": 249, "io_uring_setup": 425, "init_module": 175,
            "finit_module": 313, "kexec_load": 246, "rename": 82, "renameat": 264, "renameat2": 316, "unlink": 87,
            "unlinkat": 263, "mkdir": 83, "mkdirat": 258, "link": 86, "linkat": 265, "symlink": 88, "symlinkat": 266,
            "chmod": 90, "fchmodat": 268, "chown": 92, "fchownat": 260, "truncate": 76, "readlink": 89,
            "readlinkat": 267, "prlimit64": 302, "fchmod": 91, "fchmodat2": 452, "fchown": 93, "lchown": 94,
            "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198,
            "fremovexattr": 199, "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280, "rmdir": 84,
            "mknod": 133, "mknodat": 259, "shmget": 29, "shmat": 30, "shmctl": 31, "semget": 64, "semop": 65,
            "semctl": 66, "semtimedop": 220, "msgget": 68, "msgsnd": 69, "msgrcv": 70, "msgctl": 71, "mq_open": 240,
            "mq_unlink": 241, "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144,
            "sched_setattr": 314, "sched_setaffinity": 203, "ioprio_set": 251, "migrate_pages": 256, "move_pages": 279,
            "kcmp": 312, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
            "fspick": 433, "mount_setattr": 442, "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170,
            "setdomainname": 171, "settimeofday": 164, "clock_settime": 227, "adjtimex": 159, "clock_adjtime": 305,
            "acct": 163, "quotactl": 179, "quotactl_fd": 443, "syslog": 103, "iopl": 172, "ioperm": 173,
            "delete_module": 176, "kexec_file_load": 320,
        },
    ),
    "aarch64": (
        0xC000_00B7,
        {
            "openat": 56, "openat2": 437, "open_by_handle_at": 265, "memfd_create": 279, "socket": 198, "connect": 203,
            "bind": 200, "listen": 201, "socketpair": 199, "accept": 202, "accept4": 242, "clone": 220,
            "clone3": 435, "execve": 221, "execveat": 281, "kill": 129, "tkill": 130, "tgkill": 131,
            "pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438, "rt_sigqueueinfo": 138,
            "rt_tgsigqueueinfo": 240, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271,
            "process_madvise": 440, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97,
            "setns": 268, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "keyctl": 219, "add_key": 217,
            "request_key": 218, "io_uring_setup": 425, "init_module": 105, "finit_module": 273, "kexec_load": 104,
            "renameat": 38, "renameat2": 276, "unlinkat": 35, "mkdirat": 34, "linkat": 37, "symlinkat": 36,
            "fchmodat": 53, "fchownat": 54, "truncate": 45, "readlinkat": 78, "prlimit64": 261, "fchmod": 52,
            "fchmodat2": 452, "fchown": 55, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14,
            "lremovexattr": 15, "fremovexattr": 16, "utimensat": 88, "mknodat": 33, "shmget": 194, "shmat": 196,
            "shmctl": 195, "semget": 190, "semop": 193, "semctl": 191, "semtimedop": 192, "msgget": 186, "msgsnd": 189,
            "msgrcv": 188, "msgctl": 187, "mq_open": 180, "mq_unlink": 181, "setpriority": 140, "sched_setparam": 118,
            "sched_setscheduler": 119, "sched_setattr": 274, "sched_setaffinity": 122, "ioprio_set": 30,
            "migrate_pages": 238, "move_pages": 239, "kcmp": 272, "open_tree": 428, "move_mount": 429, "fsopen": 430,
            "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442, "swapon": 224, "swapoff": 225,
            "reboot": 142, "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "clock_settime": 112,
            "adjtimex": 171, "clock_adjtime": 266, "acct": 89, "quotactl": 60, "quotactl_fd": 443, "syslog": 116,
            "delete_module": 106, "kexec_file_load": 294,
        },
    ),
}  # fmt: skip

#: Numbers of fcntl and ioctl, which have harmless and other uses; both take what to do as their second argument.
_FCNTL_IOCTL = {"x86_64": (72, 16), "aarch64": (25, 29)}

#: What fcntl may not do (linux/fcntl.h): have the kernel signal any process when a file is ready, by F_SETOWN, F_SETSIG
#: and F_SETOWN_EX, which may well be SIGKILL; keep others from files, by F_SETLEASE; watch folders, by F_NOTIFY.
_REFUSED_FCNTL = (8, 10, 15, 1024, 1026)

#: All that ioctl may do: FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS. Not FIOSETOWN, nor marks on files.
_ALLOWED_IOCTL = (0x541B, 0x5421, 0x5450, 0x5451, 0x5401)

#: Classic BPF (linux/filter.h): load a word of seccomp_data, jump if equal, jump if greater or equal, return.
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
_X32_CALLS = 0x4000_0000


@dataclass(frozen=True, slots=True)
class Isolation:
    """Which layers hold on this machine."""

    syscalls: bool
    """Files, network and processes are refused by a seccomp filter."""
    network: bool
    """The network namespace is empty."""
    missing: tuple[str, ...] = ()
    """What does not hold and why, one line each."""


def supported() -> bool:
    """Whether this kind of machine has a filter at all."""
    return sys.platform == "linux" and platform.machine() in _REFUSED


def leave_network() -> str | None:
    """Move this process, and those it forks later, into an empty network namespace; why not, where it cannot."""
    libc = _libc()
    for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET):
        if libc.unshare(flags) == 0:
            return None
    return f"no empty network namespace ({os.strerror(ctypes.get_errno())}); allow unprivileged user namespaces"


def forbid_calls() -> str | None:
    """Refuse the system calls above to this process, for good; why not, where it cannot.

    The refused call fails with EACCES. The filter cannot be taken back, and needs no privilege.
    """
    if not supported():
        return f"no system call filter for {sys.platform} on {platform.machine()}"
    libc = _libc()
    program = _program(*_REFUSED[platform.machine()], *_FCNTL_IOCTL[platform.machine()])
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    filter_ = ctypes.create_string_buffer(header, len(header))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(filter_), 0, 0
    ):
        return f"the kernel takes no system call filter ({os.strerror(ctypes.get_errno())})"
    return None


def limit_resources(memory_bytes: int, files: int = 64) -> None:
    """Bound this process: address space beyond what it has now, open files; no growing files, no core dumps."""
    address_space = _address_space_bytes() + memory_bytes
    for what, limit in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (limit, limit))


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends."""
    _libc().prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def hide() -> None:
    """No core dumps of this process, and no looking into it by others of the same user."""
    _libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _program(arch: int, refused: dict[str, int], fcntl: int, ioctl: int) -> bytes:
    """The filter as bytes of struct sock_filter; seccomp_data holds the call's number at 0, the architecture at 4, the
    second argument at 24, lower half first on these machines; the kernel looks at no more of it either."""
    steps = [
        (_LOAD, 0, 0, 4),
        (_IF_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_IF_AT_LEAST, 0, 1, _X32_CALLS),
        (_RETURN, 0, 0, _KILL),
    ]
    for number in refused.values():
        steps += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE | errno.EACCES)]
    steps += [(_IF_EQUAL, 0, len(_REFUSED_FCNTL) + 3, fcntl), (_LOAD, 0, 0, 24)]
    steps += [(_IF_EQUAL, len(_REFUSED_FCNTL) - at, 0, what) for at, what in enumerate(_REFUSED_FCNTL)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE | errno.EACCES)]
    steps += [(_IF_EQUAL, 0, len(_ALLOWED_IOCTL) + 2, ioctl), (_LOAD, 0, 0, 24)]
    steps += [(_IF_EQUAL, len(_ALLOWED_IOCTL) - at, 0, what) for at, what in enumerate(_ALLOWED_IOCTL)]
    steps += [(_RETURN, 0, 0, _REFUSE | errno.EACCES), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _address_space_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    libc.unshare.argtypes = [ctypes.c_int]
    return libc
