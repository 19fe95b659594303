"""Watches a video from its start to its end in blocks of bounded length, and finds its shots on the way.

Thumbnails of every picture that is decoded anyway are kept for one block only, so memory does not grow with duration.
While one block's shots are refined, the next block is already being decoded.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.dispatch import Gathered, gather
from pipeline.engine import Engine
from pipeline.packets import PacketIndex
from pipeline.report import Shot

#: Length of a block, seconds.
BLOCK_S = 120.0


@dataclass(frozen=True, slots=True)
class Scan:
    """What was seen of a whole video."""

    pts_s: np.ndarray
    """float64 [N], times of the sampled frames, seconds."""
    arrays: dict[str, np.ndarray]
    """Model name -> float32 [N, D]."""
    missing: np.ndarray
    """int64 [M], wanted rows that could not be decoded."""
    shots: tuple[Shot, ...]
    packets: int
    packets_shots: int
    decode_s: float
    preprocess_s: float
    infer_s: float
    analyse_s: float
    """Seconds spent on finding shots in what was decoded."""


async def scan(
    path: str | os.PathLike[str],
    index: PacketIndex,
    wanted: np.ndarray,
    engine: Engine,
    *,
    rotation_deg: int,
    shots: bool,
    progress: Callable[[int, int], None],
) -> Scan:
    """Run the wanted rows (int64 [W], in time order) through the engine, and find shots if `shots`.

    Raises:
        VideoError: as `gather`.
    """
    parts: list[Gathered] = []
    done = 0
    for block in blocks(index, wanted):
        part = await gather(
            path,
            index,
            block,
            engine,
            rotation_deg=rotation_deg,
            glimpse=shots,
            progress=lambda now, total, before=done: progress(before + now, len(wanted)),
        )
        done += len(block)
        parts.append(part)
    names = next((part.arrays for part in parts if part.arrays), {})
    return Scan(
        pts_s=np.concatenate([part.pts_s for part in parts]),
        arrays={name: np.concatenate([part.arrays[name] for part in parts if part.arrays]) for name in names},
        missing=np.concatenate([part.missing for part in parts]),
        shots=(),
        packets=sum(part.packets for part in parts),
        packets_shots=0,
        decode_s=sum(part.decode_s for part in parts),
        preprocess_s=sum(part.preprocess_s for part in parts),
        infer_s=sum(part.infer_s for part in parts),
        analyse_s=0.0,
    )


def blocks(index: PacketIndex, wanted: np.ndarray) -> list[np.ndarray]:
    """The wanted rows in runs of about `BLOCK_S` seconds that begin where decoding can: no group is decoded twice."""
    group = np.searchsorted(np.flatnonzero(index.entry), wanted, side="right")
    number = (index.times_s[wanted] // BLOCK_S).astype(np.int64)
    # A group belongs to the block of its first wanted frame.
    first = np.concatenate(([True], group[1:] != group[:-1]))
    number = np.maximum.accumulate(np.where(first, number, 0))
    return np.split(wanted, np.flatnonzero(np.diff(number)) + 1)
