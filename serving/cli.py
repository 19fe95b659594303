"""The command `automations`. Parses, prints and maps errors to exit codes; the work is done elsewhere.

Exit codes: 0 done (a partial report counts, its warnings say what is missing), 1 a fault of ours, 2 the input or the
request was refused (one line on stderr says why), 130 interrupted.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.errors import InvalidSpec, VideoError
from pipeline.report import Report
from pipeline.spec import DEFAULT_WEIGHTS, AnalysisSpec, Label, Sampling, SegmentSpec, check
from serving import outputs

REFUSED = 2

app = typer.Typer(
    name="automations",
    help="See what is in a video, and why: shots, key segments with reasons, tags over time.\n\n"
    "Start with [bold]automations demo[/bold]. Everything runs on this machine.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done (perhaps partially: see the warnings), 1 a fault of ours, 2 the input was refused.",
)


def main() -> None:
    """Entry point. Turns every known refusal into one line and exit code 2."""
    try:
        app()
    except VideoError as error:
        _refuse(error)
        raise SystemExit(REFUSED) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _refuse(error: VideoError) -> None:
    from serving.report_console import plain

    print(f"error: {plain(str(error)).plain} [{error.code}]", file=sys.stderr)


@app.command()
def analyze(
    videos: Annotated[list[Path], typer.Argument(help="One or more video files; they share the loaded model.")],
    model: Annotated[
        str,
        typer.Option(
            help="`auto` (a pretrained CLIP if it can be had, else the bundled one), `bundled`, or an open_clip name: "
            "`ViT-B-32/laion2b_s34b_b79k`, `hf-hub:org/repo`, `local-dir:/path`."
        ),
    ] = "auto",
    fps: Annotated[float, typer.Option(help="Frames per second of video that the model sees.")] = 1.0,
    sampling: Annotated[
        str, typer.Option(help="`uniform`, `keyframes`, or `snap` (uniform, but a cheaper keyframe nearby will do).")
    ] = "uniform",
    tolerance: Annotated[float, typer.Option(help="How far `snap` may move a frame, seconds.")] = 0.5,
    max_frames: Annotated[int | None, typer.Option(help="Upper bound on the frames that the model sees.")] = None,
    labels: Annotated[str | None, typer.Option(help="Tags to look for, for example `dog,beach,sunset`.")] = None,
    vocabulary: Annotated[
        str | None, typer.Option(help="A vocabulary file (TOML) or a built-in name, in place of --labels.")
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(help="What a good moment shows, in words. May be given several times.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help=f"Weights of the signals, for example `motion=2,audio=0`; known: {', '.join(DEFAULT_WEIGHTS)}."
        ),
    ] = None,
    max_segments: Annotated[int, typer.Option(help="Most key segments.")] = 5,
    target_seconds: Annotated[float | None, typer.Option(help="Budget for all key segments together.")] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the report here; `-` is standard output. With several videos: a folder."),
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a self-contained page here. With several videos: a folder.")
    ] = None,
) -> None:
    """Analyse videos and say what is in them."""
    spec = check(
        AnalysisSpec(
            sampling=_sampling(sampling, fps, tolerance, max_frames),
            model=model,
            labels=_labels(labels, vocabulary),
            segments=SegmentSpec(
                weights=parse_weights(weights),
                max_segments=max_segments,
                target_s=target_seconds,
                prompts=tuple(prompt or ()),
            ),
        )
    )
    raise SystemExit(asyncio.run(_analyze_all(videos, spec, json_file, html_file)))


@app.command()
def rescore(
    report: Annotated[Path, typer.Argument(help="A report that `analyze --json` wrote.")],
    weights: Annotated[str | None, typer.Option(help="New weights, for example `motion=2,audio=0`.")] = None,
    prompt: Annotated[list[str] | None, typer.Option(help="New description of a good moment.")] = None,
    max_segments: Annotated[int | None, typer.Option(help="Most key segments.")] = None,
    target_seconds: Annotated[float | None, typer.Option(help="Budget for all key segments together.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the new report here.")] = None,
) -> None:
    """Choose key segments again from the stored signals. Decodes nothing and needs no video."""
    from pipeline.rescore import rescore as again

    old = outputs.read_report(report)
    spec = old.spec.segments
    changes: dict = {}
    if weights is not None:
        changes["weights"] = parse_weights(weights, spec.weights)
    if prompt is not None:
        changes["prompts"] = tuple(prompt)
    if max_segments is not None:
        changes["max_segments"] = max_segments
    if target_seconds is not None:
        changes["target_s"] = target_seconds
    spec = msgspec.structs.replace(spec, **changes)
    new = again(old, spec, _text_model(old) if prompt and tuple(prompt) != old.spec.segments.prompts else None)
    outputs.write(new, json_file)
    if str(json_file) != "-":
        from serving.report_console import print_report

        print_report(new, Console())


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for video.mp4, truth.json, report.json and report.html.")] = Path(
        "demo"
    ),
) -> None:
    """Render a one-minute video whose content is known, analyse it, and show both side by side."""
    from serving.demo import run

    asyncio.run(run(out, Console()))


def parse_weights(text: str | None, base: dict[str, float] = DEFAULT_WEIGHTS) -> dict[str, float]:
    """`motion=2,audio=0` -> the weights of `base` with those changed.

    Raises:
        InvalidSpec: not of that form, or an unknown signal.
    """
    weights = dict(base)
    for item in filter(None, (part.strip() for part in (text or "").split(","))):
        name, equals, value = item.partition("=")
        try:
            number = float(value)
        except ValueError:
            equals = ""
            number = 0.0
        if not equals:
            raise InvalidSpec(f"--weights: {item!r} is not of the form signal=number")
        if name.strip() not in DEFAULT_WEIGHTS:
            raise InvalidSpec(f"--weights: unknown signal {name.strip()!r}; known: {', '.join(DEFAULT_WEIGHTS)}")
        weights[name.strip()] = number
    return weights


def _sampling(policy: str, fps: float, tolerance: float, max_frames: int | None) -> Sampling:
    try:
        return msgspec.convert(
            {"policy": policy, "fps": fps, "tolerance_s": tolerance, "max_frames": max_frames}, Sampling
        )
    except msgspec.ValidationError as error:
        raise InvalidSpec(f"--sampling: {policy!r} is not one of uniform, keyframes, snap") from error


def _labels(labels: str | None, vocabulary: str | None) -> tuple[Label, ...] | None:
    from pipeline.vocabulary import named, read

    if labels is not None and vocabulary is not None:
        raise InvalidSpec("--labels and --vocabulary exclude each other")
    if labels is not None:
        return named(labels)
    return read(vocabulary) if vocabulary is not None else None


def _text_model(report: Report):
    from models import catalog
    from models.errors import ModelError
    from pipeline.errors import ModelUnavailable

    try:
        return catalog.load(report.models[0].name).model
    except ModelError as error:
        raise ModelUnavailable(str(error)) from error


async def _analyze_all(videos: list[Path], spec: AnalysisSpec, json_file: Path | None, html_file: Path | None) -> int:
    """Analyse one after the other with one engine; a refused video does not stop the rest. Returns the exit code."""
    from pipeline.container import open_video
    from serving.local import local_toolkit
    from serving.report_console import plain, print_report

    quiet = str(json_file) == "-"
    console = Console(stderr=quiet)
    if len(videos) == 1:
        # Refuse a hopeless file before seconds are spent on loading a model.
        with open_video(videos[0]):
            pass
    targets = outputs.targets(videos, json_file, html_file)
    failed = False
    with local_toolkit(spec.model) as toolkit:
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

                    write_page(report, video, page)
                    console.print(plain(f"page: {page}"), highlight=False)
            except VideoError as error:
                _refuse(error)
                failed = True
    return REFUSED if failed else 0


async def analyze_with_bar(video: Path, spec: AnalysisSpec, toolkit, console: Console) -> Report:
    """One analysis with a progress bar on `console`.

    Raises:
        VideoError: as `pipeline.analyze.analyze`.
    """
    from pipeline.analyze import analyze as run

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(f"{video.name}: reading", total=None)

        def show(stage: str, done: int, total: int) -> None:
            bars.update(task, description=f"{video.name}: {stage}", completed=done, total=total)

        return await run(video, spec, toolkit, show)
