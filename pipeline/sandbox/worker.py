"""The process that reads hostile bytes: locked in, then answering requests one at a time until its keeper hangs up.

Everything that it will ever import is imported, and has been used once, before it is locked in: afterwards it can open
no files, Python's own included.
"""

import errno
import math
import mmap
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

# PyAV imports these when it first meets a stream of subtitles, which would be too late.
import av.subtitles.codeccontext
import av.subtitles.stream
import av.subtitles.subtitle  # noqa: F401
import numpy as np

from pipeline import cutting
from pipeline.decode.pyav import PyAVDecoder
from pipeline.errors import Altered, LimitExceeded, VideoError
from pipeline.limits import INPUT_LIMITS
from pipeline.media import Inspected, LocalMedia
from pipeline.opened import OpenFile, open_file
from pipeline.plans import plan
from pipeline.remux.reading import Repacked, repacked
from pipeline.remux.samples import Wanted, read_samples
from pipeline.rendition.sound import samples
from pipeline.sandbox import isolation, wire
from pipeline.sandbox.protocol import (
    Check,
    Collect,
    Cut,
    Decode,
    Hear,
    Heard,
    Inspect,
    Listen,
    Pictures,
    Reading,
    Ready,
    Repack,
    Request,
)
from pipeline.sealed.files import SealedFile, reader_of
from pipeline.sealed.form import KEY_BYTES, What
from pipeline.sealed.sealing import Sealer
from pipeline.synthesis import Encoding, write_video

_TOO_LITTLE_MEMORY = "it needs more memory than a decoder may take (worker.memory_bytes)"


@dataclass(frozen=True, slots=True)
class _Desk:
    """What a worker keeps from one request to the next."""

    decoder: PyAVDecoder = field(default_factory=PyAVDecoder)
    memory: dict[int, mmap.mmap] = field(default_factory=dict)
    """Shared memory by its number."""


def run(end: socket.socket, memory_bytes: int, no_network: str | None) -> None:
    """Lock this process in and serve requests on `end`; returns when the keeper hangs up.

    Args:
        memory_bytes: see `isolation.limit_resources`.
        no_network: why this process is in no empty network namespace; None where it is.
    """
    channel = wire.Channel(end)
    isolation.hide()
    isolation.limit_resources(memory_bytes)
    kept = isolation.give_up_rights()
    no_filter = isolation.forbid_calls()
    held = isolation.Isolation(
        syscalls=no_filter is None,
        network=no_network is None,
        missing=tuple(filter(None, (no_filter, no_network))),
        kept=kept,
    )
    channel.send(wire.DONE, wire.encode(Ready(pid=os.getpid(), isolation=held)))
    desk = _Desk()
    while True:
        try:
            _, payload, files = channel.receive()
        except wire.Broken:
            return
        try:
            _answer(channel, wire.decode(payload, Request, wire.MAX_BYTES), files, desk)
        except wire.Broken:
            return
        finally:
            for file in files:
                os.close(file)


def rehearse() -> None:
    """Do once all that a worker does, on a video of our own, so that nothing is left to import or to look up."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rehearsal.mp4"
        frames = (np.full((48, 64, 3), 20 * n, np.uint8) for n in range(12))
        sound = np.zeros(16_000, np.float32)
        write_video(path, frames, fps=12, encoding=Encoding(options={"preset": "ultrafast"}), audio=sound)
        media = LocalMedia(path)
        seen = media.inspect()
        media.listen(start_s=0.0, duration_s=1.0)
        rows = seen.index.display_order[:2]
        for clip in media.clips(seen.index, plan(seen.index, rows), glimpse=True):
            wire.decode(wire.encode(Decode(clip=clip)), Request, wire.MAX_BYTES)
            decoded = PyAVDecoder().decode(clip)
            wire.decode(wire.encode(_pictures(decoded)), Pictures)
        wire.decode(wire.encode(seen), Inspected)
        _rehearse_repacking(path)
        _rehearse_sealed(path)
        path.write_bytes(b"no video")
        try:
            LocalMedia(path).inspect()
        except VideoError as error:
            wire.encode(_failure(error))


def _rehearse_repacking(path: Path) -> None:
    with open_file(path) as file:
        seen = repacked(file, INPUT_LIMITS)
        wire.decode(wire.encode(seen), Repacked)
        assert seen.sound is not None
        wanted = Wanted(seen.video.stamp, seen.video.size, seen.sound.stamp, seen.sound.size)
        wire.encode(read_samples(file, wanted, INPUT_LIMITS))
        for part in samples(file, start_s=0.0, duration_s=1.0, limits=INPUT_LIMITS):
            wire.encode(part)


def _rehearse_sealed(path: Path) -> None:
    """The same video, sealed; and once more, changed."""
    what = What("", path.name, "rehearsal")
    sealer, sealed = Sealer(bytes(KEY_BYTES), what), path.with_suffix(".sealed")
    blob = sealer.feed(path.read_bytes()) + sealer.finish()
    for content in (blob, blob[:-1]):
        sealed.write_bytes(content)
        try:
            LocalMedia(SealedFile(sealed, bytes(KEY_BYTES), what)).inspect()
        except Altered as error:
            wire.encode(_failure(error))


def _answer(channel: wire.Channel, request: Request, files: tuple[int, ...], desk: _Desk) -> None:
    try:
        result = _HANDLERS[type(request)](request, files, desk)
        if isinstance(result, Iterator):
            for item in result:
                channel.send(wire.ITEM, wire.encode(item))
            result = None
        channel.send(wire.DONE, wire.encode(result))
    except wire.Broken:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the keeper is told and decides
        channel.send(wire.FAILED, wire.encode(_failure(error)))


def _failure(error: Exception) -> wire.Failure:
    if isinstance(error, VideoError):
        return wire.Failure(code=error.code, message=str(error))
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return wire.Failure(code=LimitExceeded.code, message=_TOO_LITTLE_MEMORY)
    return wire.Failure(code="worker_fault", message=f"{type(error).__name__}: {error}")


def _opened(request: Reading, files: tuple[int, ...]) -> OpenFile:
    reader = None if request.seal is None else reader_of(files[0], request.seal)
    return OpenFile(files[0], request.name, request.size_bytes, seal=request.seal, reader=reader)


def _check(request: Check, files: tuple[int, ...], _: _Desk) -> None:
    LocalMedia(_opened(request, files), request.limits).check()


def _inspect(request: Inspect, files: tuple[int, ...], _: _Desk) -> Inspected:
    return LocalMedia(_opened(request, files), request.limits).inspect()


def _cut(request: Cut, files: tuple[int, ...], _: _Desk) -> Iterator[tuple[bytes, ...]]:
    return cutting.read(_opened(request, files), request.index, request.plans, request.limits)


def _listen(request: Listen, files: tuple[int, ...], _: _Desk) -> Heard:
    media = LocalMedia(_opened(request, files), request.limits)
    loudness, notice = media.listen(start_s=request.start_s, duration_s=request.duration_s)
    return Heard(loudness=loudness, notice=notice)


def _repack(request: Repack, files: tuple[int, ...], _: _Desk) -> Repacked:
    return repacked(_opened(request, files), request.limits)


def _collect(request: Collect, files: tuple[int, ...], _: _Desk) -> Iterator[tuple[bytes, ...]]:
    yield read_samples(_opened(request, files), request.wanted, request.limits)


def _hear(request: Hear, files: tuple[int, ...], _: _Desk) -> Iterator[bytes]:
    how = {"start_s": request.start_s, "duration_s": request.duration_s, "limits": request.limits}
    return samples(_opened(request, files), **how)


def _decode(request: Decode, files: tuple[int, ...], desk: _Desk) -> Pictures:
    """Decode into the shared memory that the request names."""
    if request.memory < 0:
        return _pictures(desk.decoder.decode(request.clip))
    if files:
        desk.memory[request.memory] = mmap.mmap(files[0], request.memory_bytes)
    desk.decoder.allocate = partial(_within, desk.memory[request.memory])
    try:
        return _pictures(desk.decoder.decode(request.clip))
    finally:
        desk.decoder.allocate = np.empty


def _within(memory: mmap.mmap, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array at the beginning of the shared memory."""
    room = np.frombuffer(memory, dtype)
    if math.prod(shape) > room.size:
        raise LimitExceeded(f"pictures of {shape[2]}x{shape[1]} are larger than the container says")
    return room[: math.prod(shape)].reshape(shape)


def _pictures(decoded) -> Pictures:
    _, height, width, _ = decoded.frames.pixels.shape
    return Pictures(decoded.rows, decoded.frames.pts_s, height, width, decoded.strip, decoded.decode_s)


_HANDLERS: dict[type, Callable[[Any, tuple[int, ...], _Desk], Any]] = {
    Check: _check,
    Inspect: _inspect,
    Cut: _cut,
    Listen: _listen,
    Repack: _repack,
    Collect: _collect,
    Hear: _hear,
    Decode: _decode,
}
