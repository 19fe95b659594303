"""Shots, coarse to fine: cheap hints first, full rate only around them.

    rows = first_rows(index, wanted)                  what to decode along with the sampled pictures
    seen = Seen(...)                                  thumbnails of all that came out
    for number in range(ROUNDS):
        rows = more_rows(index, seen, number)         what is still open; none: done
        seen = seen.joined(...)
    shots(boundaries(seen), index.duration_s)

`find` is this loop; a caller that decodes asynchronously writes its own.
"""

from collections.abc import Callable

import numpy as np

from pipeline.frames import Strip
from pipeline.packets import PacketIndex
from pipeline.report import Shot
from pipeline.shots.looking import ROUNDS, first_rows, more_rows, suspects
from pipeline.shots.seen import Seen
from pipeline.shots.timeline import SOURCE, Boundary, boundaries, shots

__all__ = [
    "ROUNDS",
    "SOURCE",
    "Boundary",
    "Seen",
    "boundaries",
    "find",
    "first_rows",
    "more_rows",
    "shots",
    "suspects",
]

Glimpse = Callable[[np.ndarray], Strip]
"""Rows of the packet index (int64 [R]) -> thumbnails of them and of every other picture that came out on the way."""


def find(index: PacketIndex, coarse: Strip, glimpse: Glimpse) -> tuple[Shot, ...]:
    """The shots of a video of which `coarse` has been seen; more is had through `glimpse` where it is needed."""
    seen = Seen(coarse)
    for number in range(ROUNDS):
        rows = more_rows(index, seen, number)
        if not len(rows):
            break
        seen = seen.joined(glimpse(rows))
    return shots(boundaries(seen), index.duration_s)
