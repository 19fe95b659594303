"""`automations similar`, `copies` and `recommend`: what is like something on a server, and what is the same."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from pipeline.errors import InvalidSpec
from serving.client_cli import Key, Server, connected
from serving.search_cli import filters_of, item_of
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from serving.found_answers import (
        BecauseSeen,
        CopiesSeen,
        CopySeen,
        ItemSeen,
        RecommendationSeen,
        RecommendationsSeen,
    )

#: What is recommended is one of these.
KINDS = ("videos", "segments")

Diversity = Annotated[
    float | None, typer.Option(min=0, max=1, help="0: the most relevant; 1: the most different of those.")
]
Limit = Annotated[int, typer.Option(min=1, max=100, help="Results, at most.")]
Json = Annotated[bool, typer.Option("--json", help="Print what the server answers.")]


def similar(
    what: Annotated[str, typer.Argument(metavar="VIDEO|SEGMENT", help="`vid_...`, or `vid_...#NUMBER`.")],
    diversity: Diversity = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="What results have to meet, as `name=value`: `label=summer`, `metadata=year:2024`."),
    ] = None,
    limit: Limit = 10,
    as_json: Json = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Show videos that are like a video, or key segments that are like a segment, each with its reason."""
    from serving.client import VIDEO_ID

    video, number = what, None
    if not VIDEO_ID.fullmatch(what):
        segment = item_of(what, "VIDEO|SEGMENT").get("segment")
        if segment is None:
            raise InvalidSpec(f"{what!r} is neither vid_... nor vid_...#NUMBER")
        video, number = segment["video_id"], segment["index"]
    asked: dict[str, Any] = {"limit": limit} | filters_of(where or ())
    if diversity is not None:
        asked["diversity"] = diversity
    with connected(server, key) as client:
        _show(client.similar(video, number, **asked), as_json)


def copies(
    video: Annotated[
        str | None, typer.Argument(metavar="[VIDEO]", help="Id of a video; without it, all pairs.")
    ] = None,
    limit: Limit = 20,
    as_json: Json = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Show which videos share stretches, with the ranges of both.

    Where videos are still to be looked at, or cannot be, standard error says so.
    """
    with connected(server, key) as client:
        found = client.copies(video, limit=limit)
    if as_json:
        _print_json(found)
        return
    console = new_console(highlight=False)
    for one in found.data:
        console.print(plain(_copy_line(one)), soft_wrap=True)
    for said in _unsaid(found):
        new_console(stderr=True, highlight=False).print(plain(said), soft_wrap=True)


def recommend(
    like: Annotated[
        list[str] | None, typer.Option(help="What is liked: `vid_...`, `vid_...#NUMBER` or `vid_...@SECONDS`.")
    ] = None,
    dislike: Annotated[list[str] | None, typer.Option(help="What is not, likewise.")] = None,
    kind: Annotated[str, typer.Option(help="What is recommended: `videos` or `segments`.")] = "videos",
    diversity: Diversity = None,
    where: Annotated[
        list[str] | None, typer.Option(help="What results have to meet, as `name=value`; as `search --where`.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Videos of which nothing is shown.")] = None,
    limit: Limit = 10,
    as_json: Json = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Show what somebody may like, each with its reason; without anything liked, what there is."""
    if kind not in KINDS:
        raise InvalidSpec(f"--kind: {kind!r} is not one of {', '.join(KINDS)}")
    asked: dict[str, Any] = {"kind": kind, "limit": limit, "where": filters_of(where or ())}
    asked["liked"] = [_item(one, "--like") for one in like or ()]
    asked["disliked"] = [_item(one, "--dislike") for one in dislike or ()]
    asked["exclude"] = exclude or []
    if diversity is not None:
        asked["diversity"] = diversity
    with connected(server, key) as client:
        _show(client.recommend(msgspec.json.encode(asked)), as_json)


def _item(told: str, option: str) -> dict[str, Any]:
    return item_of(told, option) if "@" in told or "#" in told else {"video_id": told}


def _show(found: "RecommendationsSeen", as_json: bool) -> None:
    if as_json:
        _print_json(found)
        return
    console = new_console(highlight=False)
    for one in found.data:
        console.print(plain(_line(one)), soft_wrap=True)
    if not found.data:
        new_console(stderr=True, highlight=False).print(plain(f"nothing was found: {found.way}"), soft_wrap=True)


def _line(one: "RecommendationSeen") -> str:
    name = one.video_id if one.segment is None else f"{one.video_id}#{one.segment}"
    why = ", ".join(_told(reason) for reason in one.reasons)
    same = f"; also {', '.join(_named(other.item) for other in one.stands_for)}" if one.stands_for else ""
    return f"{one.score:.2f}  {name}  {one.start_s:8.1f} - {one.end_s:.1f} s  {one.title}  ({why}{same})"


def _told(reason: "BecauseSeen") -> str:
    if reason.item is None:
        return f"stands for {reason.similarity:.0%} of the library"
    says = {"liked": "like", "disliked": "but like", "picked_before": "and like"}
    return f"{says.get(reason.signal, reason.signal)} {_named(reason.item)} {reason.similarity:.2f}"


def _named(item: "ItemSeen") -> str:
    return f"{item.video_id}@{item.at_s:g}" if item.segment is None else f"{item.video_id}#{item.segment}"


def _copy_line(one: "CopySeen") -> str:
    stretches = ", ".join(
        f"{s.first_start_s:.1f}-{s.first_end_s:.1f} s is {s.second_start_s:.1f}-{s.second_end_s:.1f} s"
        + (f" at {s.speed:.3f}" if abs(s.speed - 1.0) >= 0.005 else "")
        for s in one.stretches
    )
    words = {"same": "is", "first_in_second": "is in", "second_in_first": "has", "overlap": "shares with"}
    how = words.get(one.relation, one.relation)
    first, second = (f"{video.video_id} ({video.title})" for video in (one.first, one.second))
    return f"{one.likeness:.2f}  {first} {how} {second}: {stretches}"


def _unsaid(found: "CopiesSeen") -> list[str]:
    """What is not known yet, one line each."""
    if found.state is not None:
        says = {
            "pending": "its copies are still looked for",
            "failed": "its copies could not be looked for: analyse it again",
            "not_looked_at": "nobody knows what it looks like: analyse it (again)",
        }
        return [says[found.state]] if found.state in says else [] if found.data else ["no copies"]
    counts = (
        (found.pending, "of {} videos copies are still looked for"),
        (found.failed, "of {} videos copies could not be looked for: analyse them again"),
        (found.not_looked_at, "of {} videos nobody knows what they look like: analyse them again"),
    )
    said = [text.format(count) for count, text in counts if count]
    return said if said or found.data else ["no copies"]


def _print_json(record: Any) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(record), indent=1).decode() + "\n")
