"""`automations models compare`: two models on the same frames, what each costs, and where they disagree."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from pipeline.errors import InvalidSpec
from serving.model_options import Device, Json, configured
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from pipeline.pictures import Picture
    from pipeline.spec import AnalysisSpec, Label
    from serving.graph.args import ModelConfig
    from serving.models_compare_run import Comparison
    from serving.settings import Settings

_DTYPE = "Arithmetic of {}: `float32` or `bfloat16`. With the same name twice, this compares the two."
_OPTION = "What {} is made with besides, `name=value`. May be given several times."


def compare(
    a: Annotated[str, typer.Argument(help="A model, as `models list` names it.")],
    b: Annotated[str, typer.Argument(help="Another one, or the same with another --dtype-b or --option-b.")],
    videos: Annotated[list[Path], typer.Argument(help="Videos that both look at.")],
    out: Annotated[
        Path | None, typer.Option(help="Write a self-contained page here, for example compare.html.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Labels to compare by, for example `dog,beach,sunset`.")] = None,
    vocabulary: Annotated[
        str | None, typer.Option(help="A vocabulary file (TOML) or a built-in name, in place of --labels.")
    ] = None,
    frames: Annotated[int, typer.Option(help="Most frames of a video that they look at.")] = 300,
    fps: Annotated[float, typer.Option(help="Frames per second of video that they look at.")] = 1.0,
    model: Annotated[
        str, typer.Option(help="Encoder for what needs one, where neither of the two is an encoder.")
    ] = "auto",
    dtype_a: Annotated[str | None, typer.Option(help=_DTYPE.format("A"))] = None,
    dtype_b: Annotated[str | None, typer.Option(help=_DTYPE.format("B"))] = None,
    option_a: Annotated[list[str] | None, typer.Option(help=_OPTION.format("A"))] = None,
    option_b: Annotated[list[str] | None, typer.Option(help=_OPTION.format("B"))] = None,
    device: Device = None,
    seconds: Annotated[float, typer.Option(help="How long the speed of each is measured, at least.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Say how far two models agree: on labels over time, on which frames are alike, on what is worth showing."""
    from pipeline.spec import AnalysisSpec, Sampling, check
    from serving import outputs
    from serving.settings import load

    if not 0 < seconds <= 3600:
        raise InvalidSpec(f"--seconds: {seconds:g} is not above 0 and at most 3600")
    if out is not None:
        outputs.targets(videos[:1], None, out)
    settings = load().settings
    spec = check(AnalysisSpec(sampling=Sampling(fps=fps, max_frames=frames), model=model))
    configs = (
        configured(settings, a, options=option_a, device=device, dtype=dtype_a, called="--option-a"),
        configured(settings, b, options=option_b, device=device, dtype=dtype_b, called="--option-b"),
    )
    if a == b and configs[0] == configs[1]:
        raise InvalidSpec(f"{a} is compared with itself: give --dtype-b or --option-b, or another model")
    asked = _asked(labels, vocabulary)
    found, pictures = asyncio.run(_run(videos, (a, b), configs, asked, spec, settings, seconds, quiet=as_json))
    if out is not None:
        from serving.compare_html import render_html

        out.write_text(render_html(found, pictures), encoding="utf-8")
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n")
        return
    from serving.models_compare_console import print_comparison

    console = new_console(highlight=False)
    print_comparison(found, console)
    if out is not None:
        console.print(plain(f"page: {out}"), soft_wrap=True)


def _asked(labels: str | None, vocabulary: str | None) -> tuple[Label, ...] | None:
    from pipeline.vocabulary import named, read

    if labels is not None and vocabulary is not None:
        raise InvalidSpec("--labels and --vocabulary exclude each other")
    if labels is not None:
        return named(labels)
    return None if vocabulary is None else read(vocabulary)


async def _run(
    videos: list[Path],
    names: tuple[str, str],
    configs: tuple[ModelConfig, ModelConfig],
    asked: tuple[Label, ...] | None,
    spec: AnalysisSpec,
    settings: Settings,
    seconds: float,
    *,
    quiet: bool,
) -> tuple[Comparison, tuple[tuple[Picture, ...], ...]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from serving.models_compare_run import compared, heard, paired

    for video in videos:
        if not video.is_file():
            # Before seconds are spent on loading models.
            from pipeline.errors import InputNotFound

            raise InputNotFound(f"{video}: no such file")
    with paired(names, configs, spec.model, settings) as pair:
        speakers, notices = heard(pair, asked)
        columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=new_console(stderr=quiet), transient=True) as bars:
            task = bars.add_task("reading", total=None)

            def show(video: Path, done: int, total: int) -> None:
                bars.update(task, description=plain(video.name).plain, completed=done, total=total)

            return await compared(videos, pair, speakers, notices, spec, seconds, show)
