"""`automations keys`: what stored videos are sealed with. For who runs the server."""

import sys
from typing import TYPE_CHECKING

import msgspec
import typer

from serving.accounts_cli import AsJson, print_json, with_place

if TYPE_CHECKING:
    from serving.db.database import Database
    from serving.places import Places
    from serving.storage.old_objects import Sealed
    from serving.storage.rotating import KeysStatus, Rotated

keys = typer.Typer(help="Keys of what is stored: a master key wraps those of tenants, they wrap those of videos.")


@keys.command()
def status(as_json: AsJson = False) -> None:
    """Print what is wrapped by what, and what is not sealed yet."""
    from serving.storage import rotating

    async def look(database: "Database", place: "Places") -> "KeysStatus":
        return await rotating.status(database, place.keyring)

    found = with_place(look)
    if as_json:
        print_json(found)
        return
    print(f"master key       {found.master}")
    for name, count in found.masters.items():
        note = "" if name == found.master else ", an older one: rotate"
        if name in found.lost:
            note = ", which is LOST: put that master key back, no video of theirs can be read without it"
        print(f"keys             {count} by {name}{note}")
    behind = f" ({found.behind} by an older key: rotate)" if found.behind else ""
    print(f"sealed objects   {found.data_keys}{behind}")
    print(f"sealed rows      of {found.value_keys} videos and tenants")
    for what, count in (("videos", found.unsealed_videos), ("rows", found.unsealed_values)):
        print(f"{f'unsealed {what}':<16} {count}{' (stop the server and all workers, then seal)' if count else ''}")
    if found.written_over:
        tables = ", ".join(found.written_over)
        print(f"written over     still in the files of {tables} (stop the server and all workers, then seal)")


@keys.command()
def rotate(as_json: AsJson = False) -> None:
    """Make new keys of tenants, and wrap all keys anew, by the present master key. The server may run meanwhile; videos
    are not touched. What was interrupted goes on. A key whose row is damaged is told, stays as it is, and makes the
    exit code 1."""
    from serving.storage import rotating

    async def turn(database: "Database", place: "Places") -> "Rotated":
        return await rotating.rotate(database, place.keyring)

    done = with_place(turn)
    if as_json:
        print_json(done)
    else:
        print(f"{done.tenant_keys} new keys of tenants, {done.under_master} wrapped by the present master key")
        print(f"{done.data_keys} keys of objects and rows wrapped anew")
    for name in done.damaged:
        print(f"{name}: its key is not what was written; restore its row from a backup, then rotate", file=sys.stderr)
    if done.damaged:
        raise typer.Exit(1)


@keys.command()
def seal(as_json: AsJson = False) -> None:
    """Seal what is from before all was sealed: videos, reports, secrets of webhooks and uploads. No worker may run
    meanwhile. A video that cannot be sealed is told, stays as it is, and makes the exit code 1; what was interrupted
    goes on. Tables that had unsealed rows are written anew, one by one; meanwhile that one is on the disk twice."""
    from serving.storage import old_objects, old_values

    def tell(video_id: str, why: str) -> None:
        print(f"{video_id} cannot be sealed: {why}", file=sys.stderr, flush=True)

    async def replace(database: "Database", place: "Places") -> "Sealed":
        done = await old_objects.seal(database, place.store, tell)
        return msgspec.structs.replace(done, rows=await old_values.seal(database, place.keyring))

    done = with_place(replace)
    if as_json:
        print_json(done)
    else:
        print(f"{done.sealed} videos sealed, {len(done.failed)} cannot be; {done.rows} rows sealed")
    if done.failed:
        raise typer.Exit(1)
