"""Looks for things in files that may be in none: as they are, and as texts write bytes. Nothing is decompressed."""

import base64
import contextlib
import mmap
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: Shorter ones are found by chance.
LEAST_BYTES = 8


@dataclass(frozen=True, order=True)
class Hit:
    """Something that was found."""

    file: str
    canary: str
    """Its name."""
    form: str
    """How it was written."""
    offset: int


def forms(canary: bytes) -> dict[str, bytes]:
    """How bytes may be written. Base64 depends on where they begin; what neighbours have a part in is left out."""
    if len(canary) < LEAST_BYTES:
        raise ValueError(f"{canary!r} may be anywhere")
    found = {"as it is": canary, "hex": canary.hex().encode(), "HEX": canary.hex().upper().encode()}
    for shift in range(3):
        # Whole groups of three bytes.
        inner = canary[-shift % 3 :]
        inner = inner[: len(inner) // 3 * 3]
        encoded = base64.b64encode(inner)
        found[f"base64 from {shift}"] = encoded
        found[f"base64url from {shift}"] = encoded.replace(b"+", b"-").replace(b"/", b"_")
    with contextlib.suppress(UnicodeDecodeError):
        found["UTF-16"] = canary.decode().encode("utf-16-le")
    return found


def files(places: Iterable[Path]) -> Iterator[Path]:
    """All files below, whoever made them; those that go meanwhile are passed over."""
    for place in places:
        for folder, _, names in os.walk(place):
            yield from (Path(folder, name) for name in sorted(names))


def scan(places: Iterable[Path], canaries: dict[str, bytes]) -> list[Hit]:
    """Where canaries are in the files below some folders: the first place of each form in each file. Names of files
    and folders are looked at, too.

    Args:
        canaries: name of each -> its bytes.
    """
    wanted = {(name, form, written) for name, one in canaries.items() for form, written in forms(one).items()}
    patterns: dict[bytes, list[tuple[str, str]]] = {}
    for name, form, written in sorted(wanted):
        patterns.setdefault(written, []).append((name, form))
    hits = []
    for file in files(places):
        named = os.fsencode(file)
        hits += [
            Hit(str(file), name, f"{form}, in its name", 0)
            for written, which in patterns.items()
            if written in named
            for name, form in which
        ]
        hits += _in_file(file, patterns)
    return sorted(hits)


def _in_file(file: Path, patterns: dict[bytes, list[tuple[str, str]]]) -> Iterator[Hit]:
    try:
        if not file.is_file() or not file.stat().st_size:
            return
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for written, which in patterns.items():
                if (at := content.find(written)) >= 0:
                    yield from (Hit(str(file), name, form, at) for name, form in which)
    except FileNotFoundError:
        return
