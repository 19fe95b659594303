"""One video, and everything that reads its bytes; in this process here, in one that is locked in in `sandbox`."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline import audio, cutting
from pipeline.clips import Clip
from pipeline.container import Video, open_file, open_video, telling_cut_off
from pipeline.errors import LimitExceeded
from pipeline.frames import Loudness
from pipeline.limits import INPUT_LIMITS, InputLimits
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
    """A video that can be read. Methods may be called from several threads."""

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


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """Reads in this process. For files that are trusted, and for the process that is locked in."""

    video: Video
    limits: InputLimits = INPUT_LIMITS

    def check(self) -> None:
        """See `Media.check`."""
        with open_video(self.video, self.limits):
            pass

    def inspect(self) -> Inspected:
        """See `Media.inspect`."""
        with (
            open_file(self.video) as file,
            telling_cut_off(file),
            open_video(file, self.limits) as (container, stream),
        ):
            index, first = read_packets(file, container, stream, self.limits)
            info = describe(file, container, stream, index, first)
            _check(file.name, index, info, self.limits)
            return Inspected(index, info, missing_tail(container, stream, index))

    def clips(self, index: PacketIndex, plans: Sequence[ClipPlan], **how) -> Generator[Clip]:
        """See `Media.clips`."""
        return cutting.cut(self.video, index, plans, self.limits, **how)

    def listen(self, *, start_s: float, duration_s: float) -> tuple[Loudness | None, Notice | None]:
        """See `Media.listen`."""
        return audio.measure(self.video, start_s=start_s, duration_s=duration_s, limits=self.limits)


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
