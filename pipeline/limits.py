"""How much of a video is read before it is refused. One value, handed down from the settings."""

from pipeline.record import Record


class InputLimits(Record, frozen=True, kw_only=True):
    """Bounds on what a file may claim or hold. A bomb is small on disk; these are on what it becomes."""

    max_streams: int = 64
    """Streams of any kind."""
    max_pixels: int = 8192 * 4320
    """Of one picture: 8K. A frame of it is 106 MB of RGB."""
    max_packets: int = 24 * 3600 * 60
    """Pictures of the video stream: a day at 60 frames/s."""
    max_reread: float = 4.0
    """Bytes of all packets over bytes of the file. Edit lists may show a part again, or 200,000 times."""
    max_duration_s: float = 24 * 3600.0
    max_expansion: float = 100_000.0
    """Bytes of all decoded pictures (4:2:0) over bytes of the file. An hour of still slides in 1080p makes 15,000."""


class WorkerLimits(Record, frozen=True, kw_only=True):
    """Bounds on a process that reads or decodes."""

    memory_bytes: int = 2 << 30
    """Address space beyond what the process starts with. An H.264 decoder may have to hold 16 pictures besides those
    it hands over: 1.4 GB in 8K, 0.5 GB in 4K."""
    inspect_s: float = 60.0
    """Wall-clock limit of reading all packets once; for files above a GB, as many seconds a GB."""
    clip_s: float = 120.0
    """Wall-clock limit of decoding one Clip, or of waiting for the next one to be cut."""


INPUT_LIMITS, WORKER_LIMITS = InputLimits(), WorkerLimits()
