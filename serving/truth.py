"""What is known to be in a video that we made ourselves, and how a report compares with it.

Used by the demo and the benchmarks. Nothing here judges by eye: the rules are stated where they are applied.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from pipeline.record import Record
from pipeline.report import Report, Segment, Shot, Tag, TagRange

Verdict = Literal["found", "partly", "missed", "extra"]

#: How far a shot's beginning may be from the true one, seconds.
CUT_TOLERANCE_S = 0.25
#: The same for a dissolve or a fade, whose middle is a matter of some opinion.
GRADUAL_TOLERANCE_S = 0.75
#: Share of the shorter of the two by which a segment must overlap an event.
EVENT_OVERLAP = 0.5
#: Time in common over time in either (Jaccard), from which a tag's ranges count as found.
TAG_AGREEMENT = 0.5


class TrueShot(Record, frozen=True, kw_only=True):
    """A shot as it was cut."""

    start_s: float
    """A gradual transition begins its shot in its middle, as in `pipeline.report.Shot`."""
    end_s: float
    transition: str = "cut"
    """How the shot begins: `start`, `cut`, `dissolve` or `fade`."""
    label: str = ""


class TrueEvent(Record, frozen=True, kw_only=True):
    """Something that happens, and that a key segment should show."""

    start_s: float
    end_s: float
    label: str


class TrueTag(Record, frozen=True, kw_only=True):
    """A stretch in which a label holds. A label may have several."""

    label: str
    start_s: float
    end_s: float


class Truth(Record, frozen=True, kw_only=True):
    """All that is known of one video."""

    shots: tuple[TrueShot, ...] = ()
    events: tuple[TrueEvent, ...] = ()
    tags: tuple[TrueTag, ...] = ()


class ShotMatch(Record, frozen=True, kw_only=True):
    """A true shot, a found one, or both."""

    start_s: float
    """Of the true one where there is one."""
    truth: TrueShot | None
    found: Shot | None
    verdict: Verdict


class EventMatch(Record, frozen=True, kw_only=True):
    """A true event, a key segment, or both."""

    start_s: float
    """Of the true one where there is one."""
    truth: TrueEvent | None
    found: Segment | None
    rank: int | None
    """Place of the segment in the report, 1 being the best."""
    overlap: float
    """Time in common over the length of the shorter of the two."""
    verdict: Verdict


class TagMatch(Record, frozen=True, kw_only=True):
    """A label with its true and its found ranges."""

    label: str
    truth: tuple[tuple[float, float], ...]
    """(start_s, end_s), ascending."""
    found: tuple[tuple[float, float], ...]
    agreement: float
    """Time in common over time in either."""
    verdict: Verdict


def match_shots(report: Report, truth: Truth) -> list[ShotMatch]:
    """Shots by where they begin, each used once, nearest pairs first; in time order, without the start of the video."""
    true = [shot for shot in truth.shots if shot.transition != "start" and shot.start_s > 0]
    found = [shot for shot in report.shots if shot.transition != "start"]
    pairs = sorted(
        (abs(t.start_s - f.start_s), i, k)
        for i, t in enumerate(true)
        for k, f in enumerate(found)
        if abs(t.start_s - f.start_s) <= _tolerance_s(t)
    )
    chosen: dict[int, int] = {}
    for _, i, k in pairs:
        if i not in chosen and k not in chosen.values():
            chosen[i] = k
    matches = [
        ShotMatch(
            start_s=t.start_s,
            truth=t,
            found=found[chosen[i]] if i in chosen else None,
            verdict="found" if i in chosen else "missed",
        )
        for i, t in enumerate(true)
    ]
    matches += [
        ShotMatch(start_s=f.start_s, truth=None, found=f, verdict="extra")
        for k, f in enumerate(found)
        if k not in chosen.values()
    ]
    return sorted(matches, key=lambda match: match.start_s)


def _tolerance_s(shot: TrueShot) -> float:
    return CUT_TOLERANCE_S if shot.transition == "cut" else GRADUAL_TOLERANCE_S


def match_events(report: Report, truth: Truth) -> list[EventMatch]:
    """Each event with the segment that overlaps it most; then the segments that show no event. In time order."""
    matches: list[EventMatch] = []
    used: set[int] = set()
    for event in truth.events:
        hits = [
            (overlap, i)
            for i, segment in enumerate(report.segments)
            if (overlap := _overlap(event, segment)) >= EVENT_OVERLAP
        ]
        used |= {i for _, i in hits}
        # Of equal overlaps the better ranked segment counts.
        overlap, best = max(hits, key=lambda hit: (hit[0], -hit[1]), default=(0.0, -1))
        matches.append(
            EventMatch(
                start_s=event.start_s,
                truth=event,
                found=report.segments[best] if hits else None,
                rank=best + 1 if hits else None,
                overlap=overlap,
                verdict="found" if hits else "missed",
            )
        )
    matches += [
        EventMatch(start_s=segment.start_s, truth=None, found=segment, rank=i + 1, overlap=0.0, verdict="extra")
        for i, segment in enumerate(report.segments)
        if i not in used
    ]
    return sorted(matches, key=lambda match: match.start_s)


def _overlap(event: TrueEvent, segment: Segment) -> float:
    common = min(event.end_s, segment.end_s) - max(event.start_s, segment.start_s)
    shorter = min(event.end_s - event.start_s, segment.end_s - segment.start_s)
    return max(common, 0.0) / shorter if shorter > 0 else 0.0


def match_tags(report: Report, truth: Truth) -> list[TagMatch]:
    """Every true label in order of appearance, then the labels found beyond them, best first.

    Categories are drawn from tags, so one that the truth does not name is no extra.
    """
    found: dict[str, Tag] = {tag.label.casefold(): tag for tag in report.tags}
    true: dict[str, list[TrueTag]] = {}
    for tag in sorted(truth.tags, key=lambda tag: tag.start_s):
        true.setdefault(tag.label.casefold(), []).append(tag)
    matches = []
    for key, tags in true.items():
        ours = _ranges(found[key].ranges) if key in found else ()
        theirs = _ranges(tags)
        agreement = _agreement(theirs, ours)
        verdict: Verdict = "found" if agreement >= TAG_AGREEMENT else "partly" if agreement > 0 else "missed"
        matches.append(TagMatch(label=tags[0].label, truth=theirs, found=ours, agreement=agreement, verdict=verdict))
    extra = [tag for key, tag in found.items() if key not in true and tag.kind == "tag"]
    matches += [
        TagMatch(label=tag.label, truth=(), found=_ranges(tag.ranges), agreement=0.0, verdict="extra")
        for tag in sorted(extra, key=lambda tag: -tag.score)
    ]
    return matches


def _ranges(items: Iterable[TrueTag | TagRange]) -> tuple[tuple[float, float], ...]:
    """The stretches of time that the items cover together: sorted, overlaps merged."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted((item.start_s, item.end_s) for item in items):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _agreement(a: Sequence[tuple[float, float]], b: Sequence[tuple[float, float]]) -> float:
    common = sum(max(0.0, min(p[1], q[1]) - max(p[0], q[0])) for p in a for q in b)
    either = sum(end - start for start, end in [*a, *b]) - common
    return common / either if either > 0 else 0.0
