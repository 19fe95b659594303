"""What the kinds of containers have in common."""

from dataclasses import dataclass
from typing import Protocol

#: Parts of a file that are looked at before it is given up; a day in fragments of two seconds has 86,400.
MOST_PARTS = 200_000


class OpenFile(Protocol):
    """See `opened.OpenFile`."""

    def read_at(self, offset: int, length: int) -> bytes:
        """So many bytes from there; fewer where it ends before."""
        ...

    @property
    def size_bytes(self) -> int:
        """Its size when it was opened."""
        ...


@dataclass(frozen=True, slots=True)
class Ending:
    """How a file shows that it was cut off."""

    what: str
    """A clause for people."""
    in_header: bool
    """Whether it ends before its streams are described."""


def past_the_end(part: str, end: int, size: int, *, in_header: bool) -> Ending:
    """A part of the file says that it goes on to byte `end`, but the file has `size`."""
    return Ending(f"its {part} should go on to byte {end:,}, and the file ends at byte {size:,}", in_header)


def no_ending(_: OpenFile) -> None:
    """For containers that promise nothing, and so do not show that they were cut off."""


def no_encryption(_: OpenFile, __: int | None) -> None:
    """For containers that have no encryption, or do not say so."""
