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

from pipeline.errors import InvalidSpec, VideoError
from pipeline.report import Report
from serving import (
    accounts_cli,
    archive_cli,
    audit_cli,
    backup_cli,
    client_cli,
    dumps,
    keys_cli,
    models_cli,
    outputs,
    recommend_cli,
    search_cli,
    server_cli,
    spaces_cli,
    spec_options,
    taxonomy_cli,
)
from serving.analyzing import DECODERS, REFUSED, Wishes, analyze_all, refuse
from serving.errors import ServerError
from serving.graph import config_cli, launch_cli
from serving.requests import spec_of
from serving.settings import load
from serving.terminal import new_console
from serving.weights import parse_weights

app = typer.Typer(
    name="automations",
    help="See what is in a video, and why: shots, key segments with reasons, tags over time.\n\n"
    "Start with [bold]automations demo[/bold]. Everything runs on this machine.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done (perhaps partially: see the warnings), 1 a fault of ours, 2 the input was refused.",
)

config = typer.Typer(
    help="Settings: variables AUTOMATIONS_... of the environment, and a file that AUTOMATIONS_CONFIG names. "
    "And the graph: Serve YAMLs, rendered and checked."
)
app.add_typer(config, name="config", no_args_is_help=True)
app.command()(server_cli.serve)
app.command()(server_cli.api)
app.command()(server_cli.worker)
app.add_typer(launch_cli.graph, name="graph")
app.add_typer(models_cli.models, name="models", no_args_is_help=True)
app.add_typer(server_cli.db, name="db", no_args_is_help=True)
app.add_typer(accounts_cli.tenants, name="tenants", no_args_is_help=True)
app.add_typer(accounts_cli.users, name="users", no_args_is_help=True)
app.add_typer(keys_cli.keys, name="keys", no_args_is_help=True)
app.add_typer(audit_cli.audit, name="audit", no_args_is_help=True)
app.command()(backup_cli.backup)
app.command()(backup_cli.restore)
app.command()(backup_cli.erasures)
app.command()(archive_cli.export)
app.command("import")(archive_cli.import_)
app.command()(client_cli.submit)
app.command()(client_cli.status)
app.command()(client_cli.watch)
app.command()(client_cli.results)
app.command()(client_cli.cancel)
app.command()(search_cli.search)
app.add_typer(spaces_cli.spaces, name="spaces", no_args_is_help=True)
app.command()(recommend_cli.similar)
app.command()(recommend_cli.copies)
app.command()(recommend_cli.recommend)
app.add_typer(taxonomy_cli.vocabularies, name="vocabularies", no_args_is_help=True)
app.command()(taxonomy_cli.correct)
app.add_typer(taxonomy_cli.learned, name="learned", no_args_is_help=True)


def main() -> None:
    """Entry point. Turns every known refusal into one line and exit code 2."""
    dumps.forbid()
    try:
        app()
    except (VideoError, ServerError) as error:
        refuse(error)
        raise SystemExit(REFUSED) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


@app.command()
def analyze(
    videos: Annotated[list[Path], typer.Argument(help="One or more video files; they share the loaded model.")],
    model: spec_options.Model = "auto",
    also: spec_options.With = None,
    fps: spec_options.Fps = 1.0,
    sampling: spec_options.Policy = "uniform",
    tolerance: spec_options.Tolerance = 0.5,
    max_frames: spec_options.MaxFrames = None,
    labels: spec_options.Labels = None,
    vocabulary: spec_options.Vocabulary = None,
    prompt: spec_options.Prompt = None,
    weights: spec_options.Weights = None,
    max_segments: spec_options.MaxSegments = 5,
    target_seconds: spec_options.TargetSeconds = None,
    reuse: spec_options.Reuse = False,
    decoder: Annotated[
        str, typer.Option(help="`auto` (by a table of measurements), `pyav`, `torchcodec`, `dali` or `decord`.")
    ] = "auto",
    require_gpu: Annotated[bool, typer.Option("--require-gpu", help="Fail rather than decode on the CPU.")] = False,
    require_isolation: Annotated[
        bool, typer.Option("--require-isolation", help="Fail where decoders cannot be locked in (see `doctor`).")
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the report here; `-` is standard output. With several videos: a folder."),
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a self-contained page here. With several videos: a folder.")
    ] = None,
) -> None:
    """Analyse videos and say what is in them."""
    if decoder not in DECODERS:
        raise InvalidSpec(f"--decoder: {decoder!r} is not one of {', '.join(DECODERS)}")
    wishes = Wishes(decoder=decoder, require_gpu=require_gpu, require_isolation=require_isolation)
    spec = spec_of(
        model=model,
        also=also,
        reuse=reuse,
        sampling=sampling,
        fps=fps,
        tolerance=tolerance,
        max_frames=max_frames,
        labels=labels,
        vocabulary=vocabulary,
        prompt=prompt,
        weights=weights,
        max_segments=max_segments,
        target_seconds=target_seconds,
    )
    raise SystemExit(asyncio.run(analyze_all(videos, spec, wishes, load().settings, json_file, html_file)))


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
        changes["weights"] = parse_weights(weights, spec.weights, models=old.spec.models)
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

        print_report(new, new_console())


@app.command()
def probe(
    video: Annotated[Path, typer.Argument(help="A video file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a file is: metadata, statistics of its packets, and what sampling it costs. Analyses nothing."""
    from pipeline.sandbox.client import Sandbox
    from serving.probing import print_probed, probe_file

    settings = load().settings
    with Sandbox(settings.worker) as sandbox:
        probed = probe_file(video, sandbox, settings.input)
    if as_json:
        _print_json(probed)
    else:
        print_probed(probed, new_console())


@app.command()
def doctor() -> None:
    """Say what this machine can decode and run, whether hostile videos are held in, and how to mend what is missing."""
    from pipeline.sandbox.client import Sandbox
    from serving import doctor as looks

    settings = load().settings
    with Sandbox(settings.worker) as sandbox:
        findings = looks.examine(sandbox)
    findings = [
        *findings,
        *looks.examine_storage(settings),
        *looks.examine_master_key(settings),
        *looks.examine_database(settings),
    ]
    looks.print_findings(findings, new_console())
    raise SystemExit(1 if any(one.vital and not one.good for one in findings) else 0)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for video.mp4, truth.json, report.json and report.html.")] = Path(
        "demo"
    ),
) -> None:
    """Render a one-minute video whose content is known, analyse it, and show both side by side."""
    from serving.demo import run

    asyncio.run(run(out, load().settings, new_console()))


config.command()(config_cli.render)
config.command()(config_cli.check)


@config.command()
def show(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print every setting, its value, and where it comes from."""
    from serving.settings_shown import print_shown, shown

    every = shown(load())
    if as_json:
        _print_json(every)
    else:
        print_shown(every, new_console())


def _text_model(report: Report):
    from models import catalog
    from models.errors import ModelError
    from pipeline.errors import ModelUnavailable

    try:
        return catalog.load(report.models[0].name).model
    except ModelError as error:
        raise ModelUnavailable(str(error)) from error


def _print_json(record: msgspec.Struct) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(record), indent=1).decode() + "\n")


if __name__ == "__main__":
    main()
