"""Makes pictures of videos, which are read and decoded in locked-in processes. Called in threads, several at once.

Loading this takes half a second, so those who serve load it when the first picture is asked for.
"""

import time
from dataclasses import dataclass
from typing import Final

import msgspec

from pipeline import board, poster
from pipeline.errors import CorruptVideo
from pipeline.limits import InputLimits, WorkerLimits
from pipeline.media import Inspected
from pipeline.moments import Moments
from pipeline.opened import Video
from pipeline.pictures import Kind, as_wide, at_most, encoded, frames
from pipeline.report import Report
from pipeline.sandbox.client import Sandbox
from pipeline.sandbox.decoder import SandboxedDecoder
from pipeline.sandbox.media import SandboxedMedia

#: Of pictures of one moment, by kind: about 10 kB at a width of 320.
_QUALITY: Final[dict[Kind, int]] = {"jpeg": 80, "webp": 75}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a video once its packets were read."""

    inspected: Inspected
    moments: Moments

    @property
    def size_bytes(self) -> int:
        """Memory that it takes, about."""
        index, moments = self.inspected.index, self.moments
        columns = (index.pts, index.size, index.keyframe, index.entry, index.disposable, index.shown)
        return sum(one.nbytes for one in (*columns, moments.rows, moments.times_s, moments.clean)) + 2000


@dataclass(frozen=True, slots=True)
class Chosen:
    """A video's poster."""

    place: int
    """Of the frame, among the shown ones."""
    time_s: float
    score: float
    parts: dict[str, float]
    reasons: tuple[str, ...]


class Drawing:
    """Draws. One for a process."""

    def __init__(self, limits: InputLimits, worker: WorkerLimits, timeout_s: float, at_once: int) -> None:
        """
        Args:
            limits: how much of a video is read.
            worker: of a process that reads or decodes. Those here have no more time than
            timeout_s: for one picture, or one storyboard.
            at_once: how many are made at the same time.
        """
        self._limits, self._timeout_s = limits, timeout_s
        patience = {"inspect_s": min(worker.inspect_s, timeout_s), "clip_s": min(worker.clip_s, timeout_s)}
        self._sandbox = Sandbox(msgspec.structs.replace(worker, **patience))
        # A process that decoded for one video is for no other, and which one comes next, nobody knows; so none is kept
        # but those in the middle of a long group of pictures.
        self._decoder = SandboxedDecoder(self._sandbox, max_idle=2 * at_once, max_spare=0)

    def known(self, video: Video) -> Known:
        """Read all packets once. Raises VideoError."""
        inspected = self._media(video).inspect()
        return Known(inspected, Moments.of(inspected.index))

    def picture(self, video: Video, known: Known, place: int, width: int, kind: Kind) -> bytes:
        """A shown frame, no wider than this, nor than the video is.

        Raises:
            CorruptVideo: it cannot be decoded.
            VideoError: as `pictures.frames`.
        """
        index, rows = known.inspected.index, known.moments.rows[[place]]
        size = as_wide(known.inspected.info, width)
        for _, pixels in frames(self._media(video), self._decoder, index, rows, size, until=self._until()):
            return encoded(pixels, kind, _QUALITY[kind])
        at_s = known.moments.times_s[place]
        raise CorruptVideo(f"the frame at {at_s:.3f} s cannot be decoded; ask for one nearby")

    def poster(self, video: Video, known: Known, report: Report | None) -> Chosen:
        """Which frame stands for the video; `report`: of it, where it has one. Raises as `picture`."""
        moments = known.moments
        looked = poster.candidates(known.inspected.info.duration_s, report)
        places = [moments.cheap(one.at_s, one.low_s, one.high_s) for one in looked]
        seen: dict[int, poster.Measured] = {}
        size = at_most(known.inspected.info, poster.LONG_SIDE)
        index, rows = known.inspected.index, moments.rows[places]
        for row, pixels in frames(self._media(video), self._decoder, index, rows, size, until=self._until()):
            seen[row] = poster.measured(pixels)
        found = [
            (place, candidate, seen[row])
            for place, candidate, row in zip(places, looked, rows.tolist(), strict=True)
            if row in seen
        ]
        if not found:
            raise CorruptVideo("none of the frames that may stand for it can be decoded")
        best = poster.choose([(candidate, measured) for _, candidate, measured in found])
        place = found[best.place][0]
        return Chosen(place, float(moments.times_s[place]), best.score, best.parts, best.reasons)

    def storyboard(self, video: Video, known: Known, layout: board.Layout) -> tuple[bytes, ...]:
        """Its sheets. Raises as `board.drawn`."""
        media, inspected = self._media(video), known.inspected
        return board.drawn(media, self._decoder, inspected, known.moments, layout, self._until())

    def close(self) -> None:
        """End all processes; whoever waits for one is told that it was lost."""
        self._decoder.close()
        self._sandbox.close()

    def _media(self, video: Video) -> SandboxedMedia:
        return SandboxedMedia(video, self._sandbox, self._limits)

    def _until(self) -> float:
        return time.monotonic() + self._timeout_s
