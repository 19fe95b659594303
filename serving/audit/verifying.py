"""Whether a chain is what was written: no line changed, dropped, added, moved or repeated, at its end neither."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.record import Record
from serving.audit.lines import Head, Line, link, same, tag

Problem = Literal[
    "changed",
    "dropped",
    "added",
    "repeated",
    "forged",
    "untagged",
    "late",
    "waiting",
    "cut off",
    "head altered",
    "head missing",
    "not as kept elsewhere",
    "key altered",
]


class Finding(Record, frozen=True, kw_only=True):
    """Something that is wrong with the log."""

    chain: str
    """Id of the tenant whose it is; empty: the system's."""
    number: int | None
    """Of the line in its chain."""
    id: str | None
    """Of the line."""
    problem: Problem
    detail: str
    """What that is, in words."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A line in its chain, as it is found."""

    number: int
    id: str
    mac: bytes
    line: Line | None
    """None: it is gone."""
    tag: bytes | None


class Walk:
    """Along a chain, from its beginning to its end. Nothing is found where all is as it was written."""

    def __init__(self, key: bytes, head: Head) -> None:
        """
        Args:
            key: [32] of the log.
            head: of the chain, as it is found.
        """
        self._key, self._head = key, head
        self._number, self._mac = head.first, head.first_mac

    def begin(self, seal: bytes) -> Iterator[Finding]:
        """What is wrong with the head. `seal`: of it, as it is found."""
        if not same(self._head.seal(self._key), seal):
            yield self._says(None, "head altered", "what is known of its beginning and end was changed, or made anew")

    def step(self, one: Linked) -> Iterator[Finding]:
        """What is wrong with the next line, by its number."""
        if one.number > self._number + 1:
            missing = f"lines {self._number + 1} to {one.number - 1} are gone, and their links"
            yield self._says(None, "dropped", missing, self._number + 1)
        elif one.number <= self._number:
            yield self._says(one, "added", "there is one of this number already, or it was deleted as old")
        if one.number > self._head.number:
            yield self._says(one, "added", f"the chain ends with {self._head.number}")
        expected = link(self._key, self._head.chain, one.number, self._mac, one.tag, one.line, one.id)
        if one.line is None:
            yield self._says(one, "dropped", "the line is gone, its link is there")
        elif not same(expected, one.mac):
            yield self._says(one, "changed", "it, its place, or the link before it is not what was written")
        else:
            yield from self._of(one, one.line)
        self._number, self._mac = max(one.number, self._number), one.mac

    def _of(self, one: Linked, line: Line) -> Iterator[Finding]:
        """What is wrong with a line that was linked as it is: somebody may have put it there before that."""
        if one.tag is not None and not same(tag(self._key, line), one.tag):
            yield self._says(one, "forged", "who wrote it had no key")
        if one.tag is None and self._head.tagged <= one.number:
            yield self._says(one, "untagged", "who wrote it had no key")
        if self._head.cleared is not None and line.at < self._head.cleared:
            yield self._says(one, "late", "it is older than what was deleted as old before it came")
        if line.chain != self._head.chain or line.id != one.id:
            yield self._says(one, "changed", "it belongs elsewhere")

    def end(self) -> Iterator[Finding]:
        """What is wrong with the end."""
        if self._number < self._head.number:
            gone = f"lines {self._number + 1} to {self._head.number} are gone"
            yield self._says(None, "cut off", gone, self._number + 1)
        elif not same(self._mac, self._head.mac):
            yield self._says(None, "cut off", "its last line is not the one that it ended with", self._number)

    def _says(self, one: Linked | None, problem: Problem, detail: str, number: int | None = None) -> Finding:
        """A finding about a line, or about the chain."""
        return Finding(
            chain=self._head.chain,
            number=number if one is None else one.number,
            id=None if one is None else one.id,
            problem=problem,
            detail=detail,
        )


def findings(key: bytes, head: Head, seal: bytes, links: Iterable[Linked]) -> Iterator[Finding]:
    """What is wrong with a chain; see `Walk`. `links`: all there are of it, by their numbers."""
    walk = Walk(key, head)
    yield from walk.begin(seal)
    for one in links:
        yield from walk.step(one)
    yield from walk.end()
