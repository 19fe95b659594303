"""Any range of a sealed object, read as it is asked for: a piece, and the one after it while that is handed on."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from pipeline.errors import Altered
from pipeline.sealed.form import HEADER_BYTES, TAG_BYTES, What
from pipeline.sealed.segments import Segments

#: Segments of the largest piece: half a MiB. Two pieces at most are in memory for each reader.
_LARGEST: Final = 8

#: Objects whose length is known to be proved; 200 bytes each.
_KNOWN: Final = 10_000


@dataclass(frozen=True, slots=True)
class Version:
    """What an object is just now, as the store tells it."""

    size_bytes: int
    """As it is kept, sealed."""
    tag: str | None
    """Another one once the object is another; None where the store has none."""


@dataclass(frozen=True, slots=True)
class Found:
    """Bytes of an object, and of which."""

    content: bytes | memoryview
    version: Version


Find = Callable[[str], Awaitable[Version]]
"""Key -> what is there. Raises FileNotFoundError, OSError."""

T = TypeVar("T")


class Fetch(Protocol):
    """Reads bytes of an object."""

    async def __call__(self, key: str, offset: int, length: int, use: Callable[[Found], T]) -> T:
        """What `use` makes of the bytes there, fewer where the object ends before; it is called in a thread, that which
        read them where one did. Raises as `Find`, and as `use`."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    version: Version
    head: bytes


class Ranges:
    """Reads sealed objects of one store.

    That an object has its length is proved by its last segment. That is remembered as long as the store says that the
    object is the same: so what is read besides the range is less than two segments, and once the last one.
    """

    def __init__(self, find: Find, fetch: Fetch) -> None:
        self._find, self._fetch = find, fetch
        self._known: OrderedDict[What, _Known] = OrderedDict()

    async def size(self, what: What, key: bytes) -> int:
        """Bytes of what was sealed. Raises as `read`."""
        known = self._known.get(what)
        if known is not None and known.version == await self._find(what.blob):
            return Segments(known.head, known.version.size_bytes, key, what).size_bytes
        return (await self._proved(what, key))[1].size_bytes

    async def read(self, what: What, key: bytes, start: int, stop: int) -> AsyncGenerator[bytes]:
        """See `Store.read`."""
        if start < 0:
            raise ValueError(f"{start = }")
        for known in (self._known.get(what), None):
            if known is not None:
                segments = Segments(known.head, known.version.size_bytes, key, what)
            else:
                known, segments = await self._proved(what, key)
            pieces = _pieces(segments.around(start, stop))
            first = next(pieces, None)
            if first is None:
                return
            plain = await self._same(what.blob, known.version, segments, first)
            if plain is not None:
                break
        else:
            raise Altered(f"{what.blob} is changed while it is read")
        at = first.start * segments.plain_bytes
        while plain is not None:
            numbers = next(pieces, None)
            ahead = asyncio.create_task(self._piece(what, segments, numbers)) if numbers else None
            try:
                for segment in plain:
                    # As they were opened, most of them: to join them would be to copy them.
                    yield segment[max(0, start - at) : stop - at]
                    at += len(segment)
                plain = await ahead if ahead else None
            finally:
                if ahead is not None and not ahead.done():
                    ahead.cancel()
                    # What becomes of it is nobody's business any more.
                    ahead.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _same(self, key: str, version: Version, segments: Segments, numbers: range) -> list[bytes] | None:
        """What is in these; None where it is another object than it was, for which nothing is proved. Raises as
        `Fetch`, and Altered."""

        def use(found: Found) -> list[bytes] | None:
            return segments.opened(numbers, found.content) if found.version == version else None

        try:
            return await self._fetch(key, *segments.place(numbers), use)
        except OSError:
            # It may not go on so far any more.
            if await self._find(key) == version:
                raise
            return None

    async def _piece(self, what: What, segments: Segments, numbers: range) -> list[bytes]:
        place = segments.place(numbers)
        return await self._fetch(what.blob, *place, lambda found: segments.opened(numbers, found.content))

    async def _proved(self, what: What, key: bytes) -> tuple[_Known, Segments]:
        """The object, its last segment opened. Raises Altered."""
        version = await self._find(what.blob)
        if version.size_bytes < HEADER_BYTES + TAG_BYTES:
            raise Altered(f"{what.blob} ends in its header")
        head = await self._fetch(what.blob, 0, HEADER_BYTES, lambda found: bytes(found.content))
        segments = Segments(head, version.size_bytes, key, what)
        await self._piece(what, segments, range(segments.last, segments.last + 1))
        self._known[what] = known = _Known(version, head)
        self._known.move_to_end(what)
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return known, segments


def _pieces(numbers: range) -> Iterator[range]:
    """Pieces that grow: the first bytes are there soon, and a long range takes few requests."""
    size, at = 1, numbers.start
    while at < numbers.stop:
        yield range(at, min(at + size, numbers.stop))
        at += size
        size = min(2 * size, _LARGEST)
