"""Packed records come back as they were, in few bytes; what was not packed is told, and takes no memory."""

import zlib
from dataclasses import dataclass, replace
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.packing import packed, unpacked

MOST = 1 << 20


@dataclass(frozen=True)
class Columns:
    """One of each kind."""

    long: np.ndarray
    short: np.ndarray
    flags: np.ndarray
    base: Fraction
    name: str


def _columns(long=(), short=(), flags=()) -> Columns:
    return Columns(np.array(long, "<i8"), np.array(short, "<i4"), np.array(flags, bool), Fraction(1, 90_000), "x")


@given(
    arrays("<i8", st.integers(0, 40)), arrays("<i4", st.integers(0, 40)), arrays("?", st.integers(0, 40)),
)  # fmt: skip
def test_any_numbers_come_back(long, short, flags):
    value = _columns(long, short, flags)
    found = unpacked(packed(value), Columns, MOST)
    for name in ("long", "short", "flags"):
        column, kept = getattr(value, name), getattr(found, name)
        assert (kept.dtype, kept.shape) == (column.dtype, column.shape)
        assert np.array_equal(kept, column)
    assert (found.base, found.name) == (value.base, value.name)


def test_a_film_takes_two_bytes_a_picture():
    """As one of 90 minutes has them: even times in the order of decoding, sizes that nobody can foresee."""
    rng = np.random.default_rng(0)
    count = 90 * 60 * 30
    shown = np.arange(count).reshape(-1, 3)[:, ::-1].ravel() * 3000
    sizes = rng.lognormal(9.5, 0.6, count).astype("<i4")
    value = _columns(shown, sizes, np.arange(count) % 60 == 0)
    assert len(packed(value)) < 2.2 * count
    assert np.array_equal(unpacked(packed(value), Columns, 13 * count).long, shown)
    with pytest.raises(ValueError, match="more bytes"):
        unpacked(packed(value), Columns, 13 * count - 1)


@pytest.mark.parametrize(
    "column",
    [
        ("<i8", 2, zlib.compress(bytes(15))),
        ("<i8", 2, zlib.compress(bytes(17))),
        ("<i8", 2, zlib.compress(bytes(16))[:-3]),
        ("<i8", 2, b"no zlib"),
        ("<i8", -1, zlib.compress(b"")),
        ("<i8", True, zlib.compress(bytes(8))),
        ("<i8", 1 << 60, zlib.compress(b"")),
        ("<i8", 1, zlib.compress(bytes(1 << 26))),
        ("|O", 1, zlib.compress(bytes(8))),
        ("<i8", 1),
        7,
    ],
)
def test_what_is_no_column_is_told(column):
    plain = {"long": column, "short": ("<i4", 0, zlib.compress(b"")), "flags": ("|b1", 0, zlib.compress(b""))}
    with pytest.raises(ValueError, match="no Columns"):
        unpacked(msgspec.msgpack.encode(plain | {"base": (1, 2), "name": "x"}), Columns, MOST)


def test_what_is_no_record_is_told():
    whole = packed(_columns([1, 2], [3], [True]))
    for data in (b"", b"\x90", whole[:-1], whole + b"\0", whole.replace(b"name", b"game")):
        with pytest.raises(ValueError, match="no Columns"):
            unpacked(data, Columns, MOST)
    for base in ((1, 0), ("1", 2), (1,)):
        columns = msgspec.msgpack.decode(whole) | {"base": base}
        with pytest.raises(ValueError, match="no Columns"):
            unpacked(msgspec.msgpack.encode(columns), Columns, MOST)


def test_columns_that_would_not_come_back_are_not_packed():
    for column in (np.zeros((2, 2), "<i8"), np.zeros(2, "<f4"), np.zeros(2, ">i8")):
        with pytest.raises(TypeError, match="not kept"):
            packed(replace(_columns(), long=column))
