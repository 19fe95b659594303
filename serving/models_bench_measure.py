"""How fast models are, taking turns: whatever else the machine does meanwhile meets all of them."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import InvalidSpec
from pipeline.record import Record
from serving.models_bench_memory import peak_of, taken_by

if TYPE_CHECKING:
    from models.catalog import Loaded
    from serving.graph.args import ModelConfig

FRAME = (360, 640)
"""Height and width of the frames, pixels."""

TEXTS = 64
"""Texts that are embedded at a time."""

ROUNDS = 3
"""Each model has its turn as often as this at least."""

_TURN_S = 0.05
"""A turn lasts this long at least: clocks and other processes have little part in it."""

Job = Callable[[], object]


class Rate(Record, frozen=True, kw_only=True):
    """How fast a model is. Medians over its turns."""

    batch: int
    """Items at a time."""
    per_s: float
    """Items by wall time, with all cores that the model uses."""
    per_cpu_s: float
    """Items by CPU time."""
    matrix_share: float | None = None
    """Work per CPU second, over the machine's own rate of matrix products on one core; None on a GPU, and where the
    work is not known."""
    peak_bytes: int | None = None
    """Memory in use above what was before, at most; None where the system does not tell."""
    turns: int
    spread: float
    """Slowest turn against the fastest: (fastest - slowest) / median."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A model, with what it took to load it."""

    name: str
    """As it was asked for."""
    loaded: Loaded[Any]
    load_s: float
    memory_bytes: int | None
    """In use since it was loaded; None where the system does not tell."""
    gflop: float | None
    """Of a frame, see `models.inspecting`; None where it is not known."""


def load_measured(config: ModelConfig, name: str) -> Measured:
    """Load a model and see what it takes. What all models need is loaded before, so that the first does not pay for it.

    Raises:
        ModelUnavailable: it cannot be loaded, or does not compute; says why and what to do.
    """
    from models import inspecting
    from models.device import place
    from models.errors import ModelError
    from pipeline.errors import ModelUnavailable
    from serving.beside import prove
    from serving.named_models import load_any

    _load_what_all_need()
    try:
        device = place(config.device).device
    except ModelError as error:
        raise ModelUnavailable(f"{name}: {error}") from error
    began = time.perf_counter()
    loaded, memory_bytes = taken_by(lambda: load_any(config, name), device)
    load_s = time.perf_counter() - began
    prove(name, loaded.model)
    looks_at_frames = loaded.model.info.needs.space is None
    gflop = inspecting.gflop_per_frame(loaded.model) if looks_at_frames else None
    return Measured(name, loaded, load_s, memory_bytes, gflop)


@functools.cache
def _load_what_all_need() -> None:
    """Libraries, and what they keep once they have loaded a first model."""
    from models.catalog import BUNDLED, load

    load(BUNDLED, "cpu")


def image_job(model: Any, batch: int, size: tuple[int, int] = FRAME, width: int | None = None) -> Job:
    """What a model does with a batch of frames: its preprocessing, and the network. Of a head: what it does with as
    many vectors of length `width`."""
    import numpy as np

    rng = np.random.default_rng(0)
    if model.info.needs.space is not None:
        vectors = rng.standard_normal((batch, width or 1)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return lambda: model.run(vectors)
    pixels = rng.integers(0, 256, (batch, *size, 3), dtype=np.uint8)
    return lambda: model.encode(model.preprocess(pixels))


def text_job(model: Any) -> Job:
    """What an encoder does with as many labels."""
    from pipeline import vocabulary

    labels = vocabulary.read("general" if model.known_words is None else "bundled")
    texts = [vocabulary.phrases(label)[0] for label in labels]
    texts = (texts * -(-TEXTS // len(texts)))[:TEXTS]
    return lambda: model.embed_text(texts)


def head_width(measured: Measured, others: Sequence[Measured]) -> int | None:
    """How long the vectors are that a head reads; None of a model that looks at frames.

    Raises:
        InvalidSpec: it does not say, and none of the others gives such vectors.
    """
    model = measured.loaded.model
    space = model.info.needs.space
    if space is None:
        return None
    # The project's own heads say it in their card; of others, it is known of the model that they read.
    givers = (one.loaded.model.info for one in others)
    of_giver = next((info.dim for info in givers if info.kind == "embedding" and info.space == space), None)
    width = getattr(getattr(model, "card", None), "dim", of_giver)
    if width is None:
        raise InvalidSpec(f"{measured.name} reads vectors of the space {space}: name the model that gives them, too")
    return width


def rates(
    jobs: Mapping[str, Job], items: int, seconds: float, measured: Mapping[str, Measured] | None = None
) -> dict[str, Rate]:
    """Run each job in turn, forwards and backwards, until each had `seconds`.

    Args:
        jobs: name -> what it does with `items` items.
        measured: name -> its model, where work and memory are to be told.
    """
    known = measured or {}
    spent: dict[str, list[_Turn]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    number = 0
    while number < ROUNDS or min(sum(turn.wall_s for turn in turns) for turns in spent.values()) < seconds:
        for name in sorted(jobs, reverse=number % 2 == 1):
            device = known[name].loaded.model.info.device if name in known else "cpu"
            spent[name].append(_turn(jobs[name], device))
        number += 1
    return {name: _rate(turns, items, known.get(name)) for name, turns in spent.items()}


@dataclass(frozen=True, slots=True)
class _Turn:
    runs: int
    wall_s: float
    cpu_s: float
    peak_bytes: int | None


def _turn(job: Job, device: str) -> _Turn:
    def run() -> tuple[int, float, float]:
        runs, wall_s, cpu_s = 0, time.perf_counter(), time.process_time()
        while not runs or time.perf_counter() - wall_s < _TURN_S:
            job()
            runs += 1
        return runs, time.perf_counter() - wall_s, time.process_time() - cpu_s

    (runs, wall_s, cpu_s), peak_bytes = peak_of(run, device)
    return _Turn(runs, wall_s, cpu_s, peak_bytes)


def _rate(turns: Sequence[_Turn], items: int, measured: Measured | None) -> Rate:
    wall = [turn.runs * items / turn.wall_s for turn in turns]
    per_cpu_s = statistics.median(turn.runs * items / max(turn.cpu_s, 1e-9) for turn in turns)
    median = statistics.median(wall)
    peaks = [turn.peak_bytes for turn in turns if turn.peak_bytes is not None]
    return Rate(
        batch=items,
        per_s=median,
        per_cpu_s=per_cpu_s,
        matrix_share=None if measured is None else _matrix_share(measured, per_cpu_s),
        peak_bytes=max(peaks) if peaks else None,
        turns=len(turns),
        spread=(max(wall) - min(wall)) / median,
    )


def _matrix_share(measured: Measured, per_cpu_s: float) -> float | None:
    from models.device import matmul_speed

    info = measured.loaded.model.info
    if measured.gflop is None or info.device != "cpu":
        return None
    speed = matmul_speed()
    return measured.gflop * per_cpu_s / (speed.bfloat16 if info.dtype == "bfloat16" else speed.float32)
