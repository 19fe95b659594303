"""torch.compile and CUDA graphs, used where they pay and say so: whether they do differs by network, device and batch.

    function, found = compiling.compiled(function, example)
    found.used, found.said      # False, "no faster: 101 ms a batch of 32, 99 ms as it was; took 41 s"

On a GPU the compiled function is also recorded once as a CUDA graph for batches of the example's size, which spares the
CPU the launch of each kernel. Batches of other sizes go through the function as it was: each would be compiled anew.
What does not compile, computes something else or is no faster is not used, and the reason is told.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from models.memory import out_of_memory

Function = Callable[[torch.Tensor], torch.Tensor]

GAIN: Final = 1.05
"""How many times as fast it has to be: less is noise, and the wait for the compiler is sure."""

COSINE: Final = 0.9995
"""How alike each row has to be to what the function gave before: the compiler may round elsewhere, and no more."""

_ROUNDS: Final = 7


@dataclass(frozen=True, slots=True)
class Compilation:
    """What came of it."""

    used: bool
    said: str
    """One line for a person, with the figures."""
    eager_s: float | None = None
    """A batch as it was, seconds; None where it did not come to that."""
    compiled_s: float | None = None
    setup_s: float = 0.0
    """What compiling took, seconds."""


def compiled(
    function: Function,
    example: torch.Tensor,
    *,
    gain: float = GAIN,
    compile: Callable[[Function], Function] | None = None,
) -> tuple[Function, Compilation]:
    """`function`, or what is faster and gives the same.

    Args:
        function: [N, ...] -> [N, D], rows of length 1; any N.
        example: what it will be given, in the batch size that matters most.
        gain: see `GAIN`.
        compile: what compiles; None: torch's.
    """
    began = time.perf_counter()
    try:
        made = _made(function, example, compile or _torch_compile)
        wanted, given = function(example), made(example)
    except Exception as error:
        # A compiler raises whatever it likes; the model runs without it.
        if out_of_memory(error):
            raise
        said = str(error).strip().partition("\n")[0][:200]
        setup_s = time.perf_counter() - began
        return function, Compilation(False, f"cannot be compiled: {type(error).__name__}: {said}", setup_s=setup_s)
    setup_s = time.perf_counter() - began
    alike = float(torch.nn.functional.cosine_similarity(wanted.float(), given.float()).min())
    if not alike >= COSINE:
        return function, Compilation(False, f"computes something else: cosine {alike:.4f}", setup_s=setup_s)
    eager_s, compiled_s = _in_turns(function, made, example)
    ratio = eager_s / compiled_s
    figures = f"{compiled_s * 1e3:.1f} ms a batch of {len(example)}, {eager_s * 1e3:.1f} ms as it was"
    told = f"{ratio:.2f}x as fast" if ratio >= gain else "no faster"
    said = f"{told}: {figures}; took {setup_s:.0f} s"
    used = ratio >= gain
    return made if used else function, Compilation(used, said, eager_s, compiled_s, setup_s)


def _torch_compile(function: Function) -> Function:
    from torch._inductor import config

    # Its pool of compiling processes would stay for as long as this one does.
    config.compile_threads = 1
    return torch.compile(function, dynamic=False)


def _made(function: Function, example: torch.Tensor, compile: Callable[[Function], Function]) -> Function:
    fast = compile(function)
    fast(example)
    if example.device.type != "cuda":
        return _OneSize(fast, function, example)
    return Recorded(fast, function, example)


class _OneSize:
    """The compiled function for batches of one size, and the plain one for others: each size would be compiled anew."""

    def __init__(self, fast: Function, plain: Function, example: torch.Tensor) -> None:
        self._fast, self._plain, self._shape = fast, plain, example.shape

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return (self._fast if x.shape == self._shape else self._plain)(x)


class Recorded:
    """A function on a GPU as a CUDA graph, for batches of one size; others go through the plain one. May be called from
    several threads."""

    def __init__(self, fast: Function, plain: Function, example: torch.Tensor) -> None:
        self._plain = plain
        self._seen = example.clone()
        self._lock = threading.Lock()
        aside = torch.cuda.Stream(example.device)
        aside.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.stream(aside):
            # What is set up in the first calls cannot be recorded.
            for _ in range(3):
                fast(self._seen)
        torch.cuda.current_stream(example.device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the GPU meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._rows = fast(self._seen)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape != self._seen.shape or x.dtype != self._seen.dtype:
            return self._plain(x)
        with self._lock:
            self._seen.copy_(x)
            self._graph.replay()
            rows = self._rows.clone()
            # The next one may come on another stream, and would overwrite what is still being read.
            torch.cuda.current_stream(x.device).synchronize()
            return rows


def _in_turns(first: Function, second: Function, x: torch.Tensor) -> tuple[float, float]:
    """Medians of a batch each, seconds, taken in turns."""
    took: tuple[list[float], list[float]] = ([], [])
    for turn in range(_ROUNDS):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            began = time.perf_counter()
            (first, second)[which](x)
            if x.device.type == "cuda":
                torch.cuda.synchronize(x.device)
            took[which].append(max(time.perf_counter() - began, math.ulp(1.0)))
    return statistics.median(took[0]), statistics.median(took[1])
