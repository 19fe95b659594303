"""Where a model runs and in which arithmetic: chosen by measuring once, and said why.

bfloat16 is 4x faster than float32 on a CPU with AMX and 100x slower on one without any bfloat16 instructions, so the
choice is made by a matrix product of a millisecond and not by names.

Torch is loaded by what needs it only: who asks for the CPU and an arithmetic gets a `Placement` without it.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from models.declared import DTYPES
from models.errors import ModelError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

WORTHWHILE = 1.3
"""bfloat16 must be this much faster: below it, the rounding (cosine 0.9999 to 0.999) buys nothing."""


class NoSuchDevice(ModelError):
    """The device or the arithmetic that was asked for does not exist here."""

    code = "no_such_device"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model runs, in which arithmetic, and why."""

    device: str
    """`cpu`, `cuda:0`, ..."""
    dtype: str
    """`float32` or `bfloat16`."""
    reason: str
    """One line for a person."""
    workers: int = 1
    """Threads that each run a part of a batch; 1 on a GPU."""

    @property
    def torch_dtype(self) -> torch.dtype:
        import torch

        return getattr(torch, self.dtype)


@dataclass(frozen=True, slots=True)
class MatmulSpeed:
    """What one thread of this CPU does, GFLOP/s."""

    float32: float
    bfloat16: float


def place(device: str | None = None, dtype: str | None = None) -> Placement:
    """The best placement, or the one asked for. Raises NoSuchDevice for a device or dtype that is not here."""
    if dtype is not None and dtype not in DTYPES:
        raise NoSuchDevice(f"unknown arithmetic {dtype!r}: use one of {', '.join(DTYPES)}")
    name, why = _device(device)
    if name != "cpu":
        import torch

        native = torch.cuda.is_bf16_supported(including_emulation=False)
        because = "bfloat16, which it computes natively" if native else "float32, because it has no native bfloat16"
        told = because if dtype is None else f"{dtype} was asked for"
        return Placement(name, dtype or ("bfloat16" if native else "float32"), f"{why}; {told}")
    workers = cpu_count()
    if dtype is not None:
        return Placement(name, dtype, f"{why}; {dtype} was asked for", workers)
    speed = matmul_speed()
    ratio = speed.bfloat16 / speed.float32
    best = "bfloat16" if ratio >= WORTHWHILE else "float32"
    compared = f"{ratio:.1f}x as fast as" if ratio >= 0.1 else f"{1 / ratio:.0f}x slower than"
    return Placement(name, best, f"{why}; {best}, because bfloat16 is {compared} float32 on this CPU", workers)


def _device(asked: str | None) -> tuple[str, str]:
    if asked == "cpu":
        return "cpu", "the CPU was asked for"
    import torch

    if asked in (None, "auto"):
        if torch.cuda.is_available():
            return "cuda:0", f"{torch.cuda.get_device_name(0)}"
        return "cpu", "no GPU that torch can use"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise NoSuchDevice(f"unknown device {asked!r}: use cpu, cuda or cuda:N") from error
    if device.type == "cpu":
        return "cpu", "the CPU was asked for"
    if device.type != "cuda":
        raise NoSuchDevice(f"unknown device {asked!r}: use cpu, cuda or cuda:N")
    count, index = torch.cuda.device_count(), device.index or 0
    if index >= count:
        raise NoSuchDevice(f"{asked} was asked for, but torch sees {count} GPUs: check the driver, or use cpu")
    return f"cuda:{index}", f"{asked} was asked for"


def cpu_count() -> int:
    """Cores that this process may use: its affinity mask, and the container's quota where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: the mask is all there is
    return cores


@functools.cache
def matmul_speed() -> MatmulSpeed:
    """Measured once per process, on one thread and in its own time, so that a busy machine gives the same answer.

    Takes about 20 ms of CPU, wherever bfloat16 is emulated 100 ms.
    """
    with ThreadPoolExecutor(1, initializer=_single_threaded) as thread:
        return thread.submit(_measure).result()


def _measure() -> MatmulSpeed:
    # A product so small that 100x slower is still 10 ms; only a promising bfloat16 is measured at a model's own size.
    import torch

    dtypes = [getattr(torch, name) for name in DTYPES]
    speeds = [_gflops(dtype, (64, 256, 256)) for dtype in dtypes]
    if speeds[1] > speeds[0] / 3:
        speeds = [_gflops(dtype, (256, 768, 768)) for dtype in dtypes]
    return MatmulSpeed(*speeds)


def _gflops(dtype: torch.dtype, shape: tuple[int, int, int], repeats: int = 7, limit_s: float = 0.05) -> float:
    import torch

    m, k, n = shape
    with torch.inference_mode():
        a, b = torch.ones(m, k, dtype=dtype), torch.ones(n, k, dtype=dtype)
        torch.nn.functional.linear(a, b)
        best, began = math.inf, time.thread_time()
        for _ in range(repeats):
            start = time.thread_time()
            torch.nn.functional.linear(a, b)
            now = time.thread_time()
            best = min(best, now - start)
            if now - began > limit_s:
                break
    return 2 * m * k * n / best / 1e9


def _single_threaded() -> None:
    import torch

    # A setting of the calling thread: the rest of the process keeps its own.
    torch.set_num_threads(1)


def moved(frames: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor, there. From the CPU to a GPU the copy is under way when this returns: from pinned memory, which torch
    keeps until it is done. The other way it is done, for nobody on the CPU would wait for it."""
    if device.type == "cuda" and frames.device.type == "cpu":
        return frames.pin_memory().to(device, non_blocking=True)
    return frames.to(device)


class Workers:
    """Threads that run parts of a batch, each part on one core.

    Two cores on half a batch each beat both cores on every layer: there is no barrier after each layer, at which the
    faster core waits. Where the cores are shared with decoding the difference is twofold.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="encode", initializer=_single_threaded)

    def map(self, function: Callable[[torch.Tensor], T], parts: Sequence[torch.Tensor]) -> list[T]:
        """`function` of every part, in order; an exception of any part is raised. Safe from several threads."""
        return list(self._pool.map(function, parts))


def split(count: int, workers: int, most: int) -> list[int]:
    """Sizes of the parts of a batch: at most `most`, as equal as can be, and a multiple of `workers` in number.

    >>> split(32, 2, 8), split(9, 2, 8), split(3, 2, 8)
    ([8, 8, 8, 8], [5, 4], [2, 1])
    """
    parts = -(-count // (most * workers)) * workers
    parts = max(1, min(parts, count))
    return [count // parts + (1 if index < count % parts else 0) for index in range(parts)]
