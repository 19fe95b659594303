"""A comparison of two models as tables on a terminal. Names and labels are printed as plain text, never as markup."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from pipeline.comparing import LabelAgreement
from pipeline.saying import Said
from pipeline.side_by_side import Disagreement, Saying, VideoComparison
from serving.models_bench import mib
from serving.models_compare_run import Compared, Comparison
from serving.report_console import clock, new_table, print_cut
from serving.terminal import plain


def print_comparison(found: Comparison, console: Console) -> None:
    """What each costs, then for each video how far they agree, and on which frames they do not."""
    _print_costs(found, console)
    for one in found.videos:
        console.print(plain(f"{one.path}: {clock(one.duration_s)}, {one.frames} frames", style="bold"))
        for line in summary(one):
            console.print(plain(line), soft_wrap=True)
        console.print()
        _print_labels(one, console)
        _print_disagreements(one, console)
        for notice in one.notices:
            console.print(Text("Warning: ", style="yellow") + plain(f"{notice.message} [{notice.code}]"))
    if len(found.videos) > 1 and found.agreement is not None:
        console.print(Text(f"All videos: agreement on labels {found.agreement:.0%}\n", style="bold"))
    for notice in found.notices:
        console.print(Text("Warning: ", style="yellow") + plain(f"{notice.message} [{notice.code}]"))


def summary(one: VideoComparison) -> list[str]:
    """How far they agree on a video, a line a measure; what could not be compared is said, too."""
    lines = []
    if one.labels == 0:
        lines.append("labels: not compared, the two have none in common")
    elif one.agreement is None:
        lines.append(f"labels: of {one.labels}, neither found any")
    else:
        lines.append(f"labels: agreement {one.agreement:.0%} of the time in which one of the two finds one")
    near = one.neighbourhoods
    if near is None:
        lines.append("alike frames: not compared, that takes vectors of both, and 3 frames or more")
    else:
        rank = "not defined" if near.spearman is None else f"{near.spearman:.3f}"
        lines.append(
            f"alike frames: rank correlation {rank}; {near.overlap:.0%} of the {near.nearest} nearest are the same "
            f"({near.by_chance:.0%} by chance)"
        )
    if one.cosines is not None:
        same = one.cosines
        lines.append(f"vectors: cosine {same.mean:.5f} on average, {same.lowest:.5f} at {clock(same.lowest_s)}")
    change = one.segments
    if change is None:
        lines.append("key segments: not compared, one of the two does not choose any")
    else:
        lines.append(
            f"key segments: {change.overlap:.0%} of the time that either chose is in both; {change.kept} of "
            f"{len(change.a)} of A are kept by B, which has {len(change.b)}"
        )
    return lines


def _print_costs(found: Comparison, console: Console) -> None:
    table = new_table("", ("", "left"), ("A", "wide"), ("B", "wide"))
    rows = [
        ("model", *(one.asked for one in (found.a, found.b))),
        ("version", *(one.version for one in (found.a, found.b))),
        ("space", *(f"{one.space}, {one.dim} columns, {one.kind}" for one in (found.a, found.b))),
        ("runs", *(f"{one.dtype} on {one.device}" for one in (found.a, found.b))),
        (f"images/s at {found.frame[1]}x{found.frame[0]}", *(f"{one.images.per_s:.4g}" for one in (found.a, found.b))),
        ("images/s of CPU time", *(f"{one.images.per_cpu_s:.4g}" for one in (found.a, found.b))),
        ("GFLOP a frame", *("" if one.gflop is None else f"{one.gflop:.3g}" for one in (found.a, found.b))),
        ("memory", *(_memory(one) for one in (found.a, found.b))),
        ("loaded in", *(f"{one.load_s:.1f} s" for one in (found.a, found.b))),
    ]
    print_cut(table, [(name, plain(a), plain(b)) for name, a, b in rows], console)
    if found.encoder is not None:
        console.print(plain(f"beside the encoder {found.encoder}"), soft_wrap=True)
        console.print()


def _memory(one: Compared) -> str:
    loaded = "" if one.memory_bytes is None else mib(one.memory_bytes)
    work = "" if one.images.peak_bytes is None else f"{mib(one.images.peak_bytes)} at work"
    return ", ".join(filter(None, (loaded, work)))


def _print_labels(one: VideoComparison, console: Console) -> None:
    if not one.tags:
        return
    columns = ("Both", "Only A", "Only B", "Agree", "Share A", "Share B")
    table = new_table("Labels over time", ("Label", "wide"), *((name, "right") for name in columns))
    print_cut(table, [_label(label) for label in one.tags], console)


def _label(label: LabelAgreement) -> tuple[Text | str, ...]:
    return (
        plain(label.label),
        _seconds(label.both_s),
        _seconds(label.only_a_s),
        _seconds(label.only_b_s),
        f"{label.agreement:.0%}",
        f"{label.share_a:.0%}",
        f"{label.share_b:.0%}",
    )


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 0.05 else ""


def _print_disagreements(one: VideoComparison, console: Console) -> None:
    if not one.disagreements:
        console.print("They disagree on no frame.\n")
        return
    table = new_table("Frames they disagree on most", ("At", "right"), ("A says", "wide"), ("B says", "wide"))
    rows: list[tuple[Text | str, ...]] = [
        (clock(frame.time_s), plain(told(frame, frame.a)), plain(told(frame, frame.b))) for frame in one.disagreements
    ]
    print_cut(table, rows, console)


def told(frame: Disagreement, saying: Saying) -> str:
    """What a model makes of a frame, in a line."""
    parts = [labels(saying.labels)] if saying.labels else []
    if frame.neighbours is not None and saying.most_like_s is not None:
        parts.append(f"like {clock(saying.most_like_s)}")
    return "; ".join(parts)


def labels(said: Sequence[Said]) -> str:
    """`red 0.97, circle 0.91`; or what comes nearest, where nothing holds."""
    if not any(one.holds for one in said):
        return f"nothing (at most {said[0].label} {said[0].probability:.2f})"
    return ", ".join(f"{one.label} {one.probability:.2f}" for one in said)
