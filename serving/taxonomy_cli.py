"""`automations vocabularies`, `correct` and `learned`: vocabularies that stand for a server's library, and learn."""

import time
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from pipeline.errors import InvalidSpec
from serving.client_cli import FAULT, Key, Server, connected
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from serving.client import Client
    from serving.found_answers import FiguresSeen, LearnedSeen, TaggingSeen

#: How often a run is looked at, seconds.
_LOOK_S: Final = 0.5

_OVER: Final = ("succeeded", "failed", "canceled")

vocabularies = typer.Typer(help="Vocabularies of a server, and whether they stand for its library.")
learned = typer.Typer(help="What vocabularies learnt of corrections.")

Vocabulary = Annotated[str, typer.Argument(metavar="VOCABULARY", help="Its id or name.")]
Label = Annotated[str, typer.Argument(metavar="LABEL", help="Any of its names.")]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until the library is tagged.")]


@vocabularies.command("list")
def every(server: Server = None, key: Key = None) -> None:
    """All vocabularies, and since when they stand for the library."""
    from serving.found_answers import VocabularySeen

    with connected(server, key) as client:
        found = _all(client, "/v1/vocabularies", VocabularySeen)
    for one in found:
        since = "" if one.applied_at is None else f"  stands since {one.applied_at:%Y-%m-%d %H:%M}"
        print(plain(f"{one.name}  {one.id}  {one.label_count} labels{since}").plain)


@vocabularies.command()
def apply(vocabulary: Vocabulary, wait: Wait = False, server: Server = None, key: Key = None) -> None:
    """Have it stand for the library: all videos are tagged by it, from what is kept of them, and those that come."""
    from serving.found_answers import TaggingSeen

    with connected(server, key) as client:
        run = client.ask("POST", f"{_path(vocabulary)}/apply", TaggingSeen)
        _tell(client, run, wait)


@vocabularies.command()
def unapply(vocabulary: Vocabulary, server: Server = None, key: Key = None) -> None:
    """No longer have it stand for the library: its tags are taken away. Corrections stay."""
    with connected(server, key) as client:
        client.ask("DELETE", f"{_path(vocabulary)}/apply", None)


@vocabularies.command()
def taggings(
    vocabulary: Annotated[str | None, typer.Argument(metavar="[VOCABULARY]", help="Of this one only.")] = None,
    server: Server = None,
    key: Key = None,
) -> None:
    """The latest runs in which the library was tagged anew."""
    from serving.found_answers import TaggingSeen

    asked = {} if vocabulary is None else {"vocabulary": vocabulary}
    with connected(server, key) as client:
        found = client.ask("GET", "/v1/taggings", _page(TaggingSeen), **asked)
    for one in found["data"]:
        print(plain(_run(one)).plain)


def correct(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="Id of a video, `vid_...`.")],
    label: Label,
    accept: Annotated[bool, typer.Option("--accept/--reject", help="Whether the label holds there.")] = True,
    vocabulary: Annotated[
        str | None, typer.Option(help="Whose label it is; else one of the video's report, for which nothing is learnt.")
    ] = None,
    stretch: Annotated[
        str | None, typer.Option("--at", help="START-END in seconds, `12-15.5`; else the whole video.")
    ] = None,
    segment: Annotated[int | None, typer.Option(min=0, help="Instead: a key segment, by its place.")] = None,
    server: Server = None,
    key: Key = None,
) -> None:
    """Say that a label holds in a video, or that it does not: it is answered so from then on, and learnt from."""
    from serving.found_answers import CorrectionSeen

    body: dict[str, Any] = {"video_id": video, "label": label, "verdict": "accepted" if accept else "rejected"}
    if vocabulary is not None:
        body["vocabulary"] = vocabulary
    if segment is not None:
        body["segment"] = segment
    if stretch is not None:
        body["start_s"], body["end_s"] = _seconds(stretch)
    with connected(server, key) as client:
        said = client.ask("POST", "/v1/corrections", CorrectionSeen, body)
    end = "the end" if said.end_s is None else f"{said.end_s:g} s"
    print(plain(f"{said.id}  {said.label} {said.verdict} from {said.start_s:g} s to {end}").plain)


@learned.command("list")
def told(
    vocabulary: Vocabulary,
    label: Annotated[str | None, typer.Option(help="For this label, by any of its names.")] = None,
    server: Server = None,
    key: Key = None,
) -> None:
    """What was learnt, latest first: of how many examples, how good it is, and what it changed."""
    from serving.found_answers import LearnedSeen

    asked = {} if label is None else {"label": label}
    with connected(server, key) as client:
        found = _all(client, f"{_path(vocabulary)}/learned", LearnedSeen, **asked)
    for one in found:
        print(plain(_learnt(one)).plain)
    if not found:
        new_console(stderr=True, highlight=False).print("nothing was learnt yet")


@learned.command()
def now(vocabulary: Vocabulary, label: Label, server: Server = None, key: Key = None) -> None:
    """Have a worker learn for a label now, of all that was said of it."""
    with connected(server, key) as client:
        client.ask("POST", f"{_path(vocabulary)}/learning", dict, {"label": label})


@learned.command()
def undo(vocabulary: Vocabulary, label: Label, server: Server = None, key: Key = None) -> None:
    """Have a label be tagged as it was before what holds for it was learnt."""
    from serving.found_answers import LearnedSeen

    with connected(server, key) as client:
        one = client.ask("POST", f"{_path(vocabulary)}/learned/undo", LearnedSeen, {"label": label})
    print(plain(_learnt(one)).plain)


def _tell(client: "Client", run: "TaggingSeen", wait: bool) -> None:
    from serving.found_answers import TaggingSeen

    while wait and run.state != "succeeded":
        if run.state in _OVER:
            # Whoever changes what its tags are made of begins another run in its place: that one does what was asked.
            asked = {"vocabulary": run.vocabulary_id, "limit": "1"}
            latest = client.ask("GET", "/v1/taggings", _page(TaggingSeen), **asked)["data"]
            if run.state == "failed" or not latest or latest[0].id == run.id:
                break
            run = latest[0]
        else:
            time.sleep(_LOOK_S)
            run = client.ask("GET", f"/v1/taggings/{run.id}", TaggingSeen)
    print(plain(_run(run)).plain)
    if run.state in ("failed", "canceled"):
        raise typer.Exit(FAULT)


def _run(one: "TaggingSeen") -> str:
    far = f"{one.done} of {one.total} videos" if one.total is not None else "waits for a worker"
    why = f": {one.error.get('detail')}" if one.error else ""
    return f"{one.id}  {one.reason}  {one.state}  {far}, {one.changed} changed, +{one.gained} -{one.lost} tags{why}"


def _learnt(one: "LearnedSeen") -> str:
    return (
        f"{one.label} {one.number}  {one.standing}  {one.kind} from {one.threshold:.2f}  "
        f"{one.accepted} accepted, {one.rejected} rejected  {_figures(one.before)} -> {_figures(one.after)}  "
        f"+{one.gained} -{one.lost} videos"
    )


def _figures(one: "FiguresSeen") -> str:
    return f"F1 {one.f1:.2f} ({one.precision:.2f}/{one.recall:.2f})"


def _all(client: "Client", path: str, kind: type, **params: str) -> list[Any]:
    """All entries of a list."""
    found: list[Any] = []
    more: dict[str, str] = {}
    while True:
        page = client.ask("GET", path, _page(kind), **params, **more)
        found += page["data"]
        if page.get("next_cursor") is None:
            return found
        more = {"cursor": page["next_cursor"]}


def _page(kind: type) -> Any:
    return dict[str, tuple[kind, ...] | str | None]  # type: ignore[valid-type]


def _path(vocabulary: str) -> str:
    return f"/v1/vocabularies/{quote(vocabulary, safe='')}"


def _seconds(stretch: str) -> tuple[float, float]:
    start, _, end = stretch.partition("-")
    try:
        return float(start), float(end)
    except ValueError as error:
        raise InvalidSpec(f"--at: {stretch!r} is not START-END in seconds, for example 12-15.5") from error
