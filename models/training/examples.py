"""What a head is learnt from: frames of examples, and what is known of each label in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

SHOWN, UNKNOWN, REJECTED, OTHER = 1, 0, -1, -2
"""Of a label in a frame: it was accepted there; nothing is known; it was rejected there; nothing was said of it, but
another label was accepted."""

NOBODY: Final = -1
"""The example of a label of which nothing is known."""


class BadExamples(ValueError):
    """Too little, or nothing, to learn from. The message says what to give."""


@dataclass(frozen=True, slots=True, repr=False)
class Examples:
    """Frames of examples, N of them, and what is known of L labels in each."""

    labels: tuple[str, ...]
    vectors: np.ndarray
    """float32 [N, D], of length 1."""
    truth: np.ndarray
    """int8 [N, L]: `SHOWN`, `UNKNOWN`, `REJECTED` or `OTHER`."""
    example: np.ndarray
    """int64 [N, L], the example by which that is known; `NOBODY` where nothing is."""
    video: np.ndarray
    """int64 [N], the video that it is of."""

    def __post_init__(self) -> None:
        shape = (len(self.vectors), len(self.labels))
        if self.truth.shape != shape or self.example.shape != shape or self.video.shape != shape[:1]:
            raise ValueError(f"{self!r}: shapes disagree")

    def __repr__(self) -> str:
        return f"Examples(labels={len(self.labels)}, vectors={self.vectors.shape})"
