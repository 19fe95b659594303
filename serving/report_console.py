"""A report as tables on a terminal, alone or beside the truth. Fits 80 columns and reads well in a log file, too.

Names and labels come from strangers: they are printed as plain text, never as markup or terminal commands.
"""

from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report import Report
from serving.terminal import plain
from serving.truth import Truth, Verdict, match_events, match_shots, match_tags

#: Longer tables are cut here; the JSON and the page have the rest.
MAX_ROWS = 40
_STYLES: dict[Verdict, str] = {"found": "green", "partly": "yellow", "missed": "bold red", "extra": "yellow"}
_MARKS: dict[Verdict, str] = {"found": "✓", "partly": "~", "missed": "✗", "extra": "+"}


def print_report(report: Report, console: Console) -> None:
    """The headline, then shots, key segments with their reasons, tags with their ranges, and warnings."""
    _print_headline(report, console)
    _print_shots(report, console)
    _print_segments(report, console)
    _print_tags(report, console)
    for notice in report.warnings:
        console.print(Text("Warning: ", style="yellow") + plain(f"{notice.message} [{notice.code}]"))


def print_beside_truth(report: Report, truth: Truth, console: Console) -> None:
    """What was found next to what is there, with a verdict a row and a summary a table."""
    _compare_shots(report, truth, console)
    _compare_events(report, truth, console)
    _compare_tags(report, truth, console)


def clock(seconds: float) -> str:
    """75.25 -> `1:15.2`; 3675 -> `1:01:15.0`."""
    tenths = round(max(seconds, 0.0) * 10)
    minutes, rest = divmod(tenths, 600)
    tail = f"{rest // 10:02d}.{rest % 10}"
    return f"{minutes}:{tail}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{tail}"


def between(start_s: float, end_s: float, console: Console) -> str:
    """`0:01.0–0:02.5`, in characters that the console has."""
    return f"{clock(start_s)}{'-' if console.options.ascii_only else '–'}{clock(end_s)}"


def new_table(title: str, *columns: tuple[str, str]) -> Table:
    """A table with an open look; each column is its heading and `left`, `right` or `wide` (takes what is left)."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False
    )
    for heading, kind in columns:
        if kind == "wide":
            table.add_column(heading, overflow="fold", ratio=1)
        else:
            table.add_column(heading, justify="right" if kind == "right" else "left", no_wrap=True)
    return table


def print_cut(table: Table, rows: list[tuple[Text | str, ...]], console: Console) -> None:
    """Fill a table with the first of its rows, and print it."""
    for row in rows[:MAX_ROWS]:
        table.add_row(*row)
    console.print(table)
    console.print()
    if len(rows) > MAX_ROWS:
        console.print(Text(f"and {len(rows) - MAX_ROWS} more\n", style="dim"))


def _print_headline(report: Report, console: Console) -> None:
    video, decode, timings = report.video, report.decode, report.timings
    console.print(plain(video.path, style="bold"))
    console.print(
        plain(
            f"{clock(video.duration_s)}, {video.width}x{video.height}, {video.codec}, {video.average_fps:.2f} fps, "
            f"{'with' if video.audio else 'no'} sound"
        )
    )
    models = ", ".join(f"{model.name} on {model.device}" for model in report.models) or "no model"
    console.print(
        plain(
            f"{decode.frames_decoded} of {decode.frames_wanted} wanted frames by {decode.backend}; {models}; "
            f"{timings.total_s:.2f} s, {timings.realtime_factor:.1f}x real time"
        )
    )
    console.print()


def _print_shots(report: Report, console: Console) -> None:
    table = new_table(
        "Shots", ("", "right"), ("From - to", "left"), ("Length", "right"), ("Begins with", "left"), ("Score", "right")
    )
    rows: list[tuple[Text | str, ...]] = [
        (str(i), between(s.start_s, s.end_s, console), f"{s.end_s - s.start_s:.1f} s", s.transition, f"{s.score:.2f}")
        for i, s in enumerate(report.shots, 1)
    ]
    print_cut(table, rows, console) if rows else console.print("No shots.\n")


def _print_segments(report: Report, console: Console) -> None:
    table = new_table("Key segments", ("", "right"), ("From - to", "left"), ("Score", "right"), ("Why", "wide"))
    rows: list[tuple[Text | str, ...]] = []
    for i, segment in enumerate(report.segments, 1):
        why = plain("; ".join(segment.reasons))
        if segment.tags:
            why = Text("\n").join([why, plain(", ".join(segment.tags), style="dim")])
        rows.append((str(i), between(segment.start_s, segment.end_s, console), f"{segment.score:.2f}", why))
    print_cut(table, rows, console) if rows else console.print("No key segments.\n")


def _print_tags(report: Report, console: Console) -> None:
    table = new_table("Tags", ("Label", "wide"), ("Score", "right"), ("Share", "right"), ("Where", "wide"))
    rows: list[tuple[Text | str, ...]] = [
        (
            plain(tag.label if tag.kind == "tag" else f"{tag.label} (category)"),
            f"{tag.score:.2f}",
            f"{tag.coverage:.0%}",
            where([(r.start_s, r.end_s) for r in tag.ranges], console),
        )
        for tag in sorted(report.tags, key=lambda tag: -tag.score)
    ]
    print_cut(table, rows, console) if rows else console.print("No tags.\n")


def where(ranges: list[tuple[float, float]], console: Console, most: int = 4) -> str:
    """The first few ranges: a label that comes and goes must not fill the screen."""
    shown = [between(start, end, console) for start, end in ranges[:most]]
    return ", ".join(shown) + (f", {len(ranges) - most} more" if len(ranges) > most else "")


def _mark(verdict: Verdict, console: Console) -> Text:
    mark = "" if console.options.ascii_only else f"{_MARKS[verdict]} "
    return Text(f"{mark}{verdict}", style=_STYLES[verdict])


def _summary(name: str, verdicts: list[Verdict], console: Console, remark: str = "") -> None:
    sought = sum(verdict != "extra" for verdict in verdicts)
    line = Text(f"{name}: {verdicts.count('found')} of {sought} found", style="bold")
    for verdict in ("partly", "missed", "extra"):
        if verdicts.count(verdict):
            line.append(f", {verdicts.count(verdict)} {verdict}", style=_STYLES[verdict])
    console.print(line.append(f"{remark}\n"))


def _compare_shots(report: Report, truth: Truth, console: Console) -> None:
    matches = match_shots(report, truth)
    table = new_table(
        "Shots begin", ("True", "left"), ("What", "wide"), ("Found", "left"), ("Off by", "right"), ("", "left")
    )
    rows: list[tuple[Text | str, ...]] = []
    offsets_s = []
    for match in matches:
        true, found = match.truth, match.found
        if true and found:
            offsets_s.append(found.start_s - true.start_s)
        rows.append(
            (
                f"{clock(true.start_s)} {true.transition}" if true else "",
                plain(true.label) if true else "",
                f"{clock(found.start_s)} {found.transition} ({found.score:.2f})" if found else "",
                f"{offsets_s[-1] * 1000:+.0f} ms" if true and found else "",
                _mark(match.verdict, console),
            )
        )
    print_cut(table, rows, console)
    remark = f"; median error {median(map(abs, offsets_s)) * 1000:.0f} ms" if offsets_s else ""
    _summary("Shots", [match.verdict for match in matches], console, remark)


def _compare_events(report: Report, truth: Truth, console: Console) -> None:
    matches = match_events(report, truth)
    table = new_table(
        "Events", ("True", "left"), ("What", "wide"), ("Found, by rank", "left"), ("Overlap", "right"), ("", "left")
    )
    rows: list[tuple[Text | str, ...]] = []
    for match in matches:
        true, found = match.truth, match.found
        what = true.label if true else "; ".join(found.reasons[:1]) if found else ""
        rows.append(
            (
                between(true.start_s, true.end_s, console) if true else "",
                plain(what, style="" if true else "dim"),
                f"{match.rank}. {between(found.start_s, found.end_s, console)} ({found.score:.2f})" if found else "",
                f"{match.overlap:.0%}" if true and found else "",
                _mark(match.verdict, console),
            )
        )
    print_cut(table, rows, console)
    _summary("Events", [match.verdict for match in matches], console)


def _compare_tags(report: Report, truth: Truth, console: Console) -> None:
    matches = match_tags(report, truth)
    table = new_table("Tags", ("Label", "wide"), ("True", "wide"), ("Found", "wide"), ("Agree", "right"), ("", "left"))
    rows: list[tuple[Text | str, ...]] = [
        (
            plain(match.label),
            where(list(match.truth), console, most=3),
            where(list(match.found), console, most=3),
            f"{match.agreement:.0%}" if match.truth and match.found else "",
            _mark(match.verdict, console),
        )
        for match in matches
    ]
    print_cut(table, rows, console)
    _summary("Tags", [match.verdict for match in matches], console)
