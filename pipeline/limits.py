"""How much of a video is read before it is refused. Two values, handed down from the settings (`serving.settings`).

Names, defaults, bounds and the texts under the fields are said here only: `docs/settings.md` and the variables that set
them follow from these records.
"""

from typing import Annotated, Final

from msgspec import Meta

from pipeline.record import Record

Ratio = Annotated[float, Meta(gt=0)]

#: Of any limit in seconds: no video that is longer is read, whatever the settings say.
MAX_SECONDS: Final = 7 * 86_400

Seconds = Annotated[float, Meta(gt=0, le=MAX_SECONDS)]


class InputLimits(Record, frozen=True, kw_only=True):
    """Bounds on what a file may claim or hold. A bomb is small on disk; these are on what it becomes."""

    max_streams: Annotated[int, Meta(gt=0, le=100_000)] = 64
    """Streams of any kind."""
    max_pixels: Annotated[int, Meta(gt=0, le=1 << 30)] = 8192 * 4320
    """Of one picture: 8K. A frame of it is 106 MB of RGB."""
    max_packets: Annotated[int, Meta(gt=0, le=10_000_000)] = 24 * 3600 * 60
    """Pictures of the video stream: a day at 60 frames/s. An index of more does not fit into the answer of a worker."""
    max_reread: Ratio = 4.0
    """Bytes of all packets over bytes of the file. Edit lists may show a part again, or 200,000 times."""
    max_duration_s: Seconds = 24 * 3600.0
    """Seconds from the first picture to the end of the last: a day."""
    max_expansion: Ratio = 100_000.0
    """Bytes of all decoded pictures (4:2:0) over bytes of the file. An hour of still slides in 1080p makes 15,000."""


class WorkerLimits(Record, frozen=True, kw_only=True):
    """Bounds on a process that reads or decodes."""

    memory_bytes: Annotated[int, Meta(gt=0, le=1 << 40)] = 2 << 30
    """Address space beyond what the process starts with. An H.264 decoder may have to hold 16 pictures besides those
    it hands over: 1.4 GB in 8K, 0.5 GB in 4K."""
    inspect_s: Seconds = 60.0
    """Wall-clock limit of reading all packets once; for files above a GB, as many seconds a GB."""
    clip_s: Seconds = 120.0
    """Wall-clock limit of decoding one Clip, or of waiting for the next one to be cut."""


INPUT_LIMITS, WORKER_LIMITS = InputLimits(), WorkerLimits()
