"""`automations submit`, `status`, `watch`, `results` and `cancel`: the commands of who uses a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from pipeline.errors import VideoError
from serving import outputs, spec_options
from serving.analyzing import REFUSED, refuse
from serving.requests import JobAfter, JobRequest, is_name, spec_of
from serving.settings import load
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from rich.console import Console

    from serving.answers import JobSeen
    from serving.client import Client

FAULT = 1
"""Exit code where the server says that it failed."""

#: Refusals that the next video would meet, too.
_OF_CALLER = frozenset({"unauthenticated", "forbidden", "unreachable", "rate_limited"})

Server = Annotated[
    str | None, typer.Option("--server", help="Where the server is; else AUTOMATIONS_CLIENT__SERVER says so.")
]
Key = Annotated[
    str | None,
    typer.Option("--key", help="Your API key; others on this machine do not see it in AUTOMATIONS_CLIENT__KEY."),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, as `submit` prints it.")]


@contextmanager
def connected(server: str | None, key: str | None) -> Iterator["Client"]:
    """A client while the block lasts; a fault of the server becomes one line and its exit code."""
    from serving.answers import ServerFault
    from serving.client import Client

    options = load().settings.client
    try:
        with Client(server or options.server, key or options.key) as client:
            yield client
    except ServerFault as error:
        refuse(error)
        raise typer.Exit(FAULT) from None


def submit(
    videos: Annotated[list[str], typer.Argument(metavar="VIDEO", help="Files, URLs, or ids of videos (`vid_...`).")],
    model: spec_options.Model = "auto",
    also: spec_options.With = None,
    fps: spec_options.Fps = 1.0,
    sampling: spec_options.Policy = "uniform",
    tolerance: spec_options.Tolerance = 0.5,
    max_frames: spec_options.MaxFrames = None,
    labels: spec_options.Labels = None,
    vocabulary: spec_options.AnyVocabulary = None,
    prompt: spec_options.Prompt = None,
    weights: spec_options.Weights = None,
    max_segments: spec_options.MaxSegments = 5,
    target_seconds: spec_options.TargetSeconds = None,
    reuse: spec_options.Reuse = False,
    priority: Annotated[int, typer.Option(min=-10, max=10, help="Higher goes first among your jobs.")] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the jobs are over, as `watch` does.")] = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Have a server analyse videos: upload those that are files, have it fetch those that are URLs, and print the id of
    each one's job.

    Standard output holds the ids, one a line, and nothing else.
    """
    on_server = vocabulary if labels is None and is_name(vocabulary) else None
    spec = spec_of(
        model=model,
        also=also,
        reuse=reuse,
        sampling=sampling,
        fps=fps,
        tolerance=tolerance,
        max_frames=max_frames,
        labels=labels,
        vocabulary=None if on_server else vocabulary,
        prompt=prompt,
        weights=weights,
        max_segments=max_segments,
        target_seconds=target_seconds,
    )
    job = JobAfter(spec=spec, priority=priority, vocabulary=on_server)
    jobs: list[str] = []
    failed = False
    console = new_console(stderr=True, highlight=False)
    with connected(server, key) as client:
        for video in videos:
            try:
                jobs.append(_submitted(client, video, job, console))
                print(plain(jobs[-1]).plain, flush=True)
            except VideoError as error:
                if error.code in _OF_CALLER or _is_fault(error):
                    raise
                refuse(error)
                failed = True
        code = _watched(client, jobs, console) if wait and jobs else 0
    raise typer.Exit(REFUSED if failed else code)


def status(job: JobId, server: Server = None, key: Key = None) -> None:
    """Say how far a job is."""
    from serving.watching import standing

    with connected(server, key) as client:
        found = client.job(job)
    console = new_console(highlight=False)
    for line in standing(found):
        console.print(plain(line), soft_wrap=True)


def watch(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB", help="Ids of jobs.")],
    server: Server = None,
    key: Key = None,
) -> None:
    """Show how jobs go until all are over. Exits with 0 where all succeeded, else with 2.

    Connections that are lost are made again; nothing is missed.
    """
    with connected(server, key) as client:
        raise typer.Exit(_watched(client, jobs, new_console(highlight=False)))


def results(
    what: Annotated[str, typer.Argument(metavar="VIDEO_OR_JOB", help="Id of a video, or of a job.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report here; `-` is standard output.")
    ] = None,
    server: Server = None,
    key: Key = None,
) -> None:
    """Print the report of a job, or the latest one of a video."""
    from serving.client import VIDEO_ID

    with connected(server, key) as client:
        if VIDEO_ID.fullmatch(what):
            report = client.report(what)
        else:
            _require_succeeded(client.job(what))
            report = client.job_report(what)
    outputs.write(report, json_file)
    if str(json_file) != "-":
        from serving.report_console import print_report

        print_report(report, new_console())


def cancel(job: JobId, server: Server = None, key: Key = None) -> None:
    """Have a job stopped: at once where it waits, soon where it runs. One that is over stays as it is."""
    with connected(server, key) as client:
        found = client.cancel(job)
    says = {"canceled": "canceled", "running": "will be stopped"}.get(found.state, f"is over already: {found.state}")
    print(plain(f"{found.id} {says}").plain)


def _is_fault(error: VideoError) -> bool:
    from serving.answers import ServerFault

    return isinstance(error, ServerFault)


def _submitted(client: "Client", video: str, job: JobAfter, console: "Console") -> str:
    """The id of a video's job, for which it is sent or fetched."""
    from serving.client_fetch import fetched, is_url

    if is_url(video):
        return fetched(client, video, job, console)
    request = JobRequest(video_id=_uploaded(client, video, console), **msgspec.structs.asdict(job))
    return client.submit(request).id


def _uploaded(client: "Client", video: str, console: "Console") -> str:
    """The id of a video, which is sent where it is a file."""
    from serving.byte_bars import byte_bars
    from serving.client import VIDEO_ID

    if VIDEO_ID.fullmatch(video):
        return video
    file = Path(video)
    with byte_bars(console) as bars:
        task = bars.add_task(f"{plain(file.name).plain}: sending", total=None)
        found = client.upload(file, lambda sent, size: bars.update(task, completed=sent, total=size))
    console.print(plain(f"{file.name} is {found.id}", "dim"), soft_wrap=True)
    return found.id


def _watched(client: "Client", jobs: list[str], console: "Console") -> int:
    from serving.watching import watched

    return 0 if watched(client, jobs, console) else REFUSED


def _require_succeeded(job: "JobSeen") -> None:
    """Say why a job has no report."""
    from serving.answers import Refused

    if job.state == "succeeded":
        return
    if job.state == "failed" and job.error is not None:
        raise Refused(f"{job.id} failed: {job.error.get('detail')}", str(job.error.get("code")))
    ways = {"canceled": "was canceled", "failed": "failed"}
    waits = f"is {job.state}; `automations watch {job.id}` waits for it"
    raise Refused(f"{job.id} {ways.get(job.state, waits)}", "conflict")
