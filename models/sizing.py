"""How many frames a model should be given at once: found out by trying, once for each model and machine.

    sizing.size(model).batch_size      # 8, after two seconds; the next time at once, from the cache

Measured is `encode` alone, on the model's own example. A size is as good as another where it reaches 95 % of its
images per second; the smallest of these is taken, because it has the shortest wait and needs the least memory.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.base import FrameModel
from models.memory import out_of_memory

_LOG = logging.getLogger(__name__)

MOST: Final = 256
"""No larger batch is tried."""

LIMIT_S: Final = 2.0
"""How long trying may take, seconds. What a size takes is foreseen from the one before; only the first, and one that
takes much longer than foreseen, can take longer."""

GOOD: Final = 0.95
"""Of the best rate: from here on a size is as good as the best."""

_REPEATS: Final = 3
"""Of a size, of which the quickest counts."""

_VERSION: Final = 1
"""Of the entries in the cache."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """What was found out."""

    batch_size: int
    """Most frames to give at once."""
    images_per_s: dict[int, float]
    """Batch size -> rate, of those that were tried."""
    ended: str
    """Why no larger one was tried: `most`, `time`, `memory`, or `flat` where two in a row were no better."""


_known: dict[str, Sizing] = {}
_lock = threading.Lock()


def size(model: FrameModel, *, folder: Path | None = None, limit_s: float = LIMIT_S) -> Sizing:
    """The batch size of a model on this machine, from memory, from the disk, or measured now.

    Args:
        folder: where figures are kept; None: `cache_folder()`. One that cannot be read or written is told in the log,
            and measured around.
        limit_s: see `LIMIT_S`.
    """
    key = identity(model)
    file = (folder or cache_folder()) / "batch-sizes" / f"{key}.json"
    # One at a time: two that measure at once measure each other.
    with _lock:
        found = _known.get(key) or _read(file)
        if found is None:
            found = measure(model, limit_s=limit_s)
            _write(file, found)
            rates = ", ".join(f"{count}: {rate:.1f}/s" for count, rate in found.images_per_s.items())
            _LOG.info("%s: batches of %d (%s; ended by %s)", model.info.name, found.batch_size, rates, found.ended)
        _known[key] = found
        return found


def measure(
    model: FrameModel, *, most: int = MOST, limit_s: float = LIMIT_S, clock: Callable[[], float] = time.perf_counter
) -> Sizing:
    """Try 1, 2, 4, ... frames at once, as far as time, memory and improvement go.

    Raises:
        Exception: whatever the model raises on a single frame.
    """
    example = model.preprocess(model.example())
    began = clock()
    rates: dict[int, float] = {}
    ended, count = "most", 1
    while count <= most:
        if rates and clock() - began + count / rates[count // 2] > limit_s:
            ended = "time"
            break
        frames = example[np.arange(count) % len(example)]
        try:
            took_s = _quickest(model, frames, clock, until=began + limit_s, warm=not rates)
        except Exception as error:
            if not rates or not out_of_memory(error):
                raise
            ended = "memory"
            break
        rates[count] = count / took_s
        if len(rates) > 2 and max(list(rates.values())[-2:]) * GOOD < max(list(rates.values())[:-2]):
            ended = "flat"
            break
        count *= 2
    best = max(rates.values())
    chosen = min(count for count, rate in rates.items() if rate >= GOOD * best)
    return Sizing(chosen, {count: round(rate, 3) for count, rate in rates.items()}, ended)


def _quickest(model: FrameModel, frames: Any, clock: Callable[[], float], *, until: float, warm: bool) -> float:
    """Seconds of the quickest of some runs. `until`: when no other is begun; `warm`: whether one is made before."""
    if warm:
        model.encode(frames)
    best = math.inf
    for _ in range(_REPEATS):
        start = clock()
        model.encode(frames)
        now = clock()
        best = min(best, max(now - start, 1e-9))
        if now + best > until:
            break
    return best


def identity(model: FrameModel) -> str:
    """Of everything that a rate depends on: the network, its arithmetic, what it runs on and by which torch."""
    info = model.info
    parts = (_VERSION, info.space, info.dtype, _device(info.device), _torch(), _cores(), type(model).__qualname__)
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def cache_folder() -> Path:
    """Where figures that can be found out again are kept: `$XDG_CACHE_HOME/automations`, or below `~/.cache`."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "automations"


@cache
def _device(device: str) -> str:
    """What a device is called, so that another one of the same number is another."""
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "flags")))
    return f"{device} {platform.machine()} {next(named, platform.processor())}"


@cache
def _torch() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def _cores() -> int:
    from models.device import cpu_count

    return cpu_count()


def _read(file: Path) -> Sizing | None:
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        rates = {int(count): float(rate) for count, rate in said["images_per_s"].items()}
        found = Sizing(int(said["batch_size"]), rates, str(said["ended"]))
        if not 1 <= found.batch_size <= MOST:
            raise ValueError(f"{found.batch_size = }")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        _LOG.warning("%s is no use and is measured again: %s", file.name, error)
        return None
    return found


def _write(file: Path, found: Sizing) -> None:
    """Whole or not at all: several processes may do so at once."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".part", delete=False) as part:
            json.dump(asdict(found), part)
        os.replace(part.name, file)
    except OSError as error:
        _LOG.warning("batch sizes cannot be kept, and are measured by every process: %s", error)
