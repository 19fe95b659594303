"""What passes between a worker and its keeper: framed messages and open files over a Unix socket.

Only plain values travel (msgpack with a type on both sides), never pickles: what a worker says may have been written by
whoever made the video it was reading.
"""

import math
import os
import socket
import struct
import time
from fractions import Fraction
from functools import partial
from typing import Any, TypeVar

import msgspec
import numpy as np

from pipeline.record import Record

T = TypeVar("T")

_HEADER = struct.Struct("<BQ")

#: Kinds of messages: a request; one of several results; the last or only result; a refusal.
REQUEST, ITEM, DONE, FAILED = range(4)

#: Longest message, bytes: a packet index of a day at 60 frames/s is 160 MB, a Clip 32 MB.
MAX_BYTES = 256 << 20

#: Longest part of a message beside its arrays, where nothing else is said. A byte of msgpack makes up to 72 of objects.
MAX_HEAD = 1 << 20

_HEAD = struct.Struct("<Q")

#: Most files that come with one message.
_MAX_FILES = 2

#: Element types that arrays may have.
_DTYPES = frozenset({"|b1", "|u1", "<i4", "<i8", "<f2", "<f4", "<f8"})


class Failure(Record, frozen=True, kw_only=True):
    """Why a request was refused."""

    code: str
    """As `VideoError.code`; `worker_fault` for a fault of ours."""
    message: str


class Broken(Exception):
    """The other side is gone, or says what makes no sense."""


class TimedOut(Broken):
    """The other side did not answer in time."""


def encode(value: Any) -> bytes:
    """A record, dataclass or tuple as bytes: its msgpack, in which arrays are only named, and then the arrays."""
    arrays: list[np.ndarray] = []
    at = 0

    def plain(item: Any) -> Any:
        nonlocal at
        if isinstance(item, np.ndarray):
            place, at = at, at + _padded(item.nbytes)
            arrays.append(item)
            return item.dtype.str, item.shape, place
        if isinstance(item, Fraction):
            return item.numerator, item.denominator
        if isinstance(item, np.generic):
            return item.item()
        raise TypeError(f"{type(item)} does not travel")

    head = msgspec.msgpack.encode(value, enc_hook=plain)
    parts = [_HEAD.pack(len(head)), head, bytes(_padded(len(head)) - len(head))]
    for array in arrays:
        parts += [array.tobytes(), bytes(_padded(array.nbytes) - array.nbytes)]
    return b"".join(parts)


def decode(data: bytes | bytearray, kind: type[T] | Any, max_head: int = MAX_HEAD) -> T:
    """Bytes as a value of type `kind`, whose arrays share the memory of `data`.

    Raises:
        Broken: they are not one, or all but their arrays is longer than `max_head`. Nothing else, whatever they are.
    """
    try:
        (size,) = _HEAD.unpack_from(data)
        if size > max_head:
            raise ValueError(f"{size} bytes beside the arrays")
        view = memoryview(data)
        head, rest = view[_HEAD.size : _HEAD.size + size], view[_HEAD.size + _padded(size) :]
        return msgspec.msgpack.decode(head, type=kind, dec_hook=partial(_typed, rest))
    except Exception as error:
        # The author may be hostile, and nobody lists all that a parser raises.
        raise Broken(f"no {getattr(kind, '__name__', kind)}: {type(error).__name__}: {str(error)[:200]}") from error


def _padded(size: int) -> int:
    """Arrays begin at multiples of eight bytes."""
    return -(-size // 8) * 8


def _typed(arrays: memoryview, kind: type, value: Any) -> Any:
    if kind is np.ndarray:
        dtype, shape, place = value
        if dtype not in _DTYPES or any(type(n) is not int or n < 0 for n in (*shape, place)):
            raise ValueError(f"an array of {dtype!r}, {shape!r}")
        count = math.prod(shape)
        if place + count * np.dtype(dtype).itemsize > len(arrays):
            raise ValueError(f"{len(arrays)} bytes for an array of {dtype}, {shape}")
        # Of no elements, numpy's rule is that there must be a buffer all the same.
        flat = np.frombuffer(arrays, dtype, count, place) if count else np.empty(0, dtype)
        return flat.reshape(shape)
    if kind is Fraction:
        numerator, denominator = value
        if type(numerator) is not int or type(denominator) is not int:
            # Out of text, Fraction makes numbers of any length.
            raise ValueError("a fraction is made of two integers")
        return Fraction(numerator, denominator)
    raise TypeError(f"{kind} does not travel")


class Channel:
    """One end of a connection. Not thread-safe."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up; the other side sees the end of the stream."""
        self._socket.close()

    def send(self, kind: int, payload: bytes, files: tuple[int, ...] = (), timeout_s: float | None = None) -> None:
        """Send a message and the open `files` (descriptors) with it.

        Raises:
            TimedOut: the other side does not read.
            Broken: it is gone.
        """
        deadline = _Deadline(timeout_s)
        try:
            self._socket.settimeout(deadline.left_s())
            socket.send_fds(self._socket, [_HEADER.pack(kind, len(payload))], list(files))
            rest = memoryview(payload)
            while rest:
                self._socket.settimeout(deadline.left_s())
                rest = rest[self._socket.send(rest) :]
        except TimeoutError as error:
            raise TimedOut("it does not read") from error
        except OSError as error:
            raise Broken(f"it is gone ({error.strerror})") from error

    def receive(
        self, timeout_s: float | None = None, *, max_bytes: int = MAX_BYTES, files_too: bool = True
    ) -> tuple[int, bytearray, tuple[int, ...]]:
        """(kind, payload, files); the caller owns the files.

        Args:
            files_too: False where none are welcome; the kernel then closes those that come.

        Raises:
            TimedOut: nothing whole came in time.
            Broken: the other side is gone, or the message is longer than `max_bytes`.
        """
        deadline = _Deadline(timeout_s)
        files: list[int] = []
        try:
            head = b""
            while len(head) < _HEADER.size:
                self._socket.settimeout(deadline.left_s())
                if files_too:
                    part, more, _, _ = socket.recv_fds(self._socket, _HEADER.size - len(head), _MAX_FILES)
                    files += more
                else:
                    part = self._socket.recv(_HEADER.size - len(head))
                if not part:
                    raise Broken("it hung up")
                head += part
            kind, size = _HEADER.unpack(head)
            if size > max_bytes:
                raise Broken(f"a message of {size} bytes")
            payload = bytearray(size)
            view = memoryview(payload)
            while view:
                self._socket.settimeout(deadline.left_s())
                count = self._socket.recv_into(view)
                if not count:
                    raise Broken("it hung up in mid-message")
                view = view[count:]
        except TimeoutError as error:
            _close(files)
            raise TimedOut("no answer in time") from error
        except OSError as error:
            _close(files)
            raise Broken(f"it is gone ({error.strerror})") from error
        except Broken:
            _close(files)
            raise
        return kind, payload, tuple(files)


class _Deadline:
    """What is left of a time limit that several waits share."""

    def __init__(self, timeout_s: float | None) -> None:
        self._end_s = None if timeout_s is None else time.monotonic() + timeout_s

    def left_s(self) -> float | None:
        """Seconds left; None for ever. Raises TimeoutError when none is."""
        if self._end_s is None:
            return None
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)
