"""`automations backup`, `restore` and `erasures`: for who runs the server."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from serving.accounts_cli import AsJson, print_json, with_place
from serving.settings import load

if TYPE_CHECKING:
    from serving.backup.saving import Saved
    from serving.db.database import Database
    from serving.places import Places
    from serving.rights.journal import Erased

Folder = Annotated[Path, typer.Argument(help="Folder of the backup; on another disk, or mounted from elsewhere.")]
KeysFolder = Annotated[
    Path | None,
    typer.Option("--keys", help="Folder of its keys; `keys` in the other one where it is not said. Better elsewhere."),
]


def backup(
    folder: Folder,
    keys: KeysFolder = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Snapshots to keep, this one counted; all by default.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all that is there already, too; copy again what is damaged.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add a snapshot of database and videos to a folder. The server may run meanwhile; objects that are there already
    are not copied again. Nothing in it can be read without the master key, which is not in it: keep that one, too.
    The exit code is 1 where a snapshot was made, but something is to be looked at: an object is lost in the store, an
    entry of the journal of erasures is not signed, or something is damaged in the folder."""
    from serving.audit.noting import noted
    from serving.backup import saving

    async def save(database: "Database", place: "Places") -> "Saved":
        done = await saving.save(place, folder, keys or folder / "keys", keep, verify=verify)
        await noted(database, "backup.made", done.name)
        return done

    done = with_place(save)
    if as_json:
        print_json(done)
    else:
        print(f"{done.name}: {done.rows} rows, {done.objects} objects, of which {done.copied} were new")
        if done.removed_objects or done.removed_snapshots:
            print(f"{done.removed_snapshots} old snapshots and {done.removed_objects} objects were removed")
    for key in done.missing:
        lost = key in done.lost
        print(f"{key} {'is LOST in the store' if lost else 'was deleted meanwhile'}", file=sys.stderr)
    for name in done.unreadable:
        print(f"the snapshot {name} cannot be read with the keys that are here, or is damaged", file=sys.stderr)
    for one in done.disputed:
        print(f"erasures/{one} is not signed, and its video is there: it was not believed", file=sys.stderr)
    for name in done.damaged:
        print(f"{name} is DAMAGED in the backup", file=sys.stderr)
    if done.lost or done.disputed or done.damaged:
        raise typer.Exit(1)


def restore(
    folder: Folder,
    keys: KeysFolder = None,
    snapshot: Annotated[str | None, typer.Option(help="Name of the snapshot; the latest by default.")] = None,
    erasures: Annotated[
        list[Path] | None,
        typer.Option(help="Journal of what was erased since, as `automations erasures` prints it; may be repeated."),
    ] = None,
    damaged_too: Annotated[
        bool, typer.Option("--damaged-too", help="Go on where objects are damaged or missing, without them.")
    ] = False,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Go on where the store is a database's, which loses it: the saved one, too."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a server back from a backup, into an empty database; before it is started. What was erased since the
    snapshot stays erased, as far as journals know: that of the backup, that of the data folder, and --erasures."""
    from serving import places
    from serving.backup import restoring
    from serving.rights import journal

    known: list[Erased] = []
    for file in erasures or ():
        known += journal.parsed(file.read_bytes(), str(file))
    with places.places(load().settings, migrated=False) as place:
        done = restoring.restore(
            place,
            folder,
            keys or folder / "keys",
            name=snapshot,
            erasures=known,
            damaged_too=damaged_too,
            take_over=take_over,
        )
    if as_json:
        print_json(done)
        return
    print(f"{done.name}: {done.rows} rows, {done.objects} objects")
    print(f"{done.erasures} erasures are known; {done.left_out} videos of the snapshot were not brought back")
    for video in done.keyless:
        print(f"{video} was not brought back: the snapshot has no key for it", file=sys.stderr)
    for key in done.damaged:
        print(f"{key} is damaged or missing", file=sys.stderr)


def erasures() -> None:
    """Print the journal of erasures, one a line, signed: to keep a copy of it elsewhere, for `restore --erasures`. That
    is what the database has rows of, and what is signed in the store. The exit code is 1 where there is more: that is
    told, and not printed, for `restore` believes what it is given."""
    from serving.backup.agreeing import Agreed, known

    async def look(database: "Database", place: "Places") -> Agreed:
        return await known(database, place)

    agreement = with_place(look)
    for id in sorted(agreement.proved):
        print(msgspec.json.encode(agreement.entries[id]).decode())
    for id in agreement.disputed:
        print(f"erasures/{id} is not signed, and the database knows nothing of it: it is left out", file=sys.stderr)
    if agreement.disputed:
        raise typer.Exit(1)
