"""`automations serve`, `api`, `worker` and `db`: the commands of who runs a server."""

from typing import Annotated

import typer

from serving.settings import load
from serving.terminal import new_console

db = typer.Typer(help="The database's schema.")


def serve() -> None:
    """Run everything: database, API and a worker. Nothing has to be set up before.

    The first time it prints a key that may do everything; it is not shown again.
    """
    from serving import server

    settings = load().settings
    console = new_console(highlight=False)
    with server.places(settings, waiting=True) as place:
        key = server.made_first_key(place)
        for line in server.greeting(place, settings, key):
            console.print(line, markup=False, soft_wrap=True)
        raise typer.Exit(server.run_all(place, settings))


def api() -> None:
    """Run the API alone, beside a database that is migrated."""
    from serving import server

    settings = load().settings
    with server.places(settings, migrated=False, waiting=True) as place:
        server.serve_api(place, settings)


def worker() -> None:
    """Run a worker alone: it claims jobs from the database that the API writes them to."""
    from serving import ending, server

    settings = load().settings
    with server.places(settings, migrated=False, waiting=True) as place:
        ended = server.serve_worker(place, settings)
    if not ended:
        # A model that hangs would be waited for.
        ending.at_once()


@db.command()
def upgrade(revision: Annotated[str, typer.Argument(help="To which; the latest by default.")] = "head") -> None:
    """Bring the schema up to date."""
    from serving import server
    from serving.db import migrate

    with server.places(load().settings, migrated=False, waiting=True) as place:
        migrate.upgrade(place.database_url, revision)
        print(migrate.current(place.database_url))


@db.command()
def downgrade(revision: Annotated[str, typer.Argument(help="To which; `base` deletes everything.")]) -> None:
    """Take the schema back."""
    from serving import server
    from serving.db import migrate

    with server.places(load().settings, migrated=False) as place:
        migrate.downgrade(place.database_url, revision)
        print(migrate.current(place.database_url) or "base")


@db.command()
def current() -> None:
    """Print the schema's revision, and the one that this version needs."""
    from serving import server
    from serving.db import migrate

    with server.places(load().settings, migrated=False) as place:
        print(f"{migrate.current(place.database_url) or 'base'} (needs {migrate.head()})")
