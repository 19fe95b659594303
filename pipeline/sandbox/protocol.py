"""What a worker can be asked for, and what it answers. Arrays, frozen records, nothing that runs."""

from dataclasses import dataclass

import numpy as np

from pipeline.clips import Clip
from pipeline.frames import Loudness, Strip
from pipeline.limits import InputLimits
from pipeline.packets import PacketIndex
from pipeline.plans import ClipPlan
from pipeline.record import Record
from pipeline.remux.samples import Wanted
from pipeline.report import Notice
from pipeline.sandbox.isolation import Isolation
from pipeline.sealed.files import Seal


class Reading(Record, frozen=True, kw_only=True):
    """What all requests say that come with an open file."""

    name: str
    size_bytes: int
    """As whoever opened it saw it."""
    limits: InputLimits
    seal: Seal | None = None
    """What opens it, where it is sealed."""


class Check(Reading, frozen=True, kw_only=True, tag="check"):
    """Open the video. Answer: nothing."""


class Inspect(Reading, frozen=True, kw_only=True, tag="inspect"):
    """Read all packets and describe the video. Answer: `media.Inspected`."""


class Cut(Reading, frozen=True, kw_only=True, tag="cut"):
    """Read the packets of Clips. Answer: an item for each plan, its packets; all else about a Clip is known to whoever
    asked."""

    index: PacketIndex
    plans: tuple[ClipPlan, ...]


class Listen(Reading, frozen=True, kw_only=True, tag="listen"):
    """Measure the sound. Answer: `Heard`."""

    start_s: float
    duration_s: float


class Repack(Reading, frozen=True, kw_only=True, tag="repack"):
    """Read what repacking needs. Answer: `remux.reading.Repacked`."""


class Collect(Reading, frozen=True, kw_only=True, tag="collect"):
    """Read the bytes of samples. Answer: one item, a tuple of them."""

    wanted: Wanted


class Hear(Reading, frozen=True, kw_only=True, tag="hear"):
    """Decode the sound. Answer: items of `rendition.sound.samples`, as many as there are."""

    start_s: float
    duration_s: float


class Decode(Record, frozen=True, kw_only=True, tag="decode"):
    """Decode a Clip into shared memory. Answer: `Pictures`."""

    clip: Clip
    memory: int = -1
    """Number of the shared memory for the pictures; -1 where none are wanted. New memory comes with the request, and is
    kept: pages that are there already cost nothing, fresh ones as much as decoding."""
    memory_bytes: int = 0
    """Its size, by which new memory is mapped."""


Request = Check | Inspect | Cut | Listen | Repack | Collect | Hear | Decode


class Ready(Record, frozen=True, kw_only=True):
    """The first thing that a worker says, before it has read anything."""

    pid: int
    isolation: Isolation


class Heard(Record, frozen=True, kw_only=True):
    """What `audio.measure` returns."""

    loudness: Loudness | None
    notice: Notice | None


@dataclass(frozen=True, slots=True)
class Pictures:
    """What came out of a Clip; the pixels lie in the shared memory, one picture after the other."""

    rows: tuple[int, ...]
    pts_s: np.ndarray
    """float64 [N], seconds."""
    height: int
    width: int
    strip: Strip | None
    decode_s: float
