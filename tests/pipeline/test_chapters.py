"""Chapters: where they begin, how many there are, and what they are called."""

import itertools

from msgspec.structs import replace

from pipeline.chapters import MOST, chapters
from pipeline.report import Shot, Source, Tag, TagRange
from tests.serving.conftest import sample_report

REPORT = sample_report.__wrapped__()
SOURCE = Source(name="pipeline.shots", version="1")


def shot(start_s, end_s, transition="cut", score=1.0) -> Shot:
    return Shot(start_s=start_s, end_s=end_s, score=score, transition=transition, source=SOURCE)


def tag(label, *ranges, kind="tag") -> Tag:
    return Tag(
        kind=kind,
        label=label,
        score=0.9,
        coverage=0.5,
        start_s=ranges[0][0],
        end_s=ranges[-1][1],
        ranges=tuple(TagRange(start_s=start, end_s=end, score=0.9) for start, end in ranges),
        source=SOURCE,
    )


def report(shots, duration_s):
    return replace(REPORT, shots=tuple(shots), video=replace(REPORT.video, duration_s=duration_s))


def test_they_begin_where_something_else_is_seen():
    shots = [shot(at, at + 5.0) for at in range(0, 60, 5)]
    tags = [
        tag("sea", (0.0, 25.0)),
        tag("wood", (25.0, 60.0)),
        tag("outside", (0.0, 60.0)),
        tag("x", (0, 9), kind="category"),
    ]
    found = chapters(report(shots, 60.0), tags)
    assert found[0].start_s == 0.0
    assert found[-1].end_s == 60.0
    assert all(one.end_s == other.start_s for one, other in itertools.pairwise(found))
    assert all(one.end_s - one.start_s >= 8.0 for one in found)
    assert 25.0 in [one.start_s for one in found]
    assert next(one.title for one in found if one.end_s <= 25.0).startswith("Chapter 1: sea")
    assert all("wood" in one.title for one in found if one.start_s >= 25.0)
    assert all("x" not in one.title.partition(":")[2].split(", ") for one in found)


def test_a_fade_is_clearer_than_a_cut():
    shots = [shot(0.0, 10.0), shot(10.0, 14.0), shot(14.0, 30.0, "fade")]
    assert [one.start_s for one in chapters(report(shots, 30.0), [])] == [0.0, 14.0]


def test_a_day_of_shots_has_a_page_of_chapters():
    shots = [shot(at, at + 4.0) for at in range(0, 86_400, 4)]
    found = chapters(report(shots, 86_400.0), [tag("a", *((at, at + 3.0) for at in range(0, 86_000, 100)))])
    assert 2 < len(found) <= MOST
    assert min(one.end_s - one.start_s for one in found) >= 0.02 * 86_400


def test_a_video_without_shots_is_one_chapter():
    assert [(one.start_s, one.end_s, one.title) for one in chapters(report([], 3.0), [])] == [(0.0, 3.0, "Chapter 1")]


def test_key_segments_and_shots_are_as_they_are():
    assert [(one.start_s, one.end_s) for one in chapters(REPORT, REPORT.tags, "segments")] == sorted(
        (one.start_s, one.end_s) for one in REPORT.segments
    )
    found = chapters(REPORT, REPORT.tags, "shots")
    assert [one.start_s for one in found] == [one.start_s for one in REPORT.shots]
    assert found[0].title == "Shot 1: sunset, gradient"
