"""The contract of a decoder."""

import threading
from dataclasses import dataclass
from typing import Protocol

from pipeline.clips import Clip
from pipeline.frames import FrameBatch, PassedOn, Strip


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came out of one Clip."""

    frames: FrameBatch
    rows: tuple[int, ...]
    """Row of the packet index of each frame: which of the wanted pictures it is."""
    strip: Strip | None
    """Thumbnails of every picture that came out, wanted or not, where the Clip asks for a glimpse."""
    decode_s: float
    """Seconds that the decoder worked, colour conversion included."""
    decoder: str = ""
    """Name of the one that did it, where there were several to choose from."""
    passed_on: tuple[PassedOn, ...] = ()
    """Those that came before it and did not."""

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.frames):
            raise ValueError(f"{len(self.rows)} rows for {len(self.frames)} frames")


@dataclass(frozen=True, slots=True)
class Decoding:
    """What an engine decodes with, in words for a report."""

    name: str
    """Of the decoder; of several, joined by `+` in the order in which they are tried."""
    device: str
    """Where pictures are decoded if they can be: `cpu`, `cuda`, `cuda:0`."""
    reason: str
    """Why, for a person."""


class Decoder(Protocol):
    """Decodes Clips. May be called from several threads, for different chains at the same time."""

    name: str

    def decode(self, clip: Clip) -> Decoded:
        """The wanted frames, as a sequential decode of the file would give them, upright, in time order.

        Exactly so from PyAV; libraries that convert colours their own way may differ by a few levels, and say so.
        A frame that could not be had is absent, never replaced: callers compare `rows` with `clip.wanted`. In a chain
        of several parts a frame may come out with a later part than its packet.

        Raises:
            VideoError: DecodeFailed where this library cannot decode the Clip and another one may; others by decoder.
        """
        ...


class SelectiveDecoder(Decoder, Protocol):
    """Takes only some Clips; another one has to take the rest."""

    device: str
    """What it was made for, where its frames are left: "cpu", "cuda" or "cuda:0"."""

    def refuses(self, clip: Clip) -> str | None:
        """Why this Clip is not taken, or None where it will be tried. Looks at the Clip and decodes nothing."""
        ...


class Counters:
    """How much was decoded in this process; lets a test show that something decoded nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.packets = 0
        self.frames = 0

    def add(self, packets: int, frames: int) -> None:
        """Count packets fed and frames handed out. Thread-safe."""
        with self._lock:
            self.packets += packets
            self.frames += frames


COUNTERS = Counters()
