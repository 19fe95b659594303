"""`automations store`: whose the store of objects is. For who runs the server."""

from typing import TYPE_CHECKING

import typer

from serving.accounts_cli import with_place

if TYPE_CHECKING:
    from serving.db.database import Database
    from serving.places import Places

store = typer.Typer(help="Whose the store of objects is: one database sweeps it, of what that does not name.")


@store.command()
def claim() -> None:
    """Say that the store is this database's: after it was moved, or where another database had it. From here on what
    this database does not name is deleted from it, once it is a day old; and no other database sweeps it."""
    from serving.storage import owning

    async def take(database: "Database", place: "Places") -> str:
        name = await owning.claim(database, place.store)
        return f"{place.store.name} belongs to the database {name}"

    print(with_place(take))
