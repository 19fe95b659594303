"""Looks for things in files that may be in none: as they are, and as texts write bytes. Nothing is decompressed."""

import base64
import contextlib
import mmap
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

#: Shorter ones are found by chance.
LEAST_BYTES = 8

_HASH_BITS: Final = 24
_STRETCH_BYTES: Final = 1 << 24


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
    looked_for = _LookedFor(canaries)
    hits = []
    for file in files(places):
        hits += [replace(hit, form=f"{hit.form}, in its name") for hit in looked_for.within(os.fsencode(file), file)]
        with contextlib.suppress(FileNotFoundError):
            if file.is_file() and file.stat().st_size:
                with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    hits += looked_for.within(content, file)
    return sorted(hits)


class _LookedFor:
    """Thousands of patterns, looked for at once: a search for each would take hours for a few gigabytes."""

    def __init__(self, canaries: dict[str, bytes]) -> None:
        self._by_head: dict[bytes, list[tuple[bytes, str, str]]] = {}
        for name, form, written in sorted(
            (n, form, w) for n, one in canaries.items() for form, w in forms(one).items()
        ):
            self._by_head.setdefault(written[:LEAST_BYTES], []).append((written, name, form))
        # Which hashes of four bytes a pattern begins with: nearly all places are none.
        self._begins = np.zeros(1 << _HASH_BITS, bool)
        self._begins[_hashed(np.frombuffer(b"".join(head[:4] for head in self._by_head), "<u4"))] = True

    def within(self, content: bytes | mmap.mmap, file: Path) -> list[Hit]:
        """The first place of each."""
        found: dict[tuple[str, str], int] = {}
        for at in self._places(content):
            for written, name, form in self._by_head.get(content[at : at + LEAST_BYTES], ()):
                if (name, form) not in found and content[at : at + len(written)] == written:
                    found[name, form] = at
        return [Hit(str(file), name, form, at) for (name, form), at in found.items()]

    def _places(self, content: bytes | mmap.mmap) -> Iterator[int]:
        """Where one may begin, in order within each stretch."""
        for start in range(0, len(content), _STRETCH_BYTES):
            stretch = content[start : start + _STRETCH_BYTES + 3]
            places = [
                np.flatnonzero(self._begins[_hashed(np.frombuffer(stretch, "<u4", count, offset))]) * 4 + offset
                for offset in range(4)
                if (count := (len(stretch) - offset) // 4) > 0
            ]
            if places:
                yield from (start + np.sort(np.concatenate(places))).tolist()


def _hashed(words: np.ndarray) -> np.ndarray:
    """uint32 -> hashes (Knuth's multiplicative one)."""
    return (words * np.uint32(2_654_435_761)) >> np.uint32(32 - _HASH_BITS)
