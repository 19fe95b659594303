"""`automations export` and `import`: what a server holds about a video or a tenant, as a file."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import InputNotFound
from serving.accounts_cli import AsJson, print_json
from serving.client_cli import Key, Server, connected
from serving.errors import InvalidRequest

Passphrase = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="A file that holds the passphrase; asked for at a terminal without it."),
]


def export(
    out: Annotated[Path, typer.Argument(help="File to write; one that is there is not replaced.")],
    video: Annotated[str | None, typer.Option(help="Id of a video; all that you have where it is left out.")] = None,
    passphrase_file: Passphrase = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Do not lock it: whoever has the file sees the videos in it.")
    ] = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Write all that a server holds about a video, or about you, to an archive: videos, reports, labels, metadata,
    corrections, vocabularies. It is locked by a passphrase as it comes, unless you say --plain."""
    from serving.archive.locking import locked

    if out.exists():
        raise InvalidRequest(f"{out} is there already; name another file")
    if plain and passphrase_file is not None:
        raise InvalidRequest("--plain and a passphrase: one of the two")
    passphrase = None if plain else _passphrase(passphrase_file, twice=True)
    made = out.with_name(out.name + ".part")
    try:
        with connected(server, key) as client, open(made, "xb", opener=_for_its_owner) as file:
            chunks = client.exported(video)
            size = 0
            for chunk in chunks if passphrase is None else locked(chunks, passphrase):
                file.write(chunk)
                size += len(chunk)
    except FileExistsError:
        raise InvalidRequest(f"{made} is there: another export is under way, or was ended; remove it") from None
    except BaseException:
        made.unlink(missing_ok=True)
        raise
    made.rename(out)
    print(f"{out}: {size} bytes, {'locked' if passphrase is not None else 'NOT locked: all of it can be read'}")


def import_(
    file: Annotated[Path, typer.Argument(help="An archive, locked or not.")],
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Read an archive back, into any server: videos come under new ids, sealed with new keys. Those whose bytes are
    there already stay as they are; so an import that was interrupted is done again."""
    from serving.archive.locking import is_locked, unlocked

    if not file.is_file():
        raise InputNotFound(f"{file}: no such file")
    passphrase = _passphrase(passphrase_file, twice=False) if is_locked(file) else None
    with connected(server, key) as client:
        done = client.imported(lambda: _plain(file) if passphrase is None else unlocked(file, passphrase))
    if as_json:
        print_json(done)
        return
    print(f"{len(done.videos)} videos came, {len(done.there)} were there already")
    for one in done.without_bytes:
        print(f"{one} has no bytes in the archive: they had been lost", file=sys.stderr)
    for name in done.vocabularies_there:
        print(f"the vocabulary {name} was there already, and stays as it was", file=sys.stderr)


def _for_its_owner(path: str, flags: int) -> int:
    """From its first moment: who opened it before others were shut out would read on."""
    return os.open(path, flags, 0o600)


def _plain(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            yield chunk


def _passphrase(file: Path | None, *, twice: bool) -> str:
    """Never an argument: those are seen by all users of the machine."""
    if file is not None:
        return file.read_text().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InvalidRequest("say with --passphrase-file what locks the archive, or with --plain that nothing does")
    return typer.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True)
