"""`automations probe`: what a file is, what its packets say, and what would decode it."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from pipeline.index_stats import IndexStats, describe_index
from pipeline.limits import InputLimits
from pipeline.record import Record
from pipeline.report import LostRange, VideoInfo
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.media import SandboxedMedia
from serving.report_console import clock
from serving.terminal import plain


class Probed(Record, frozen=True, kw_only=True):
    """What `automations probe --json` prints."""

    video: VideoInfo
    index: IndexStats
    lost: tuple[LostRange, ...]
    """What the container promises and the file lacks."""


def probe_file(path: Path, sandbox: Sandbox, limits: InputLimits) -> Probed:
    """Read a file's packets in a locked-in process and describe it. Raises VideoError."""
    seen = SandboxedMedia(path, sandbox, limits).inspect()
    return Probed(video=seen.info, index=describe_index(seen.index), lost=(seen.cut_off,) if seen.cut_off else ())


def print_probed(probed: Probed, console: Console) -> None:
    """Two columns, one fact a line."""
    video, index = probed.video, probed.index
    console.print(plain(video.path, "bold"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(video, index):
        table.add_row(name, plain(value))
    for lost in probed.lost:
        table.add_row("lost", plain(f"{clock(lost.start_s)} to {clock(lost.end_s)}: {lost.reason}"))
    console.print(table)


def _facts(video: VideoInfo, index: IndexStats) -> list[tuple[str, str]]:
    turned = f", turned by {video.rotation_deg} degrees" if video.rotation_deg else ""
    aspect = f", pixel aspect {video.pixel_aspect:.3f}" if video.pixel_aspect != 1.0 else ""
    coded = f" (coded {video.coded_width}x{video.coded_height}{turned}{aspect})" if turned or aspect else ""
    rate = "variable rate" if video.variable_rate else "constant rate"
    colour = [video.color_space, video.color_primaries, video.color_transfer, video.color_range, video.hdr]
    sound = video.audio
    return [
        ("container", f"{video.container}, {video.size_bytes:,} bytes"),
        ("codec", " ".join(filter(None, [video.codec, video.profile, video.pixel_format]))),
        ("duration", f"{clock(video.duration_s)}, {video.frames:,} frames, {video.average_fps:.3f} fps, {rate}"),
        ("size", f"{video.width}x{video.height}{coded}"),
        ("colour", ", ".join(filter(None, colour)) or "not tagged"),
        ("sound", "none" if sound is None else ", ".join(f"{v}" for v in msgspec.structs.astuple(sound) if v)),
        ("packets", f"{index.packets:,}, {index.keyframes} keyframes, {index.entries} clean entry points"),
        ("groups", f"median {index.median_group_s:.2f} s, longest {index.longest_group_s:.2f} s"),
        ("skippable", f"{index.disposable_share:.0%} of packets are referred to by no other"),
        ("at 1 frame/s", f"{index.needed_share:.1%} of packets need decoding"),
    ]
