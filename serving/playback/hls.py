"""Playlists and segments of stored videos, as the API hands them out: repacked when they are asked for.

What a video is made of, for which all of it has to be read, is kept in the database, so that it is found out once. In
memory, it is kept for a while; so are segments, which several clients ask for soon after one another, and which are
written nowhere.
"""

import asyncio
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.errors import InputNotFound, UnsupportedCodec, VideoError
from pipeline.opened import Video
from pipeline.sealed.files import SealedFile
from serving.derived.shelf import Shelf, Source
from serving.errors import NotFound
from serving.pictures.kept import Kept
from serving.pictures.turns import Turns
from serving.playback import cuts
from serving.playback.cuts import Cut, cut_of
from serving.playback.lending import Lending, Loan
from serving.settings import Settings
from serving.storage.store import Store

if TYPE_CHECKING:
    # With what they load, which few processes need: see `_Lazily`.
    from pipeline.sandbox.client import Sandbox

T = TypeVar("T")


class Hls:
    """Of one process."""

    def __init__(self, store: Store, shelf: Shelf, settings: Settings) -> None:
        options = settings.playback
        self._store, self._shelf, self._settings = store, shelf, settings
        self._turns = Turns(options.at_once, options.waiting)
        self._kept = Kept(options.kept_bytes)
        self._lending = Lending(options.sent_bytes)
        self._threads = ThreadPoolExecutor(options.at_once, thread_name_prefix="hls")
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None

    async def cut(self, source: Source) -> Cut:
        """What a video, or its rendition, is made of.

        Raises:
            UnsupportedCodec: browsers do not play it as it is.
            Busy: too many are being repacked.
            VideoError: the video cannot be read.
            NotFound: it is not there any more.
        """

        async def make() -> Cut:
            await self._require_there(source)
            read = partial(cuts.read, limits=self._settings.input)
            found = await self._shelf.get(source, "cut", read, lambda: self._found_out(source), cuts.written)
            if isinstance(found, UnsupportedCodec):
                raise found
            return found

        return await self._kept.get(source.object_key, "cut", make, lambda cut: cut.size_bytes)

    async def segment(self, source: Source, number: int) -> Loan:
        """A segment, from 0 on, to be given back once it was sent. Raises as `cut`; NotFound where there are fewer;
        Busy where too much is on its way to slow clients."""
        cut = await self.cut(source)
        if number >= len(cut.segments):
            raise NotFound(f"it has {len(cut.segments)} segments, from 0 on")

        def made(file: Video, sandbox: "Sandbox") -> bytes:
            from pipeline.sandbox.repacking import segment

            return segment(file, cut.seen, number, cut.segments[number], sandbox, self._settings.input)

        async def make() -> bytes:
            return await self._made(source, made)

        async def kept() -> bytes:
            return await self._kept.get(source.object_key, ("segment", number), make, len)

        size_bytes = cut.segments[number].size_bytes
        return await self._lending.take(source.tenant_id, (source.object_key, number), size_bytes, kept)

    def forget(self, object_key: str) -> None:
        """Drop what was made of an object."""
        self._kept.forget(object_key)

    def close(self) -> None:
        """End all that is under way."""
        with self._lock:
            if self._sandbox is not None:
                self._sandbox.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _require_there(self, source: Source) -> None:
        """Raises InputNotFound: its bytes are gone. Who is told of segments gets them."""
        try:
            await self._store.size(source.what, source.key)
        except FileNotFoundError:
            raise InputNotFound(f"{source.object_key}: its bytes are gone") from None

    async def _found_out(self, source: Source) -> Cut | UnsupportedCodec:
        def repacked(file: Video, sandbox: "Sandbox") -> Cut:
            from pipeline.sandbox.repacking import repack

            return cut_of(repack(file, sandbox, self._settings.input))

        try:
            return await self._made(source, repacked)
        except UnsupportedCodec as error:
            # It takes as long to find out, and is how the video is.
            return error

    async def _made(self, source: Source, make: "Callable[[Video, Sandbox], T]") -> T:
        """What comes of the video's file, once there is a turn for it."""
        async with self._turns.turn(source.tenant_id), self._store.opened(source.what, source.key) as file:
            made: asyncio.Future[Any] = asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: make(file, self._lazily())
            )
            try:
                return await made
            except VideoError as error:
                # Where it lies is nobody's business.
                at = f"{file.path if isinstance(file, SealedFile) else file}: "
                raise type(error)(str(error).removeprefix(at)) from error

    def _lazily(self) -> "Sandbox":
        with self._lock:
            if self._sandbox is None:
                from pipeline.sandbox.client import Sandbox

                self._sandbox = Sandbox(self._settings.worker)
            return self._sandbox


def playlist(cut: Cut, query: str) -> str:
    """The media playlist (RFC 8216). `query`: what is put behind each name in it."""
    longest = max(segment.duration_s for segment in cut.segments)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        # No segment is longer, rounded (4.3.3.1).
        f"#EXT-X-TARGETDURATION:{max(1, math.floor(longest + 0.5))}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MAP:URI="init.mp4{query}"',
    ]
    for number, segment in enumerate(cut.segments):
        lines += [f"#EXTINF:{segment.duration_s:.6f},", f"{number}.m4s{query}"]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])
