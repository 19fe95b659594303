"""The thread that encodes a worker's renditions, behind everything else that the machine has to do."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pipeline.clips import Clip
from pipeline.decode.base import Decoded, Decoder
from pipeline.errors import VideoError
from pipeline.opened import Video
from pipeline.rendition.encoding import Encoded, encode
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.decoder import SandboxedDecoder
from pipeline.sandbox.hearing import hear
from pipeline.sandbox.media import SandboxedMedia
from serving.settings import Settings

#: Nice value of the thread that encodes: the frames of jobs go first.
_NICE: Final = 10


class Ended(Exception):
    """Nobody wants it any more."""


class Encoder:
    """Encodes one video at a time, which a locked-in process decodes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="rendition", initializer=_behind_others)
        self._sandbox: Sandbox | None = None

    def begin(
        self,
        file: Video,
        name: str,
        measured: Callable[[float], None],
        write: Callable[[bytes], object],
        over: threading.Event,
    ) -> asyncio.Future[Encoded]:
        """Encode a video, for as long as nobody sets `over`.

        Args:
            name: for people, where nothing better is known.
            measured: is told how long it is, in seconds, before it is encoded; may refuse it by raising.
            write: takes what comes of it, piece by piece; may raise Ended.

        Returns:
            What comes to be known once all of it was written. Raises VideoError, what `measured` and `write` raise, and
            Ended.
        """

        def work() -> Encoded:
            try:
                return self._encode(file, measured, write, over)
            except VideoError as error:
                # Where it lies is nobody's business.
                raise type(error)(str(error).rpartition(f"{_path(file)}: ")[2] or name) from error

        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """End, without waiting for what is under way."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._sandbox is not None:
            self._sandbox.close()

    def _encode(
        self, file: Video, measured: Callable[[float], None], write: Callable[[bytes], object], over: threading.Event
    ) -> Encoded:
        if self._sandbox is None:
            self._sandbox = Sandbox(self._settings.worker)
        limits, decoder = self._settings.input, SandboxedDecoder(self._sandbox, max_idle=1, max_spare=0)
        try:
            media = SandboxedMedia(file, self._sandbox, limits)
            inspected = media.inspect()
            info, sound = inspected.info, None
            measured(info.duration_s)
            if info.audio is not None:
                sound = hear(file, self._sandbox, start_s=info.start_s, duration_s=info.duration_s, limits=limits)
            return encode(media, _Watched(decoder, over), inspected, sound, write)
        finally:
            decoder.close()


class _Watched:
    """Decodes for as long as somebody wants it: of what is decoded, nothing need ever come to be written."""

    name = "watched"

    def __init__(self, decoder: Decoder, over: threading.Event) -> None:
        self._decoder, self._over = decoder, over

    def decode(self, clip: Clip) -> Decoded:
        """See `Decoder.decode`. Raises Ended."""
        if self._over.is_set():
            raise Ended
        return self._decoder.decode(clip)


def _path(file: Video) -> str:
    return str(getattr(file, "path", file))


def _behind_others() -> None:
    """Has the thread that calls this run behind all that is not nice, where the system knows threads by number."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
