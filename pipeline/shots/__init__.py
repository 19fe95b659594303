"""Shots, coarse to fine: cheap hints first, full rate only around them.

    hints = Hints(index)
    rows = hints.first_rows(wanted)                   what to decode along with the sampled pictures
    seen = Seen(...)                                  thumbnails of all that came out
    for number in range(ROUNDS):
        rows = hints.more_rows(seen, number)          what is still open; none: done
        seen = seen.joined(...)
    shots(boundaries(seen), index.duration_s)

`find` is this loop; a caller that decodes asynchronously writes its own.
"""

from collections.abc import Callable

import numpy as np

from pipeline.frames import Strip
from pipeline.packets import PacketIndex
from pipeline.report import Shot
from pipeline.shots.looking import ROUNDS, Hints, suspects
from pipeline.shots.seen import Seen
from pipeline.shots.timeline import SOURCE, Boundary, boundaries, shots

__all__ = [
    "ROUNDS",
    "SOURCE",
    "Boundary",
    "Hints",
    "Seen",
    "boundaries",
    "find",
    "shots",
    "suspects",
]

Glimpse = Callable[[np.ndarray], Strip]
"""Rows of the packet index (int64 [R]) -> thumbnails of them and of every other picture that came out on the way."""


def find(index: PacketIndex, coarse: Strip, glimpse: Glimpse) -> tuple[Shot, ...]:
    """The shots of a video of which `coarse` has been seen; more is had through `glimpse` where it is needed."""
    seen, hints = Seen(coarse), Hints(index)
    for number in range(ROUNDS):
        rows = hints.more_rows(seen, number)
        if not len(rows):
            break
        seen = seen.joined(glimpse(rows))
    return shots(boundaries(seen), index.duration_s)
