"""Tags with what people said of them: where they judged, it is as they said, whatever a model finds there."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pipeline import tags
from pipeline.report import Source, Tag, TagRange

#: What says so where a stretch was accepted.
CORRECTED: Final = "corrected"

#: Of a stretch that a model found, what was rejected is this much or more: then all of it goes. Where it begins and
#: ends moves by a sample from one threshold to the next, and what was rejected is not to come back as its edges.
_MOST: Final = 0.5


@dataclass(frozen=True, slots=True)
class Judgement:
    """What somebody said of a label in a stretch of a video."""

    label: str
    """Of a label or a category."""
    accepted: bool
    start_s: float = 0.0
    end_s: float | None = None
    """None: to the end of the video."""


@dataclass(frozen=True, slots=True)
class _Span:
    range: TagRange
    said: bool
    """By somebody, not by a model."""


def judged(
    found: Sequence[Tag],
    judgements: Sequence[Judgement],
    parents: Mapping[str, str | None],
    *,
    duration_s: float,
    source: Source,
) -> tuple[Tag, ...]:
    """Tags and categories of a video, most probable first, tags before categories.

    Args:
        found: by models; categories among them are drawn anew.
        judgements: earliest first; where two overlap, the later one holds.
        parents: label -> its parent, of all labels that there are: what is judged and neither one of them nor above
            one is passed over.
        source: of labels that nobody but people found, and of their categories.
    """
    said: dict[str, list[Judgement]] = {}
    for one in judgements:
        said.setdefault(one.label, []).append(one)
    by_models = [tag for tag in found if tag.kind == "tag"]
    unfound = said.keys() & parents.keys() - {tag.label for tag in by_models}
    blank = [_nowhere("tag", label, parents[label], source) for label in unfound]
    labels = [one for tag in (*by_models, *blank) for one in _after(tag, said.get(tag.label, ()), duration_s)]
    drawn = tags.categories(labels, parents, duration_s=duration_s, source=source)
    unfound = said.keys() & set(parents.values()) - {tag.label for tag in drawn}
    blank = [_nowhere("category", name, parents.get(name), source) for name in unfound if name is not None]
    categories = [one for tag in (*drawn, *blank) for one in _after(tag, said.get(tag.label, ()), duration_s)]
    return (*tags.ordered(labels), *tags.ordered(categories))


def _nowhere(kind: Literal["tag", "category"], label: str, parent: str | None, source: Source) -> Tag:
    """One that holds nowhere yet."""
    return Tag(
        kind=kind, label=label, parent=parent, score=0.0, coverage=0.0, start_s=0.0, end_s=0.0, ranges=(), source=source
    )


def _after(tag: Tag, judgements: Sequence[Judgement], duration_s: float) -> list[Tag]:
    """The tag with what was said of it; none where nothing of it is left."""
    if not judgements:
        return [tag] if tag.ranges else []
    spans = sorted((_Span(one, said=False) for one in tag.ranges), key=_order)
    for judgement in judgements:
        _put(spans, judgement, duration_s)
    if not spans:
        return []
    ranges = tuple(one.range for one in spans)
    source = tag.source
    if any(one.said for one in spans):
        source = Source(name=CORRECTED, version=source.version)
    return [tags.tag_of(tag.kind, tag.label, tag.parent, ranges, duration_s, source)]


def _put(spans: list[_Span], judgement: Judgement, duration_s: float) -> None:
    """Have a judgement hold in `spans`, which do not overlap and are in order, and stay so. Only those that it may
    touch are looked at: of a long video thousands of things may be said."""
    start_s = judgement.start_s
    end_s = max(start_s, duration_s) if judgement.end_s is None else judgement.end_s
    first = bisect_left(spans, start_s, key=lambda one: one.range.end_s)
    last = bisect_right(spans, end_s, lo=first, key=lambda one: one.range.start_s)
    kept = []
    for span in spans[first:last]:
        one = span.range
        shared_s = min(one.end_s, end_s) - max(one.start_s, start_s)
        if shared_s <= 0 and one.start_s < one.end_s:
            kept.append(span)
        elif span.said or judgement.accepted or shared_s < _MOST * (one.end_s - one.start_s):
            pieces = ((one.start_s, min(one.end_s, start_s)), (max(one.start_s, end_s), one.end_s))
            kept += [
                _Span(TagRange(start_s=first_s, end_s=last_s, score=one.score), span.said)
                for first_s, last_s in pieces
                if first_s < last_s
            ]
    if judgement.accepted:
        kept.append(_Span(TagRange(start_s=start_s, end_s=end_s, score=1.0), said=True))
    spans[first:last] = sorted(kept, key=_order)


def _order(one: _Span) -> tuple[float, float]:
    return one.range.start_s, one.range.end_s
