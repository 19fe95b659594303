"""`automations audit`: whether the audit log is what was written. For who runs the server."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from serving.accounts_cli import AsJson, print_json, with_place

if TYPE_CHECKING:
    from serving.audit.checking import Checked, KeptHead
    from serving.audit.showing import Shown
    from serving.db.database import Database
    from serving.places import Places

audit = typer.Typer(help="The audit log: who did what, in chains that show whether any of it was changed since.")


@audit.command()
def verify(
    heads: Annotated[
        Path | None, typer.Option(help="What `audit head --json` printed earlier: nothing may be cut off since.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify all of the log. Exit code 1 where anything in it is not what was written; each finding says which line."""
    from serving.audit import checking

    kept = () if heads is None else _read(heads)

    async def look(database: "Database", place: "Places") -> "Checked":
        from serving.audit.linking import AuditStuck, Linker
        from serving.audit.signing import AuditSigner

        signer = AuditSigner(database, place.keyring.master)
        with contextlib.suppress(AuditStuck):
            # What waits is among the findings then.
            await Linker(database, signer).link()
        return await checking.check(database, await signer.key(), kept)

    found = with_place(look)
    if as_json:
        print_json(found)
    else:
        for one in found.findings:
            where = f"line {one.number}" if one.number is not None else "no place" if one.id else "its head"
            print(f"{one.chain or 'system'}  {where}  {one.id or '-'}  {one.problem}: {one.detail}")
        if found.wrong > len(found.findings):
            print(f"... and {found.wrong - len(found.findings)} more")
        print(f"{found.lines} lines in {found.chains} chains, {found.waiting} not linked yet; {found.wrong} findings")
        if found.untagged:
            print(f"{found.untagged} lines are from before lines had tags; what came before their links is not known")
    if found.wrong:
        raise typer.Exit(1)


@audit.command()
def head(as_json: AsJson = False) -> None:
    """Print how each chain ends now. Kept where the server cannot write, this shows later that nothing was cut off."""
    from serving.audit import checking

    async def look(database: "Database", _: "Places") -> "tuple[KeptHead, ...]":
        return await checking.heads(database)

    found = with_place(look)
    if as_json:
        print_json({"heads": found})
        return
    for one in found:
        print(f"{one.chain or 'system':<30}  {one.number:>10}  {one.mac}")


@audit.command()
def show(
    tenant: Annotated[str | None, typer.Option(help="Id of a tenant; the system's lines where it is left out.")] = None,
    last: Annotated[int, typer.Option(min=1, max=10_000, help="So many of the latest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Print the latest lines of a chain, the latest last. Those of the system: refusals of strangers, master keys,
    commands of operators that are about no tenant."""
    from serving.audit import showing

    async def look(database: "Database", _: "Places") -> "tuple[Shown, ...]":
        return await showing.latest(database, tenant or "", last)

    found = with_place(look)
    if as_json:
        print_json(found)
        return
    for one in found:
        what = " ".join(filter(None, (one.write, one.code, *one.targets)))
        times = f" x{one.count}" if one.count > 1 else ""
        print(f"{one.number}  {one.at.isoformat()}  {one.kind}{times}  {one.operation}  {one.actor or '-'}  {what}")


def _read(file: Path) -> "tuple[KeptHead, ...]":
    from serving.audit.checking import KeptHead
    from serving.errors import InvalidRequest

    try:
        content = msgspec.json.decode(file.read_bytes(), type=dict[str, tuple[KeptHead, ...]])
        return content["heads"]
    except (OSError, msgspec.DecodeError, KeyError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file}: not what `automations audit head --json` prints ({error})") from None
