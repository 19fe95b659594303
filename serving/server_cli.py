"""`automations serve`, `api`, `worker` and `db`: the commands of who runs a server."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from serving.graph import launch_cli
from serving.settings import load
from serving.terminal import new_console

if TYPE_CHECKING:
    from serving.places import Places

db = typer.Typer(help="The database's schema.")


class Engine(StrEnum):
    """What works on jobs."""

    RAY = "ray"
    LOCAL = "local"


def serve(
    engine: Annotated[
        Engine,
        typer.Option(
            help="What works on jobs: the graph on Ray Serve, which scales and mends itself, or `local`: one "
            "worker with its models in it, which starts sooner and needs less memory."
        ),
    ] = Engine.RAY,
    config: launch_cli.Config = "cpu",
    dashboard: launch_cli.Dashboard = False,
) -> None:
    """Run everything: database, API, and what works on jobs. Nothing has to be set up before.

    The first time it prints a key that may do everything; it is not shown again.
    """
    from serving import server, together

    with together.Api() as served:
        settings = load().settings
        if engine is Engine.LOCAL:
            works, said = together.Works(("worker",)), "a worker with its models in it"
        else:
            from serving.graph import deploy_file

            path = deploy_file.path_of(config)
            # What is wrong with the file is told before anything else, as far as that shows at once.
            gateway = deploy_file.gateway_url(deploy_file.load(path))
            command = ("graph", "--config", config, *(["--dashboard"] if dashboard else []))
            works, said = together.Works(command, gateway, mended=True), f"Ray Serve by {path}"

        def greet(place: "Places", key: str | None) -> None:
            console = new_console(highlight=False)
            for line in server.greeting(place, settings, key, said):
                console.print(line, markup=False, soft_wrap=True)

        code = together.run_all(settings, works, served, greet)
    raise typer.Exit(code)


def api() -> None:
    """Run the API alone, beside a database that is migrated."""
    from serving import places, server

    settings = load().settings
    with places.places(settings, migrated=False, asked=False) as place:
        server.serve_api(settings, lambda: place)


def worker() -> None:
    """Run a worker alone: it claims jobs from the database that the API writes them to."""
    from serving import ending, places, server

    settings = load().settings
    with places.places(settings, migrated=False, waiting=True, keyed=True) as place:
        ended = server.serve_worker(place, settings)
    if not ended:
        # A model that hangs would be waited for.
        ending.at_once()


@db.command()
def upgrade(revision: Annotated[str, typer.Argument(help="To which; the latest by default.")] = "head") -> None:
    """Bring the schema up to date."""
    from serving import places
    from serving.db import migrate

    with places.places(load().settings, migrated=False, waiting=True) as place:
        migrate.upgrade(place.database_url, revision)
        print(migrate.current(place.database_url))


@db.command()
def downgrade(revision: Annotated[str, typer.Argument(help="To which; `base` deletes everything.")]) -> None:
    """Take the schema back."""
    from serving import places
    from serving.db import migrate

    with places.places(load().settings, migrated=False) as place:
        migrate.downgrade(place.database_url, revision)
        print(migrate.current(place.database_url) or "base")


@db.command()
def current() -> None:
    """Print the schema's revision, and the one that this version needs."""
    from serving import places
    from serving.db import migrate

    with places.places(load().settings, migrated=False) as place:
        print(f"{migrate.current(place.database_url) or 'base'} (needs {migrate.head()})")
