"""Analyses videos for the command line: one engine, a progress bar each, reports where they were asked for."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import VideoError
from pipeline.report import Report
from pipeline.spec import AnalysisSpec
from serving import outputs
from serving.errors import ServerError
from serving.settings import Settings
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from rich.console import Console

REFUSED = 2
"""Exit code where an input or a request was refused."""


DECODERS = ("auto", "pyav", "torchcodec", "dali", "decord")
"""What `--decoder` takes: `pipeline.decode.choice.Name`, whose module is too heavy for `--help`."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to decode with."""

    decoder: str = "auto"
    """One of `DECODERS`."""
    require_gpu: bool = False
    require_isolation: bool = False


def refuse(error: VideoError | ServerError) -> None:
    """Say why in one line on stderr."""

    print(f"error: {plain(str(error)).plain} [{error.code}]", file=sys.stderr)


async def analyze_all(
    videos: list[Path],
    spec: AnalysisSpec,
    wishes: Wishes,
    settings: Settings,
    json_file: Path | None,
    html_file: Path | None,
) -> int:
    """Analyse one after the other with one engine; a refused video does not stop the rest. Returns the exit code.

    Raises:
        VideoError: what is wrong with the request, or with the only video of it.
    """
    from pipeline.sandbox.client import Sandbox
    from pipeline.sandbox.media import SandboxedMedia
    from serving.local import local_toolkit
    from serving.report_console import print_report

    quiet = str(json_file) == "-"
    console = new_console(stderr=quiet)
    failed = False
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(settings.worker, required=wishes.require_isolation))
        if len(videos) == 1:
            # Refuse a hopeless file before seconds are spent on loading a model.
            SandboxedMedia(videos[0], sandbox, settings.input).check()
        targets = outputs.targets(videos, json_file, html_file)
        toolkit = stack.enter_context(
            local_toolkit(spec.model, sandbox, wishes.decoder, wishes.require_gpu, settings, spec.models)
        )
        for notice in toolkit.notices:
            console.print(plain(notice.message, "dim"), highlight=False)
        for video in videos:
            try:
                report = await analyze_with_bar(video, spec, toolkit, console)
                if not quiet:
                    print_report(report, console)
                outputs.write(report, json_file if quiet else targets.get((video, ".json")))
                page = targets.get((video, ".html"))
                if page is not None:
                    from serving.page import write_page

                    write_page(report, video, page, toolkit)
                    console.print(plain(f"page: {page}"), highlight=False)
            except VideoError as error:
                refuse(error)
                failed = True
    return REFUSED if failed else 0


async def analyze_with_bar(video: Path, spec: AnalysisSpec, toolkit, console: "Console") -> Report:
    """One analysis with a progress bar on `console`.

    Raises:
        VideoError: as `pipeline.analyze.analyze`.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from pipeline.analyze import analyze as run

    name = plain(video.name).plain

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(f"{name}: reading", total=None)

        def show(stage: str, done: int, total: int) -> None:
            bars.update(task, description=f"{name}: {stage}", completed=done, total=total)

        return await run(video, spec, toolkit, show)
