"""Objects under keys, as they are kept: one small interface over obstore, whatever the store is.

An object is written whole or not at all: one that can be read is complete. What a store cannot do is an OSError.
"""

import asyncio
import contextlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from serving.errors import StorageUnavailable
from serving.storage.ranges import Found, T, Version

#: Objects that are listed at once.
_LISTED: Final = 500

#: How long a store may take to say that it is there, seconds.
READY_S: Final = 10.0


class Objects(ABC):
    """Objects of one store."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        """`name`: where they are, for people; nothing secret is in it."""
        self._store = store
        self.name = name

    @abstractmethod
    async def put(self, key: str, chunks: AsyncIterable[bytes]) -> None:
        """Write an object from a stream. When this returns, it is there for good; when it raises, also because the
        stream does or because it is canceled, there is none."""

    @abstractmethod
    def file(self, key: str) -> AbstractAsyncContextManager[Path]:
        """A file on this machine with the same bytes, for as long as the block lasts. Raises FileNotFoundError,
        StorageFull."""

    @abstractmethod
    async def sweep_unfinished(self, prefix: str, before: datetime) -> int:
        """Remove what processes that died have left of objects that they were writing, where nothing was added since a
        moment; how many there were. No listing shows these."""

    async def version(self, key: str) -> Version:
        """What is there. Raises FileNotFoundError."""
        with self._errors():
            found = await obstore.head_async(self._store, key)
        return Version(found["size"], found["e_tag"])

    async def found(self, key: str, offset: int, length: int, use: Callable[[Found], T]) -> T:
        """See `serving.storage.ranges.Fetch`. Raises FileNotFoundError."""
        with self._errors():
            got = await obstore.get_async(self._store, key, options={"range": (offset, offset + length)})
            content = await got.bytes_async()
        found = Found(memoryview(content), Version(got.meta["size"], got.meta["e_tag"]))
        return await asyncio.to_thread(use, found)

    async def delete(self, key: str) -> bool:
        """Remove an object; False where there is none, if the store says so."""
        try:
            with self._errors():
                await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return False
        return True

    async def older(self, prefix: str, before: datetime) -> AsyncIterator[list[str]]:
        """Keys of all objects under a prefix that were written before a moment, some hundreds at a time."""
        with self._errors():
            async for found in obstore.list(self._store, prefix=prefix, chunk_size=_LISTED):
                yield [entry["path"] for entry in found if entry["last_modified"] < before]

    async def ready(self) -> None:
        """Raises OSError where nothing can be read from it."""
        try:
            with self._errors():
                await asyncio.wait_for(obstore.list(self._store, prefix="ready").collect_async(), READY_S)
        except TimeoutError:
            raise StorageUnavailable(f"{self.name} does not answer within {READY_S:g} s") from None

    async def check(self) -> None:
        """Write an object, read it, list it and delete it: all that this server has to be allowed. Raises OSError."""
        key = f"ready/{secrets.token_hex(8)}"

        async def content() -> AsyncIterator[bytes]:
            yield key.encode()

        await self.put(key, content())
        try:
            if await self.found(key, 0, len(key), lambda found: bytes(found.content)) != key.encode():
                raise OSError(f"{self.name}: what was written is not what is read")
            await self.ready()
        finally:
            await self.delete(key)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """What the store cannot do is an OSError, as for any file."""
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(self._said(error)) from None
        except BaseError as error:
            raise self._told(self._said(error)) from None

    def _said(self, error: BaseError | FileNotFoundError) -> str:
        """What is told of an error of the library, in logs, too; it itself is told nowhere."""
        # Without the many lines of how the library came by it.
        return str(error).partition("\n\nDebug source")[0].strip()

    def _told(self, said: str) -> OSError:
        return OSError(said)

    async def _written(self, key: str, chunks: AsyncIterable[bytes], *, part_bytes: int, at_once: int) -> None:
        """Write it in parts, as they come. Where the caller is canceled, the parts are taken back before this ends."""
        source = _Source(chunks)
        writing = asyncio.ensure_future(
            obstore.put_async(self._store, key, source, chunk_size=part_bytes, max_concurrency=at_once)
        )
        try:
            with self._errors():
                await asyncio.shield(writing)
        except FileNotFoundError as error:
            # The stream's own, or else there is nothing to write into.
            raise source.error or self._told(str(error)) from None
        except asyncio.CancelledError:
            source.give_up()
            # Left to itself, the store would keep the parts.
            with contextlib.suppress(Exception):
                await asyncio.shield(writing)
            raise


class _GivenUp(Exception):
    """Nobody wants the object any more."""


class _Source:
    """A stream that whoever reads it can be told to give up."""

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = aiter(chunks)
        self._next: asyncio.Future[bytes] | None = None
        self._given_up = False
        self.error: Exception | None = None
        """What the stream raised."""

    def __aiter__(self) -> "_Source":
        return self

    async def __anext__(self) -> bytes:
        if self._given_up:
            raise _GivenUp
        self._next = asyncio.ensure_future(anext(self._chunks))  # type: ignore[arg-type]
        try:
            return await self._next
        except asyncio.CancelledError:
            if self._given_up:
                raise _GivenUp from None
            raise
        except OSError as error:
            self.error = error
            raise

    def give_up(self) -> None:
        """End the stream with an error, even where it waits for its next chunk."""
        self._given_up = True
        if self._next is not None:
            self._next.cancel()
