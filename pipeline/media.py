"""One video, and everything that reads its bytes; in this process here, in one that is locked in in `sandbox`."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from pipeline import audio, cutting
from pipeline.clips import Clip
from pipeline.container import open_video, telling_cut_off
from pipeline.errors import CorruptVideo, LimitExceeded
from pipeline.frames import Loudness
from pipeline.limits import INPUT_LIMITS, InputLimits
from pipeline.opened import Identity, OpenFile, Video, open_file
from pipeline.packets import PacketIndex, read_packets
from pipeline.plans import ClipPlan
from pipeline.probe import describe, missing_tail
from pipeline.report import LostRange, Notice, VideoInfo

#: Bytes of a decoded pixel, 4:2:0 at 8 bits.
_BYTES_PER_PIXEL = 1.5


@dataclass(frozen=True, slots=True)
class Inspected:
    """What is known of a video before any of it is analysed."""

    index: PacketIndex
    info: VideoInfo
    cut_off: LostRange | None
    """What the container promises and the file lacks."""


class Media(Protocol):
    """A video that can be read. Methods may be called from several threads, unless it is a file that was open before:
    whoever reads an open file moves its one position.

    What is read after `inspect` is what was inspected: a file that is another one by then is refused with CorruptVideo.
    """

    def check(self) -> None:
        """Open it and look for a video stream: the quick refusal of what is hopeless. Raises VideoError."""
        ...

    def inspect(self) -> Inspected:
        """Read every packet once, and decode the first picture. Raises VideoError."""
        ...

    def clips(self, index: PacketIndex, plans: Sequence[ClipPlan], **how) -> Generator[Clip]:
        """The planned Clips, as they fill; `how`: see `cutting.clip_of`. Raises VideoError."""
        ...

    def listen(self, *, start_s: float, duration_s: float) -> tuple[Loudness | None, Notice | None]:
        """The loudness of its sound, see `audio.measure`."""
        ...


class Reopened:
    """A video that is opened anew for every reading, and has to be the same file each time."""

    def __init__(self, video: Video) -> None:
        self._video = video
        self._inspected: Identity | None = None

    @contextmanager
    def to_inspect(self) -> Iterator[OpenFile]:
        """Open it, as what it has to be from now on. Raises as `open_file`."""
        with open_file(self._video) as file:
            self._inspected = file.identity
            yield file

    @contextmanager
    def again(self) -> Iterator[OpenFile]:
        """Open it.

        Raises:
            CorruptVideo: it is not what was inspected.
            VideoError: as `open_file`.
        """
        with open_file(self._video) as file:
            if self._inspected not in (None, file.identity):
                raise CorruptVideo(
                    f"{file.name}: the file, its names or its rights were changed while it was read; analyse it again"
                )
            yield file


class LocalMedia:
    """Reads in this process. For files that are trusted, and for the process that is locked in."""

    def __init__(self, video: Video, limits: InputLimits = INPUT_LIMITS) -> None:
        self._video = Reopened(video)
        self._limits = limits

    def check(self) -> None:
        """See `Media.check`."""
        with self._video.again() as file, open_video(file, self._limits):
            pass

    def inspect(self) -> Inspected:
        """See `Media.inspect`."""
        with (
            self._video.to_inspect() as file,
            telling_cut_off(file),
            open_video(file, self._limits) as (container, stream),
        ):
            index, first = read_packets(file, container, stream, self._limits)
            info = describe(file, container, stream, index, first)
            _check(file.name, index, info, self._limits)
            return Inspected(index, info, missing_tail(container, stream, index))

    def clips(self, index: PacketIndex, plans: Sequence[ClipPlan], **how) -> Generator[Clip]:
        """See `Media.clips`."""
        with self._video.again() as file:
            yield from cutting.cut(file, index, plans, self._limits, **how)

    def listen(self, *, start_s: float, duration_s: float) -> tuple[Loudness | None, Notice | None]:
        """See `Media.listen`."""
        with self._video.again() as file:
            return audio.measure(file, start_s=start_s, duration_s=duration_s, limits=self._limits)


def _check(name: str, index: PacketIndex, info: VideoInfo, limits: InputLimits) -> None:
    if index.duration_s > limits.max_duration_s:
        raise LimitExceeded(
            f"{name}: {index.duration_s:.0f} s long; at most {limits.max_duration_s:.0f} s are read (max_duration_s)"
        )
    decoded = len(index) * info.width * info.height * _BYTES_PER_PIXEL
    if decoded > limits.max_expansion * info.size_bytes:
        raise LimitExceeded(
            f"{name}: its pictures are {decoded / info.size_bytes:.0f} times as large as the file; "
            f"at most {limits.max_expansion:.0f} times is read (max_expansion)"
        )
