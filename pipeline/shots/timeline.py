"""From a strip of thumbnails to boundaries, and from boundaries to shots."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.report import Shot, Source
from pipeline.shots import gradual
from pipeline.shots.cuts import jumps
from pipeline.shots.seen import Seen

SOURCE = Source(name="pipeline.shots", version="1")

#: Boundaries nearer to each other are one, seconds: two frames at 24 frames/s.
MIN_SHOT_S = 0.08

#: Cuts this near to a fade belong to it, seconds.
_FADE_MARGIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where one shot ends and the next begins."""

    time_s: float
    """First frame of the new shot for a cut; the middle of a gradual transition."""
    kind: Literal["cut", "dissolve", "fade"]
    length_s: float
    """0 for a cut."""
    score: float
    """0 to 1."""


def boundaries(seen: Seen) -> tuple[Boundary, ...]:
    """Every boundary in what was seen, in time order. Thumbnails may lie at any distances; a cut is placed at the
    first one behind it."""
    if len(seen) < 2:
        return ()
    times_s, tones = seen.times_s, seen.tones
    flat = gradual.flat_pictures(tones)
    fading = gradual.fades(tones, times_s, flat)
    taken = flat.copy()
    for fade in fading:
        taken |= (times_s >= fade.start_s - _FADE_MARGIN_S) & (times_s <= fade.end_s + _FADE_MARGIN_S)
    hard = [j for j in jumps(seen) if not (taken[j.after] or taken[j.after - 1])]

    take = np.zeros(len(times_s), np.int64)
    take[[jump.after for jump in hard]] = 1
    take = np.where(taken, -1, np.cumsum(take))
    blended = gradual.dissolves(tones, times_s, take)

    found = [Boundary(float(times_s[j.after]), "cut", 0.0, j.contrast / (j.contrast + 1)) for j in hard]
    for change in (*(fade for fade in fading if fade.inside), *blended):
        middle_s = (change.start_s + change.end_s) / 2
        found.append(Boundary(middle_s, change.kind, change.end_s - change.start_s, change.score))
    return tuple(sorted(found, key=lambda boundary: boundary.time_s))


def shots(found: tuple[Boundary, ...], duration_s: float) -> tuple[Shot, ...]:
    """Shots between boundaries (in any order): the first starts at 0, the last ends at the duration, without gaps.

    A boundary nearer than `MIN_SHOT_S` to the one before it, or to either end, is left out.
    """
    kept: list[Boundary] = []
    for boundary in sorted(found, key=lambda b: b.time_s):
        previous_s = kept[-1].time_s if kept else 0.0
        if boundary.time_s - previous_s >= MIN_SHOT_S and duration_s - boundary.time_s >= MIN_SHOT_S:
            kept.append(boundary)
    starts = [0.0, *(boundary.time_s for boundary in kept)]
    ends = [*starts[1:], duration_s]
    first = Shot(start_s=0.0, end_s=ends[0], score=1.0, transition="start", source=SOURCE)
    return (
        first,
        *(
            Shot(
                start_s=boundary.time_s,
                end_s=end_s,
                score=boundary.score,
                transition=boundary.kind,
                transition_s=boundary.length_s,
                source=SOURCE,
            )
            for boundary, end_s in zip(kept, ends[1:], strict=True)
        ),
    )
