"""How much memory something takes: what is resident of this process, and on a GPU what torch has there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_CLEAR_PEAK = "5"
"""Written to /proc/self/clear_refs, it makes the peak what is resident now (proc_pid_clear_refs(5))."""


def taken_by(work: Callable[[], T], device: str = "cpu") -> tuple[T, int | None]:
    """Do it, and how much more is in use afterwards, bytes; None where the system does not tell.

    Args:
        device: where it uses memory.
    """
    from pipeline.allocator import free_memory

    free_memory()
    before = _in_use(device)
    done = work()
    free_memory()
    after = _in_use(device)
    return done, None if before is None or after is None else max(0, after - before)


def peak_of(work: Callable[[], T], device: str = "cpu") -> tuple[T, int | None]:
    """Do it, and how much more was in use meanwhile, at most, bytes; None where the system does not tell."""
    before = _in_use(device)
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        done = work()
        return done, torch.cuda.max_memory_allocated(device) - (before or 0)
    told = _forget_peak()
    done = work()
    peak = _status("VmHWM") if told else None
    return done, None if before is None or peak is None else max(0, peak - before)


def _in_use(device: str) -> int | None:
    if device == "cpu":
        return _status("VmRSS")
    import torch

    return torch.cuda.memory_allocated(device)


def _forget_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _status(field: str) -> int | None:
    """A field of /proc/self/status, bytes. None where there is no such file."""
    try:
        text = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    line = next((line for line in text.splitlines() if line.startswith(f"{field}:")), None)
    return None if line is None else int(line.split()[1]) * 1024
