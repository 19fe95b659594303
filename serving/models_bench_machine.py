"""What a measurement depends on besides the model: the machine, its versions, and how busy it was."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pipeline.record import Record

_PACKAGES: Final = ("automations-backend", "numpy", "open-clip-torch", "torch", "torchvision")

#: Instruction sets that decide how fast a model runs on a CPU, as /proc/cpuinfo names them.
_FLAGS: Final = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


class Machine(Record, frozen=True, kw_only=True):
    """Says nothing of users, hosts or folders."""

    time: str
    """When, ISO 8601, UTC."""
    cpu: str
    cpu_flags: tuple[str, ...]
    cores: int
    """That this process may use."""
    memory_gib: float
    gpu: str | None
    """The first; None where torch sees none."""
    system: str
    python: str
    versions: dict[str, str]
    load_average: tuple[float, float, float]
    """Processes that wanted to run at that time, over 1, 5 and 15 minutes."""
    matrix_gflops: dict[str, float]
    """Arithmetic -> rate of matrix products on one core, GFLOP/s."""


def machine() -> Machine:
    """This one. Takes a fraction of a second, for the matrix products."""
    import torch

    from models.device import cpu_count, matmul_speed

    speed = matmul_speed()
    return Machine(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        cpu=_cpuinfo("model name") or platform.processor() or "unknown",
        cpu_flags=tuple(flag for flag in _FLAGS if flag in _cpuinfo("flags").split()),
        cores=cpu_count(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        gpu=torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions=_versions(),
        load_average=os.getloadavg(),
        matrix_gflops={"float32": round(speed.float32, 2), "bfloat16": round(speed.bfloat16, 2)},
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")
