"""What a measurement depends on besides the code: the machine, the versions, and how busy it was meanwhile."""

import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterable
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
    """User and system time of this process and its finished children."""
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
    """User and system seconds of this process and its finished children so far."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _machine_busy_s() -> float:
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    except (OSError, ValueError):
        return float("nan")
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def peak_memory_bytes() -> int:
    """The most that was resident of this process so far (VmHWM)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)
