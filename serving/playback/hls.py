"""Playlists and segments of stored videos, as the API hands them out: repacked when they are asked for.

Nothing of them is written anywhere. What a video is made of is kept in memory for a while, and so are segments, which
several clients ask for soon after one another.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pipeline.errors import VideoError
from pipeline.opened import Video
from pipeline.sealed.files import SealedFile
from pipeline.sealed.form import What
from serving.errors import NotFound
from serving.pictures.kept import Kept
from serving.pictures.turns import Turns
from serving.playback.lending import Lending, Loan
from serving.settings import Settings
from serving.storage.store import Store

if TYPE_CHECKING:
    # With what they load, which few processes need: see `_Lazily`.
    from pipeline.remux.reading import Repacked
    from pipeline.remux.tables import Segment
    from pipeline.sandbox.client import Sandbox

T = TypeVar("T")

#: What a part of a playlist is counted as, bytes.
_SEGMENT_BYTES: Final = 200


@dataclass(frozen=True, slots=True)
class Cut:
    """What a video is made of for a player, and where it is cut."""

    seen: "Repacked"
    segments: "tuple[Segment, ...]"

    @property
    def size_bytes(self) -> int:
        """Memory that it takes, about."""
        sound = self.seen.sound.nbytes if self.seen.sound is not None else 0
        return self.seen.video.nbytes + sound + len(self.segments) * _SEGMENT_BYTES + len(self.seen.header)


class Hls:
    """Of one process."""

    def __init__(self, store: Store, settings: Settings) -> None:
        options = settings.playback
        self._store, self._settings = store, settings
        self._turns = Turns(options.at_once, options.waiting)
        self._kept = Kept(options.kept_bytes)
        self._lending = Lending(options.sent_bytes)
        self._threads = ThreadPoolExecutor(options.at_once, thread_name_prefix="hls")
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None

    async def cut(self, what: What, key: bytes | None) -> Cut:
        """What a video is made of.

        Args:
            what, key: the object, and [32] what it is sealed with; None where it is not. Whoever asks has just read
                its row.

        Raises:
            UnsupportedCodec: browsers do not play it as it is.
            Busy: too many are being repacked.
            VideoError: the video cannot be read.
            NotFound: it is not there any more.
        """

        async def make() -> Cut:
            return await self._made(what, key, self._cut)

        return await self._kept.get(what.blob, "cut", make, lambda cut: cut.size_bytes)

    async def segment(self, what: What, key: bytes | None, number: int) -> Loan:
        """A segment, from 0 on, to be given back once it was sent. Raises as `cut`; NotFound where there are fewer;
        Busy where too much is on its way to slow clients."""
        cut = await self.cut(what, key)
        if number >= len(cut.segments):
            raise NotFound(f"it has {len(cut.segments)} segments, from 0 on")

        def made(file: Video, sandbox: "Sandbox") -> bytes:
            from pipeline.sandbox.repacking import segment

            return segment(file, cut.seen, number, cut.segments[number], sandbox, self._settings.input)

        async def make() -> bytes:
            return await self._made(what, key, made)

        async def kept() -> bytes:
            return await self._kept.get(what.blob, ("segment", number), make, len)

        size_bytes = cut.segments[number].size_bytes
        return await self._lending.take(what.tenant, (what.blob, number), size_bytes, kept)

    def forget(self, object_key: str) -> None:
        """Drop what was made of an object."""
        self._kept.forget(object_key)

    def close(self) -> None:
        """End all that is under way."""
        with self._lock:
            if self._sandbox is not None:
                self._sandbox.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _cut(self, file: Video, sandbox: "Sandbox") -> Cut:
        from pipeline.remux.tables import segments
        from pipeline.sandbox.repacking import repack, require_small

        seen = repack(file, sandbox, self._settings.input)
        parts = segments(seen.video, seen.sound)
        for part in parts:
            require_small(part)
        return Cut(seen, parts)

    async def _made(self, what: What, key: bytes | None, make: "Callable[[Video, Sandbox], T]") -> T:
        """What comes of the video's file, once there is a turn for it."""
        async with self._turns.turn(what.tenant), self._store.opened(what, key) as file:
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
        f"#EXT-X-TARGETDURATION:{max(1, round(longest))}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MAP:URI="init.mp4{query}"',
    ]
    for number, segment in enumerate(cut.segments):
        lines += [f"#EXTINF:{segment.duration_s:.6f},", f"{number}.m4s{query}"]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])
