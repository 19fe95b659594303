"""`automations search`: find moments on a server."""

import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from pipeline.errors import InputNotFound, InvalidSpec
from serving.client_cli import Key, Server, connected
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from serving.found_answers import ResultSeen, SearchSeen

#: Results are grouped by one of these.
GROUPS = ("moments", "segments", "videos")

#: Bytes of a picture that a server takes in one request.
_MAX_PICTURE_BYTES = 3_000_000


def search(
    text: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="What is to be seen, in words.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="A JPEG, PNG or WebP file that shows it.")] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(help="A moment that shows it: `vid_...@SECONDS`, or a segment: `vid_...#NUMBER`."),
    ] = None,
    without: Annotated[list[str] | None, typer.Option("--not", help="What is not to be seen, in words.")] = None,
    group_by: Annotated[str, typer.Option(help="What results are: `moments`, `segments` or `videos`.")] = "moments",
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="What results have to meet, as `name=value`: `label=summer`, `before_s=60`, `metadata=year:2024`."
        ),
    ] = None,
    words: Annotated[bool, typer.Option(help="Whether titles, tags and transcripts count, too.")] = True,
    min_score: Annotated[float | None, typer.Option(help="Least probability of a result; else the server's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Results, at most.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the server answers.")] = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Find moments by what they show and what is said of them.

    Several texts, pictures and moments are looked for together. Where nothing is probable enough, nothing is printed
    on standard output, and how near it came on standard error.
    """
    if group_by not in GROUPS:
        raise InvalidSpec(f"--group-by: {group_by!r} is not one of {', '.join(GROUPS)}")
    query: list[dict[str, Any]] = [{"text": one} for one in text or ()]
    query += [{"image": _encoded(one)} for one in image or ()]
    query += [item_of(one, "--like") for one in like or ()]
    query += [{"text": one, "weight": -1.0} for one in without or ()]
    if not query:
        raise InvalidSpec("nothing is looked for: give a text, --image or --like")
    asked: dict[str, Any] = {"query": query, "group_by": group_by, "limit": limit, "words": words}
    asked["where"] = filters_of(where or ())
    if min_score is not None:
        asked["min_score"] = min_score
    with connected(server, key) as client:
        found = client.search(msgspec.json.encode(asked))
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n")
    else:
        _print(found)


def _print(found: "SearchSeen") -> None:
    console = new_console(highlight=False)
    for one in found.data:
        console.print(plain(_line(one)), soft_wrap=True)
    if not found.data:
        best = found.best_rejected
        near = f"; nearest: {best.video_id} at {best.start_s:.1f} s with {best.score:.2f}" if best else ""
        new_console(stderr=True, highlight=False).print(plain(f"nothing was found{near}"), soft_wrap=True)


def _line(one: "ResultSeen") -> str:
    why = ", ".join(_told(reason) for reason in one.reasons)
    return f"{one.score:.2f}  {one.video_id}  {one.start_s:8.1f} - {one.end_s:.1f} s  {one.title}  ({why})"


def _told(reason: Any) -> str:
    if reason.signal == "words":
        return f"{reason.about} says {', '.join(reason.words)}"
    both = f": both {reason.both}" if reason.both else ""
    return f"{'not ' if reason.weight < 0 else ''}{reason.about} {reason.score:.2f}{both}"


def _encoded(path: Path) -> str:
    if not path.is_file():
        raise InputNotFound(f"{path}: no such file")
    if path.stat().st_size > _MAX_PICTURE_BYTES:
        raise InvalidSpec(f"{path}: larger than {_MAX_PICTURE_BYTES} bytes; make the picture smaller")
    return base64.b64encode(path.read_bytes()).decode()


def item_of(told: str, option: str) -> dict[str, Any]:
    """A moment or a segment, as the server has it. Raises InvalidSpec, which names the option."""
    for sign, kind, name, number in (("@", "moment", "at_s", float), ("#", "segment", "index", int)):
        video, found, value = told.partition(sign)
        if found:
            try:
                return {kind: {"video_id": video, name: number(value)}}
            except ValueError:
                break
    raise InvalidSpec(f"{option}: {told!r} is neither vid_...@SECONDS nor vid_...#NUMBER")


def filters_of(told: Any) -> dict[str, Any]:
    """Filters as the server has them: numbers as such, what may be said several times as a list. Raises InvalidSpec."""
    found: dict[str, Any] = {}
    for one in told:
        name, equals, value = one.partition("=")
        if not equals:
            raise InvalidSpec(f"--where: {one!r} is no name=value")
        if name in ("metadata", "video_ids"):
            found.setdefault(name, []).append(value)
        elif name.endswith("_s") or name == "min_tag_score":
            try:
                found[name] = float(value)
            except ValueError as error:
                raise InvalidSpec(f"--where: {name} is a number, not {value!r}") from error
        else:
            found[name] = value
    return found
