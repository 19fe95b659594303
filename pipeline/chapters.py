"""Chapters of a video: stretches between its clearest changes, named after what is in them and less elsewhere."""

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pipeline.report import Report, Shot, Tag

By = Literal["chapters", "segments", "shots"]
"""What a list of chapters is made of: changes that are clear enough, key segments, or every shot."""

#: Chapters at most, and the least that one lasts: seconds, and share of the video.
MOST: Final = 24
_LEAST_S, _LEAST_SHARE = 8.0, 0.02

#: Labels in a name, at most.
_LABELS: Final = 2

#: How clear a border is by what it looks like: gradual changes are made where something begins.
_CLARITY: Final = {"start": 0.0, "cut": 0.0, "dissolve": 0.3, "fade": 0.6}


@dataclass(frozen=True, slots=True)
class Chapter:
    """A stretch and its name."""

    start_s: float
    end_s: float
    title: str
    """Text as labels have it: not escaped for anything."""


def chapters(report: Report, tags: Sequence[Tag], by: By = "chapters") -> tuple[Chapter, ...]:
    """Chapters of a video, earliest first. Key segments may leave gaps; the others leave none.

    Args:
        tags: those that the video has now, whoever said so; categories among them name nothing.
    """
    if by == "segments":
        spans = sorted((one.start_s, one.end_s) for one in report.segments)
        return _named(spans, "Key moment", tags, report.video.duration_s)
    if by == "shots":
        spans = [(one.start_s, one.end_s) for one in report.shots]
        return _named(spans, "Shot", tags, report.video.duration_s)
    duration_s = report.video.duration_s
    borders = _borders(report.shots, tags, duration_s)
    edges = [0.0, *borders, duration_s]
    return _named(list(itertools.pairwise(edges)), "Chapter", tags, duration_s)


def _borders(shots: Sequence[Shot], tags: Sequence[Tag], duration_s: float) -> list[float]:
    """Where chapters begin, without the first: clearest first, as long as none becomes too short."""
    least_s = max(_LEAST_S, _LEAST_SHARE * duration_s)
    here = [_labels(shot.start_s, shot.end_s, tags) for shot in shots]
    clearest = sorted(range(1, len(shots)), key=lambda n: -_clarity(shots[n], here[n - 1], here[n]))
    taken = [0.0, duration_s]
    for number in clearest:
        at_s = shots[number].start_s
        place = bisect.bisect_left(taken, at_s)
        if 0 < place < len(taken) and at_s - taken[place - 1] >= least_s and taken[place] - at_s >= least_s:
            taken.insert(place, at_s)
            if len(taken) == MOST + 1:
                break
    return taken[1:-1]


def _clarity(shot: Shot, before: dict[str, float], after: dict[str, float]) -> float:
    """How much changes where a shot begins: what is seen, weighed by how much of it there is, and how."""
    labels = before.keys() | after.keys()
    both = sum(min(before.get(one, 0.0), after.get(one, 0.0)) for one in labels)
    either = sum(max(before.get(one, 0.0), after.get(one, 0.0)) for one in labels)
    differs = 1.0 - both / either if either else 0.0
    return differs + _CLARITY[shot.transition] + 0.1 * shot.score


def _labels(start_s: float, end_s: float, tags: Sequence[Tag]) -> dict[str, float]:
    """Label -> how much of a stretch it holds in, times how sure that is."""
    length_s = max(end_s - start_s, 1e-9)
    found: dict[str, float] = {}
    for tag in tags:
        if tag.kind != "tag" or tag.end_s <= start_s or tag.start_s >= end_s:
            continue
        # A tag's ranges are ascending and apart: those that reach into the stretch are neighbours.
        first = bisect.bisect_right(tag.ranges, start_s, key=lambda one: one.end_s)
        last = bisect.bisect_left(tag.ranges, end_s, key=lambda one: one.start_s)
        held = sum(
            one.score * (min(one.end_s, end_s) - max(one.start_s, start_s)) / length_s for one in tag.ranges[first:last]
        )
        if held > 0:
            # Of several who say the same, the surest.
            found[tag.label] = max(found.get(tag.label, 0.0), held)
    return found


def _named(
    spans: Sequence[tuple[float, float]], word: str, tags: Sequence[Tag], duration_s: float
) -> tuple[Chapter, ...]:
    everywhere = _labels(0.0, duration_s, tags)
    found = []
    for number, (start_s, end_s) in enumerate(spans, 1):
        here = _labels(start_s, end_s, tags)
        # What holds everywhere tells nothing of a part.
        telling = sorted(here, key=lambda one: (everywhere.get(one, 0.0) - 2.0 * here[one], one))
        names = ", ".join(one for one in telling[:_LABELS] if here[one] >= 0.2)
        found.append(Chapter(start_s, end_s, f"{word} {number}: {names}" if names else f"{word} {number}"))
    return tuple(found)
