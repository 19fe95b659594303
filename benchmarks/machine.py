"""What a measurement depends on besides the code: the machine, the versions, and how busy it was meanwhile."""

import contextlib
import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "av",
    "decord",
    "numpy",
    "open-clip-torch",
    "opencv-python-headless",
    "scenedetect",
    "torch",
    "torchcodec",
    "torchvision",
)

#: Instruction sets that decide how fast a model runs on a CPU, as /proc/cpuinfo names them.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")

#: Share of the machine that others may use before a measurement counts as disturbed.
QUIET_SHARE = 0.1


def record() -> dict[str, Any]:
    """For the head of a result file. Says nothing of users, hosts or folders."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "cpu": cpu_model(),
        "cpu_flags": [flag for flag in _FLAGS if flag in _cpuinfo("flags").split()],
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions(PACKAGES),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """As the CPU calls itself."""
    return _cpuinfo("model name") or platform.processor() or "unknown"


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions, without importing anything; a package that is not there is left out."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def revision() -> str | None:
    """Commit of the working tree, with `+` where files were changed since; None outside a checkout."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    folder = Path(__file__).parent
    return subprocess.run(("git", *arguments), cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")


def _gpu() -> str | None:
    command = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took."""

    wall_s: float
    cpu_s: float
    """User and system time of this process and of all that it started, finished or not."""
    others: float
    """Share of the machine, 0 to 1, that other processes used meanwhile; NaN where the system does not tell."""


class Stopwatch:
    """Starts when made.

    >>> watch = Stopwatch()
    >>> watch.cost().wall_s < 1
    True
    """

    def __init__(self) -> None:
        self._busy_s = _machine_busy_s()
        self._cpu_s = cpu_s()
        self._wall_s = time.perf_counter()

    def cost(self) -> Cost:
        """What was spent since the start."""
        wall_s = time.perf_counter() - self._wall_s
        own_s = cpu_s() - self._cpu_s
        others_s = _machine_busy_s() - self._busy_s - own_s
        # The system counts in ticks of 10 ms, so that a short stretch may come out a little negative.
        return Cost(wall_s, own_s, max(0.0, others_s / max(wall_s * (os.cpu_count() or 1), 1e-9)))


def cpu_s() -> float:
    """User and system seconds so far of this process, its finished children, and the processes that it started and that
    still run, with theirs: the pool that reads and decodes videos for us, too."""
    before = _spent()
    while (now := _spent()).buried != before.buried:
        # Somebody ended in between, and was counted twice or not at all.
        before = now
    return now.seconds


@dataclass(frozen=True, slots=True)
class _Spent:
    seconds: float
    buried: tuple[tuple[int, int], ...]
    """(process, ticks of its children that have ended) of all that run."""


def _spent() -> _Spent:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    running = {pid: _ticks(pid) for pid in _descendants(os.getpid())}
    ticks = sum(sum(pair) for pair in running.values()) / os.sysconf("SC_CLK_TCK")
    ended_s = children.ru_utime + children.ru_stime
    buried = tuple((pid, ended) for pid, (_, ended) in sorted(running.items()))
    return _Spent(own.ru_utime + own.ru_stime + ended_s + ticks, (*buried, (0, round(ended_s * 1e6))))


def _descendants(pid: int) -> Iterator[int]:
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, tasks.read_text().split()):
                yield child
                yield from _descendants(child)


def _ticks(pid: int) -> tuple[int, int]:
    """Of a process, and of those of its children that it has buried; none for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    # utime, stime, cutime, cstime: fields 14 to 17 of proc_pid_stat(5); the first two stand before the bracket.
    own, of_children = fields[11:13], fields[13:15]
    return sum(map(int, own)), sum(map(int, of_children))


def _machine_busy_s() -> float:
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    except (OSError, ValueError):
        return float("nan")
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def peak_memory_bytes() -> int:
    """The most that was resident of this process so far (VmHWM)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)
