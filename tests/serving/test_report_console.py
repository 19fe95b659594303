"""Reports on a terminal, alone and beside the truth; and the rules of that comparison."""

import io

import msgspec
import pytest
from rich.console import Console

from pipeline.report import Report
from serving.report_console import MAX_ROWS, clock, print_beside_truth, print_report
from serving.terminal import plain
from serving.truth import TrueEvent, TrueShot, TrueTag, Truth, match_events, match_shots, match_tags

TRUTH = Truth(
    shots=(
        TrueShot(start_s=0.0, end_s=6.4, transition="start"),
        TrueShot(start_s=6.42, end_s=14.0, label="green square"),
        TrueShot(start_s=13.7, end_s=22.0, transition="dissolve"),
        TrueShot(start_s=22.0, end_s=33.0),
        TrueShot(start_s=33.0, end_s=60.0),
    ),
    events=(
        TrueEvent(start_s=23.0, end_s=27.0, label="a goal"),
        TrueEvent(start_s=2.0, end_s=4.0, label="a flash"),
    ),
    tags=(
        TrueTag(label="Red circle", start_s=20.0, end_s=25.0),
        TrueTag(label="Red circle", start_s=24.0, end_s=30.0),
        TrueTag(label="crowd", start_s=0.0, end_s=24.0),
        TrueTag(label="dog", start_s=1.0, end_s=2.0),
    ),
)


def paper(width: int = 80, encoding: str = "utf-8") -> tuple[Console, io.BytesIO]:
    """A console that is no terminal."""
    sink = io.BytesIO()
    stream = io.TextIOWrapper(sink, encoding=encoding, write_through=True)
    return Console(file=stream, width=width, force_terminal=False), sink


def printed(console_and_sink: tuple[Console, io.BytesIO]) -> str:
    return console_and_sink[1].getvalue().decode()


def test_a_report_fits_80_columns_without_a_terminal(sample_report: Report) -> None:
    page = paper()
    print_report(sample_report, page[0])
    text = printed(page)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    for expected in ("45.8x real time", "0:22.0–0:29.6", "0.86", "red circle", "dissolve", "matches"):
        assert expected in text


def test_nothing_found_is_said(empty_report: Report) -> None:
    page = paper()
    print_report(empty_report, page[0])
    for expected in ("No shots.", "No key segments.", "No tags.", "no model", "no sound"):
        assert expected in printed(page)


def test_a_plain_ascii_stream_gets_plain_ascii(sample_report: Report) -> None:
    quotes_apart = msgspec.structs.replace(
        sample_report, segments=tuple(msgspec.structs.replace(s, reasons=("why",)) for s in sample_report.segments)
    )
    page = paper(encoding="ascii")
    print_report(quotes_apart, page[0])
    print_beside_truth(quotes_apart, TRUTH, page[0])
    assert printed(page).isascii()


def test_long_tables_are_cut(sample_report: Report) -> None:
    many = msgspec.structs.replace(sample_report, shots=sample_report.shots * 20)
    page = paper()
    print_report(many, page[0])
    assert f"and {len(many.shots) - MAX_ROWS} more" in printed(page)


def test_hostile_names_are_neither_markup_nor_commands(hostile_report: Report) -> None:
    page = paper()
    print_report(hostile_report, page[0])
    assert "[red]" in printed(page)
    assert plain("a\x1b[2Jb\n\u202ec\udcff\u2028[bold]").plain == "a�[2Jb��c��[bold]"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00.0"), (75.25, "1:15.2"), (59.96, "1:00.0"), (3675, "1:01:15.0"), (-0.01, "0:00.0")]
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_shots_are_matched_by_where_they_begin(sample_report: Report) -> None:
    verdicts = [(match.start_s, match.verdict) for match in match_shots(sample_report, TRUTH)]
    assert verdicts == [
        (6.42, "found"),
        (13.7, "found"),
        (22.0, "found"),
        (29.6, "extra"),
        (33.0, "missed"),
        (38.5, "extra"),
        (47.1, "extra"),
        (53.8, "extra"),
    ]


def test_a_found_shot_answers_for_one_true_shot_only(sample_report: Report) -> None:
    twins = Truth(shots=(TrueShot(start_s=6.3, end_s=6.5), TrueShot(start_s=6.5, end_s=14.2)))
    verdicts = [match.verdict for match in match_shots(sample_report, twins)][:2]
    assert sorted(verdicts) == ["found", "missed"]


def test_events_are_matched_by_overlap(sample_report: Report) -> None:
    matches = match_events(sample_report, TRUTH)
    assert [(match.start_s, match.verdict, match.rank) for match in matches] == [
        (2.0, "missed", None),
        (7.0, "extra", 3),
        (23.0, "found", 1),
        (39.8, "extra", 4),
        (47.1, "extra", 2),
    ]


def test_tags_are_matched_by_the_time_that_they_share(sample_report: Report) -> None:
    matches = {match.label: match for match in match_tags(sample_report, TRUTH)}
    assert matches["Red circle"].truth == ((20.0, 30.0),)
    assert matches["Red circle"].agreement == pytest.approx(9.5 / 10.2)
    assert {label: match.verdict for label, match in matches.items() if match.truth} == {
        "crowd": "partly",
        "dog": "missed",
        "Red circle": "found",
    }
    assert matches["sunset"].verdict == "extra"


def test_found_and_true_stand_side_by_side(sample_report: Report) -> None:
    page = paper()
    print_beside_truth(sample_report, TRUTH, page[0])
    text = printed(page)
    assert max(map(len, text.splitlines())) <= 80
    assert "Shots: 3 of 4 found, 1 missed, 4 extra; median error 20 ms" in text
    assert "Events: 1 of 2 found, 1 missed, 3 extra" in text
    assert "Tags: 1 of 3 found, 1 partly, 1 missed, 10 extra" in text


def test_an_empty_truth_and_an_empty_report_compare(empty_report: Report) -> None:
    page = paper()
    print_beside_truth(empty_report, Truth(), page[0])
    assert "Shots: 0 of 0 found" in printed(page)
