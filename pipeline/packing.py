"""Records with long columns of numbers in few bytes, for what is kept: an index of a film is a tenth of what it is in
memory.

A record is msgpack, in which a column is (its type, how many numbers, these, compressed), the lowest bytes of all
numbers first. Of long ones, which are times, the differences from one to the next are: those that go on evenly are
nothing then. Sizes differ as they like, and have fewer bytes as they are.
"""

import zlib
from fractions import Fraction
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

T = TypeVar("T")

#: Types of columns: a column of another one is not kept.
_DTYPES: Final = frozenset({"|b1", "<i4", "<i8"})

#: Columns of times.
_TIMES: Final = "<i8"

#: Of zlib. 3 takes a fifth of the time of 6, for 2 % more.
_LEVEL: Final = 3


def packed(value: Any) -> bytes:
    """A record, dataclass or tuple of plain values, fractions and columns [N] as bytes. Raises TypeError: of others."""
    return msgspec.msgpack.encode(value, enc_hook=_plain)


def unpacked(data: bytes, kind: type[T] | Any, most_bytes: int) -> T:
    """What was packed, as a value of type `kind`.

    Args:
        most_bytes: of its columns together, in memory.

    Raises:
        ValueError: it is not one, or larger.
    """
    left = [most_bytes]
    try:
        return msgspec.msgpack.decode(data, type=kind, dec_hook=partial(_typed, left))
    except (msgspec.DecodeError, TypeError, ValueError, zlib.error) as error:
        raise ValueError(f"no {getattr(kind, '__name__', kind)}: {error}") from error


def _plain(item: Any) -> Any:
    if isinstance(item, np.ndarray):
        if item.ndim != 1 or item.dtype.str not in _DTYPES:
            raise TypeError(f"a column of {item.dtype.str} {item.shape} is not kept")
        return item.dtype.str, len(item), zlib.compress(_planes(item), _LEVEL)
    if isinstance(item, Fraction):
        return item.numerator, item.denominator
    if isinstance(item, np.generic):
        return item.item()
    raise TypeError(f"{type(item)} is not kept")


def _planes(column: np.ndarray) -> bytes:
    """Its numbers, or the differences of times, byte by byte: the lowest of all, then the next."""
    if column.dtype.str == _TIMES:
        column = np.diff(column, prepend=column.dtype.type(0))
    return np.ascontiguousarray(column).view(np.uint8).reshape(len(column), column.itemsize).T.tobytes()


def _typed(left: list[int], kind: type, value: Any) -> Any:
    if kind is Fraction:
        numerator, denominator = value
        if type(numerator) is not int or type(denominator) is not int or denominator < 1:
            raise ValueError("a fraction is made of two integers")
        return Fraction(numerator, denominator)
    if kind is not np.ndarray:
        raise TypeError(f"{kind} is not kept")
    name, count, compressed = value
    if name not in _DTYPES or type(count) is not int or count < 0:
        raise ValueError(f"a column of {name!r}, {count!r}")
    dtype = np.dtype(name)
    size = count * dtype.itemsize
    left[0] -= size
    if left[0] < 0:
        raise ValueError("columns of more bytes than it may have")
    unpacking = zlib.decompressobj()
    # One more than there should be, to see whether there is.
    planes = unpacking.decompress(compressed, size + 1)
    if len(planes) != size or not unpacking.eof:
        raise ValueError(f"{len(planes)} bytes for a column of {name}, {count}")
    column = np.frombuffer(planes, np.uint8).reshape(dtype.itemsize, count).T.copy().view(dtype).reshape(count)
    return np.cumsum(column, dtype=dtype) if name == _TIMES else column
