"""What a frame looks like, as one vector: two frames that show the same picture are near, whatever they mean.

Made of what `models.frame_stats` measured anyway, so that it costs nothing to have and does not change with the model:
a library's copies stay known when its embeddings are replaced. Half of it says where colours lie, by the lower
frequencies of the colour layout (as the MPEG-7 colour layout descriptor, ISO/IEC 15938-3); half of it says how much of
which colours and edges there is, wherever it lies, which a crop and a logo change little.
"""

import functools

import numpy as np

from models import frame_columns
from models.base import space_id

_LUMA = np.array([0.299, 0.587, 0.114])
_SIDE = frame_columns.LAYOUT_SIDE

_FINEST = {"luma": 7, "colour": 5}
"""Highest sum of the two frequencies that is kept: above, a crop of 10 % leaves nothing in place."""

_HISTOGRAM_SHARE = 0.7
"""Length of the part that says how much there is, over that of the part that says where."""

FLAT = 0.012
"""Standard deviation (0-0.5) of luma, and of each colour over the tiles of the layout, below which a frame is black,
white or blank: nothing to tell it by."""

VERSION = "1"


@functools.cache
def _kept(finest: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of the [8, 8] frequencies are kept, and what they weigh: pictures have the less of one the higher it is."""
    frequency = np.add.outer(np.arange(_SIDE), np.arange(_SIDE))
    kept = (frequency > 0) & (frequency <= finest)
    return kept, frequency[kept].astype(np.float64)


@functools.cache
def _transform() -> np.ndarray:
    """The orthonormal DCT-II of 8 values, float64 [8, 8]."""
    frequency, place = np.arange(_SIDE)[:, None], np.arange(_SIDE)[None]
    matrix = np.cos(np.pi * (place + 0.5) * frequency / _SIDE) * np.sqrt(2.0 / _SIDE)
    matrix[0] /= np.sqrt(2.0)
    return matrix


DIM = int(_kept(_FINEST["luma"])[0].sum() + 2 * _kept(_FINEST["colour"])[0].sum()) + (
    frame_columns.LOOKS.stop - frame_columns.LOOKS.start
)
"""Columns of `looks`."""

SPACE = space_id(architecture="looks", weights=VERSION, preprocessing="frame_stats 1", dim=DIM)
"""Vectors of another space are not to be compared with these."""


def looks(stats: np.ndarray) -> np.ndarray:
    """What frames look like.

    Args:
        stats: float32 [N, len(frame_columns.COLUMNS)], from `models.frame_stats`.

    Returns:
        float32 [N, DIM], L2-normalised; zeros for a frame that is flat, see `FLAT`.
    """
    layout = stats[:, frame_columns.LAYOUT].reshape(-1, _SIDE, _SIDE, 3).astype(np.float64)
    luma = layout @ _LUMA
    where = np.concatenate(
        [
            _frequencies(luma, _FINEST["luma"]),
            _frequencies(layout[..., 2] - luma, _FINEST["colour"]),
            _frequencies(layout[..., 0] - luma, _FINEST["colour"]),
        ],
        axis=1,
    )
    what = stats[:, frame_columns.LOOKS].astype(np.float64)
    both = np.concatenate([_unit(where), _HISTOGRAM_SHARE * _unit(what)], axis=1)
    tells = (frame_columns.column(stats, "contrast") > FLAT) | (layout.std(axis=(1, 2)).max(axis=1) > FLAT)
    return np.where(tells[:, None], _unit(both), 0.0).astype(np.float32)


def _frequencies(plane: np.ndarray, finest: int) -> np.ndarray:
    """float64 [N, 8, 8] -> float64 [N, kept frequencies], weighted so that all say about as much."""
    kept, weights = _kept(finest)
    return (_transform() @ plane @ _transform().T)[:, kept] * weights


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
