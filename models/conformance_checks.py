"""The checks of `models.conformance`, in the order in which they are done: `CHECKS` is the list to read."""

from __future__ import annotations

import gc
import inspect
import os
import time
from functools import partial
from typing import Any

import numpy as np

from models.answers import LENGTH_TOLERANCE
from models.catalog import is_encoder
from models.conformance import Check, Failed, Skipped, Subject, at_once
from models.conformance_untouched import untouched
from models.custom import told
from models.declared import require_declared
from models.descendants import own_memory
from models.errors import ModelError
from models.made_again import FIELDS, in_another_process

SIZES = {"tiny": (8, 8), "odd": (33, 47), "16:9": (180, 320), "9:16": (320, 180)}
"""(height, width) of frames, pixels."""

COUNTS = (1, 2, 7)

THREADS = 8

MEMORY_RUNS, MEMORY_S, MEMORY_SLACK_MIB = 50, 20.0, 24
"""Runs while the memory is watched (fewer where they take longer than that), and by how much it may grow: what they are
shown is more than that altogether."""

SPEED_S = 1.0

TEXTS = ["a dog", "", "a red circle on a green square " * 40]


def declared(subject: Subject) -> str:
    """See `CHECKS`, as of all that follow."""
    try:
        require_declared(subject.model, "it")
    except ModelError as error:
        raise Failed(str(error).removeprefix("it: ")) from None
    info = subject.info
    return f"{info.kind}, {info.dim} columns, space {info.space}, {info.dtype} on {info.device}"


def example(subject: Subject) -> str:
    if not hasattr(subject.model, "example"):
        raise Skipped("it has no `example()`: what a head has to be shown, only that can tell")
    seen = subject.model.example()
    shape = list(np.shape(seen))
    if subject.looks_at_frames:
        if len(shape) != 4 or shape[3] != 3 or not str(seen.dtype).endswith("uint8"):
            raise Failed(f"example() is {shape} of {seen.dtype}, not uint8 [N, H, W, 3]")
        if not 1 <= shape[0] <= 16 or max(shape[1:3]) > 1024:
            raise Failed(
                f"example() is {shape}; it is computed every few seconds: 1 to 16 frames of 1024 pixels at most"
            )
    else:
        if len(shape) != 2 or seen.dtype != np.float32 or not 1 <= shape[0] <= 16:
            raise Failed(f"example() is {shape} of {seen.dtype}, not float32 [N, D] with N from 1 to 16")
        if np.abs(np.linalg.norm(seen, axis=1) - 1.0).max() > LENGTH_TOLERANCE:
            raise Failed("the vectors of example() are not of length 1")
    if not np.isfinite(subject.answer(seen, subject.model.run(seen))).all():
        raise Failed("the answer to example() holds no numbers")
    return f"{shape} is answered"


def empty(subject: Subject) -> str:
    subject.rows(subject.shown(0))
    return f"no frames, an answer of [0, {subject.info.dim}]"


def shapes(subject: Subject) -> str:
    sizes = SIZES if subject.looks_at_frames else {"vectors": (1, 1)}
    for size, (height, width) in sizes.items():
        for count in COUNTS:
            try:
                subject.rows(subject.shown(count, height, width))
            except Skipped:
                raise
            except Exception as error:
                what = f"frames, {height} x {width} ({size})" if subject.looks_at_frames else "vectors"
                raise Failed(f"{count} {what}: {told(error)}") from error
    return f"{', '.join(sizes)}; {', '.join(map(str, COUNTS))} at a time"


def dtype(subject: Subject) -> str:
    rows = subject.model.run(subject.shown(2))
    if not isinstance(rows, np.ndarray):
        raise Failed(f"it gives a {type(rows).__module__}.{type(rows).__name__}, not a numpy array")
    if rows.dtype != np.float32:
        raise Failed(f"it gives {rows.dtype}, not float32")
    return "a numpy array of float32"


def finite(subject: Subject) -> str:
    for what, seen in _contents(subject).items():
        if not np.isfinite(subject.rows(seen)).all():
            raise Failed(f"{what}: an answer that holds no numbers")
    return ", ".join(_contents(subject))


def bounds(subject: Subject) -> str:
    kind = subject.info.kind
    if kind == "measurement":
        raise Skipped("a measurement may have any value")
    for what, seen in _contents(subject).items():
        rows = subject.rows(seen)
        rows = rows[np.isfinite(rows).all(1)]  # others are the check before this one's
        if kind == "scores" and len(rows) and not (rows.min() >= 0.0 and rows.max() <= 1.0):
            raise Failed(f"{what}: scores from {rows.min():g} to {rows.max():g}, not from 0 to 1")
        if kind == "embedding":
            lengths = np.linalg.norm(rows, axis=1)
            if np.abs(lengths - 1.0).max(initial=0.0) > LENGTH_TOLERANCE:
                raise Failed(f"{what}: vectors of length {lengths.min():.3g} to {lengths.max():.3g}, not 1")
    return "from 0 to 1" if kind == "scores" else "of length 1"


def deterministic(subject: Subject) -> str:
    seen = subject.shown(5)
    return subject.require_alike(subject.rows(seen), subject.rows(seen), "two answers to the same")


def batches(subject: Subject) -> str:
    seen = subject.shown(7)
    parts = [subject.rows(part) for part in (seen[:1], seen[1:3], seen[3:])]
    return subject.require_alike(np.concatenate(parts), subject.rows(seen), "7 at once and in parts")


def order(subject: Subject) -> str:
    seen = subject.shown(6)
    places = np.array([3, 0, 5, 1, 4, 2])
    return subject.require_alike(subject.rows(seen[places]), subject.rows(seen)[places], "rows in another order")


def stages(subject: Subject) -> str:
    if not subject.looks_at_frames:
        raise Skipped("a head has one stage")
    seen, model = subject.shown(5), subject.model
    parts = [model.preprocess(seen[:2].copy()), model.preprocess(seen[2:].copy())]
    if isinstance(parts[0], np.ndarray):
        joined: Any = np.concatenate(parts)
    else:
        import torch

        joined = torch.cat(parts)
    if len(joined) != 5:
        raise Failed(f"preprocess gives {len(joined)} rows for 5 frames")
    rows = subject.answer(seen, model.encode(joined))
    return subject.require_alike(rows, subject.rows(seen), "encode(preprocess(...)) and run(...)")


def threads(subject: Subject) -> str:
    each = [subject.shown(count) for count in range(2, 2 + THREADS)]
    expected = [subject.rows(seen) for seen in each]
    for _ in range(2):
        answers = at_once([partial(subject.rows, seen) for seen in each])
        line = subject.require_alike(np.concatenate(answers), np.concatenate(expected), f"{THREADS} threads and one")
    return line


def memory(subject: Subject) -> str:
    seen = subject.shown(4, 360, 640) if subject.looks_at_frames else subject.shown(4096)
    for _ in range(5):
        subject.rows(seen)
    gc.collect()
    before = own_memory(os.getpid())
    if before is None:
        raise Skipped("the memory of a process is not told here (no /proc)")
    began, runs = time.perf_counter(), 0
    while runs < MEMORY_RUNS and (runs < 12 or time.perf_counter() - began < MEMORY_S):
        subject.rows(seen)
        runs += 1
    gc.collect()
    grown = ((own_memory(os.getpid()) or before) - before) / 2**20
    if grown > MEMORY_SLACK_MIB:
        raise Failed(f"{grown:.0f} MiB more after {runs} runs, {MEMORY_SLACK_MIB} are allowed: does it keep something?")
    return f"{max(grown, 0):.0f} MiB more after {runs} runs"


def arrays(subject: Subject) -> str:
    if not subject.looks_at_frames:
        raise Skipped("a head is given numpy arrays only")
    import torch

    seen = subject.shown(3)
    tensor = torch.from_numpy(seen.copy()).to(subject.info.device)
    rows = subject.answer(seen, subject.model.run(tensor))
    return subject.require_alike(rows, subject.rows(seen), f"tensors on {subject.info.device} and numpy arrays")


def gpu(subject: Subject) -> str:
    if subject.info.device == "cpu":
        raise Skipped("it runs on the CPU")
    if subject.make is None or not {"device", "placement"} & set(inspect.signature(subject.make).parameters):
        raise Skipped("it cannot be made again for the CPU")
    from models.device import place

    takes = inspect.signature(subject.make).parameters
    made: Any = subject.make(**({"device": "cpu"} if "device" in takes else {"placement": place("cpu", "float32")}))
    seen = subject.shown(5)
    apart = float(np.abs(made.run(seen.copy()) - subject.rows(seen)).max())
    if not apart <= 5 * subject.tolerance:
        raise Failed(f"{subject.info.device} ({subject.info.dtype}) and the CPU differ by {apart:.2g}")
    return f"{subject.info.device} and the CPU differ by {apart:.1g} at most"


def texts(subject: Subject) -> str:
    if not is_encoder(subject.model):
        raise Skipped("it is no encoder")
    embed = subject.model.embed_text
    rows = np.asarray(embed(TEXTS))
    if rows.shape != (len(TEXTS), subject.info.dim) or rows.dtype != np.float32:
        raise Failed(f"{list(rows.shape)} of {rows.dtype} for {len(TEXTS)} texts, not float32 [3, {subject.info.dim}]")
    if not np.abs(np.linalg.norm(rows, axis=1) - 1.0).max() <= LENGTH_TOLERANCE:
        raise Failed("vectors of texts that are not of length 1")
    if np.shape(embed([])) != (0, subject.info.dim):
        raise Failed(f"{list(np.shape(embed([])))} for no texts")
    one_by_one = np.concatenate([embed([text]) for text in TEXTS])
    return subject.require_alike(one_by_one, rows, "texts at once and one by one")


def space(subject: Subject) -> str:
    if subject.make is None:
        raise Skipped("it cannot be made again")
    first = {field: str(getattr(subject.info, field)) for field in FIELDS}
    again = subject.make().info
    _require_same(first, {field: str(getattr(again, field)) for field in FIELDS}, "loaded again")
    try:
        elsewhere = in_another_process(subject.make)
    except ValueError as error:
        raise Failed(f"it cannot be made in another process: {error}") from error
    if elsewhere is None:
        return f"{again.space} twice, in this process (what makes it can be called in no other)"
    _require_same(first, elsewhere, "in another process")
    return f"{again.space} twice, and in another process"


def _require_same(first: dict[str, str], again: dict[str, str], where: str) -> None:
    for field, value in first.items():
        if again[field] != value:
            raise Failed(f"info.{field} was {value}, {where} it is {again[field]}")


def speed(subject: Subject) -> str:
    seen = subject.shown(8, 360, 640) if subject.looks_at_frames else subject.shown(1024)
    subject.rows(seen)
    began, runs = time.perf_counter(), 0
    while time.perf_counter() - began < SPEED_S:
        subject.rows(seen)
        runs += 1
    rate = runs * len(seen) / (time.perf_counter() - began)
    return f"{rate:,.0f} frames/s of 640 x 360, 8 at a time" if subject.looks_at_frames else f"{rate:,.0f} vectors/s"


def _contents(subject: Subject) -> dict[str, np.ndarray]:
    """What is hard on arithmetic: nothing to see, everything alike."""
    if not subject.looks_at_frames:
        return {"vectors": subject.shown(16), "one axis": np.eye(1, subject.width, dtype=np.float32)}
    colours = {"black": (0, 0, 0), "white": (255, 255, 255), "one colour": (200, 30, 60)}
    flat = {what: np.full((2, 90, 160, 3), colour, np.uint8) for what, colour in colours.items()}
    return {"noise": subject.shown(3), **flat}


CHECKS: tuple[Check, ...] = (
    Check("declared", "what it says of itself holds together", declared),
    Check("example", "it has an example, and answers to it", example),
    Check("empty", "no frames give no rows", empty),
    Check("shapes", "as many rows as frames, of any size and number", shapes),
    Check("dtype", "it gives numpy arrays of float32", dtype),
    Check("finite", "it gives numbers, also where there is nothing to see", finite),
    Check("bounds", "scores are from 0 to 1, embeddings of length 1", bounds),
    Check("deterministic", "the same twice gives the same twice", deterministic),
    Check("batches", "a row does not depend on what else is in its batch", batches),
    Check("order", "rows are in the order of the frames", order),
    Check("stages", "encode of joined preprocess is run", stages),
    Check("untouched", "it neither changes nor keeps what it is shown", untouched),
    Check("threads", "several threads may use it at once", threads),
    Check("memory", "it does not grow", memory),
    Check("arrays", "tensors and numpy arrays give the same", arrays),
    Check("gpu", "a GPU and the CPU give the same", gpu),
    Check("texts", "of an encoder: texts are vectors of its space", texts),
    Check("space", "its space is the same when it is loaded again, and in another process", space),
    Check("speed", "told only", speed),
)
