"""Reads a file through every door of the product, the way an analysis does, and keeps all that came out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CorruptVideo, VideoError
from pipeline.media import Inspected
from pipeline.plans import plan
from pipeline.sandbox.client import Sandbox, Worker
from pipeline.sandbox.decoder import SandboxedDecoder
from pipeline.sandbox.media import SandboxedMedia

ANALYSED = "analysed"

#: Frames that are decoded of a file that can be read.
FRAMES = 4

_TICKS_PER_S = 100


@dataclass(frozen=True, slots=True)
class Cost:
    """What a worker had used when it was ended."""

    cpu_s: float
    peak_bytes: int
    """Largest resident memory, with the shared pages of the process that it was forked from."""


@dataclass(slots=True)
class Read:
    """What came of one file."""

    outcomes: dict[str, str] = field(default_factory=dict)
    """Door -> error code, or `ANALYSED`."""
    said: list[str] = field(default_factory=list)
    """Messages, and what the file was said to be."""
    data: list[bytes] = field(default_factory=list)
    """Everything else that came out."""
    sizes: set[tuple[int, int]] = field(default_factory=set)
    """Sizes of pictures, (width, height)."""


@contextmanager
def costs() -> Iterator[list[Cost]]:
    """What workers used that are ended within the block."""
    found: list[Cost] = []
    kill = Worker.kill

    def weigh(worker: Worker) -> None:
        if worker.alive:
            try:
                times = Path(f"/proc/{worker.pid}/stat").read_text().rsplit(")", 1)[1].split()
                status = Path(f"/proc/{worker.pid}/status").read_text()
            except OSError:
                status, times = "", []
            if "VmHWM:" in status:
                peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
                found.append(Cost((int(times[11]) + int(times[12])) / _TICKS_PER_S, peak))
        kill(worker)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "kill", weigh)
        yield found


def read(path: Path | str, sandbox: Sandbox, *, doors: tuple[str, ...] = ("check", "listen", "decode")) -> Read:
    """Every door, each in its own time; only `VideoError` is an outcome, anything else is raised."""
    media = SandboxedMedia(path, sandbox)
    done = Read()
    if "check" in doors:
        with _noting(done, "check"):
            media.check()
    if "listen" in doors:
        with _noting(done, "listen"):
            loudness, notice = media.listen(start_s=0.0, duration_s=2.0)
            done.said.append(repr(notice))
            done.data += [loudness.rms.tobytes(), loudness.onset.tobytes()] if loudness else []
    with _noting(done, "inspect"):
        seen = media.inspect()
        done.said += [repr(seen.info), repr(seen.cut_off)]
        done.sizes.add((seen.info.width, seen.info.height))
        done.data += [getattr(seen.index, name).tobytes() for name in ("pts", "size", "keyframe", "entry", "shown")]
        with _noting(done, "decode"):
            _decode(media, seen, sandbox, done)
    return done


def _decode(media: SandboxedMedia, seen: Inspected, sandbox: Sandbox, done: Read) -> None:
    order = seen.index.display_order
    rows = order[np.unique(np.linspace(0, len(order) - 1, FRAMES).astype(int))]
    decoder = SandboxedDecoder(sandbox)
    frames = 0
    try:
        for clip in media.clips(seen.index, plan(seen.index, rows), glimpse=True):
            done.data += clip.packets
            decoded = decoder.decode(clip)
            frames += len(decoded.rows)
            done.data.append(decoded.frames.pixels.tobytes())
            if len(decoded.rows):
                done.sizes.add((decoded.frames.pixels.shape[2], decoded.frames.pixels.shape[1]))
    finally:
        decoder.close()
    if not frames:
        raise CorruptVideo("no frames: `analyze` refuses this")


@contextmanager
def _noting(done: Read, door: str) -> Iterator[None]:
    try:
        yield
    except VideoError as error:
        done.outcomes[door] = error.code
        done.said.append(str(error))
    else:
        done.outcomes.setdefault(door, ANALYSED)
