"""Pictures of stored videos, as the API hands them out: made when they are asked for, kept in memory for a while.

Kept in the database, so that they are made once: where a video's frames are, which frame is its poster, and its
storyboard. Pictures of moments are written nowhere. A video's key is read for each picture that is made, so that of one
that was deleted none can be.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.errors import VideoError
from pipeline.opened import Video
from pipeline.report import Report
from pipeline.sealed.files import SealedFile
from serving.derived.shelf import Shelf, Source
from serving.errors import NotFound
from serving.pictures.kept import Kept
from serving.pictures.turns import Turns
from serving.settings import Settings
from serving.storage.store import Store

if TYPE_CHECKING:
    # With what they load, which few processes need: see `_Lazily`.
    from pipeline.board import Layout
    from pipeline.pictures import Kind
    from serving.pictures.drawing import Chosen, Drawing, Known

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture."""

    content: bytes
    """A whole file."""
    time_s: float
    """When its frame begins, seconds."""


class Pictures:
    """Of one process."""

    def __init__(self, store: Store, shelf: Shelf, settings: Settings) -> None:
        options = settings.pictures
        self._store, self._shelf, self._settings = store, shelf, settings
        self.turns = Turns(options.at_once, options.waiting)
        """Who makes some."""
        self.kept = Kept(options.kept_bytes)
        """What was made."""
        self._threads = ThreadPoolExecutor(options.at_once, thread_name_prefix="pictures")
        self._lock = threading.Lock()
        self._drawing: Drawing | None = None

    async def thumbnail(self, video: Source, at_s: float, width: int, kind: "Kind", *, cheap: bool) -> Shown:
        """The frame nearest to a time, or with `cheap` the entry point nearest to it.

        Raises:
            Busy: too many are being made.
            VideoError: the video cannot be read, or the frame not be decoded.
            NotFound: the video is not there any more.
        """
        known = await self._known(video)
        moments = known.moments
        place = moments.cheap(at_s, 0.0, float("inf")) if cheap else moments.nearest(at_s)
        return await self._frame(video, known, place, width, kind)

    async def poster(self, video: Source, chosen: "Chosen", width: int, kind: "Kind") -> Shown:
        """The frame that was chosen. Raises as `thumbnail`."""
        return await self._frame(video, await self._known(video), chosen.place, width, kind)

    async def choice(self, video: Source, report: Callable[[], Awaitable[Report | None]], version: str) -> "Chosen":
        """Which frame stands for the video. Raises as `thumbnail`.

        Args:
            report: reads the video's, if it has one, and
            version: what tells it from other ones of the video.
        """
        known = await self._known(video)

        async def make() -> "Chosen":
            from serving.pictures import forms

            async def drawn() -> "Chosen":
                found = await report()
                return await self._drawn(video, lambda drawing, file: drawing.poster(file, known, found))

            read = partial(forms.choice_read, version=version, known=known)
            return await self._shelf.get(video, "poster", read, drawn, partial(forms.choice_written, version=version))

        return await self.kept.get(video.object_key, ("poster", version), make, lambda _: 1000)

    async def layout(self, video: Source) -> "Layout":
        """How its storyboard is laid out. Raises as `thumbnail`."""
        known = await self._known(video)
        from pipeline import board

        return board.layout(known.inspected.info)

    async def sheet(self, video: Source, number: int) -> bytes:
        """A sheet of its storyboard, from 0 on. Raises as `thumbnail`."""
        known, layout = await self._known(video), await self.layout(video)
        if number >= layout.sheets:
            raise NotFound(f"its storyboard has {layout.sheets} sheets, from 0 on")

        async def make() -> tuple[bytes, ...]:
            from serving.pictures import forms

            def drawn() -> Awaitable[tuple[bytes, ...]]:
                return self._drawn(video, lambda drawing, file: drawing.storyboard(file, known, layout))

            read = partial(forms.sheets_read, count=layout.sheets)
            return await self._shelf.get(video, "storyboard", read, drawn, forms.sheets_written)

        sheets = await self.kept.get(video.object_key, "storyboard", make, lambda found: sum(map(len, found)))
        return sheets[number]

    def forget(self, object_key: str) -> None:
        """Drop what was made of a video."""
        self.kept.forget(object_key)

    def close(self) -> None:
        """End all that is under way."""
        with self._lock:
            if self._drawing is not None:
                self._drawing.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _known(self, video: Source) -> "Known":
        async def make() -> "Known":
            from serving.pictures import forms

            def drawn() -> "Awaitable[Known]":
                return self._drawn(video, lambda drawing, file: drawing.known(file))

            read = partial(forms.known_read, limits=self._settings.input)
            return await self._shelf.get(video, "packets", read, drawn, forms.known_written)

        return await self.kept.get(video.object_key, "packets", make, lambda known: known.size_bytes)

    async def _frame(self, video: Source, known: "Known", place: int, width: int, kind: "Kind") -> Shown:
        width = min(width, known.inspected.info.width)

        async def make() -> bytes:
            return await self._drawn(video, lambda drawing, file: drawing.picture(file, known, place, width, kind))

        content = await self.kept.get(video.object_key, ("frame", place, width, kind), make, len)
        return Shown(content, float(known.moments.times_s[place]))

    async def _drawn(self, video: Source, draw: "Callable[[Drawing, Video], T]") -> T:
        """What comes of the video's file, once there is a turn for it."""
        async with self.turns.turn(video.tenant_id), self._store.opened(video.what, video.key) as file:
            drawn: asyncio.Future[Any] = asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: draw(self._lazily(), file)
            )
            try:
                return await drawn
            except VideoError as error:
                # Where it lies is nobody's business.
                at = f"{file.path if isinstance(file, SealedFile) else file}: "
                raise type(error)(str(error).removeprefix(at)) from error

    def _lazily(self) -> "Drawing":
        with self._lock:
            if self._drawing is None:
                from serving.pictures.drawing import Drawing

                settings, options = self._settings, self._settings.pictures
                self._drawing = Drawing(settings.input, settings.worker, options.timeout_s, options.at_once)
            return self._drawing
