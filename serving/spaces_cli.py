"""`automations spaces`: which model's vectors a server answers searches from, and the change to another's."""

from typing import TYPE_CHECKING, Annotated

import typer

from serving.client_cli import Key, Server, connected
from serving.terminal import new_console, plain

if TYPE_CHECKING:
    from serving.found_answers import SpaceSeen

spaces = typer.Typer(help="Spaces of vectors that videos are found in: one for each model, of which one answers.")

Space = Annotated[str, typer.Argument(help="A space, as `automations spaces list` names it.")]


@spaces.command("list")
def list_spaces(server: Server = None, key: Key = None) -> None:
    """Print all spaces, the one that answers first."""
    with connected(server, key) as client:
        _print(*client.spaces())


@spaces.command("build")
def build(
    model: Annotated[str, typer.Argument(help="A model that jobs may ask for.")],
    server: Server = None,
    key: Key = None,
) -> None:
    """Have workers put all videos into the space of a model, while searches go on in the one that answers."""
    with connected(server, key) as client:
        _print(client.build_space(model))


@spaces.command("activate")
def activate(
    space: Space,
    least_coverage: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the videos that have to be in it.")
    ] = 1.0,
    server: Server = None,
    key: Key = None,
) -> None:
    """Answer searches from a space. Activating the one before again undoes it."""
    with connected(server, key) as client:
        _print(client.activate_space(space, least_coverage))


@spaces.command("remove")
def remove(space: Space, server: Server = None, key: Key = None) -> None:
    """Remove a space that does not answer, with its vectors."""
    with connected(server, key) as client:
        client.remove_space(space)


def _print(*found: "SpaceSeen") -> None:
    console = new_console(highlight=False)
    for one in found:
        line = f"{one.space}  {one.state:7}  {one.videos} of {one.library} videos ({one.coverage:.1%})  {one.model}"
        if one.given_up:
            line += f"  {one.given_up} given up"
        if one.error:
            line += f"  ({one.error})"
        console.print(plain(line), soft_wrap=True)
