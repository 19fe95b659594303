"""Messages: what is sent comes through, and what no honest sender makes is refused, cheaply."""

import struct
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from pipeline.sandbox import wire


@dataclass
class Holder:
    """Something with an array in it."""

    array: np.ndarray


@dataclass
class Share:
    """Something with a fraction in it."""

    share: Fraction


def _message(head: Any, arrays: bytes = b"") -> bytes:
    packed = head if isinstance(head, bytes) else msgspec.msgpack.encode(head)
    return struct.pack("<Q", len(packed)) + packed + bytes(-len(packed) % 8) + arrays


@pytest.mark.parametrize(
    "lie",
    [
        ("<f4", [2, 4], 0),
        ("|O", [1], 0),
        ("<f4", [-1, -6], 0),
        ("<f4", [1 << 60], 0),
        ("<f4", [6], 8),
        ("<f4", [6], -8),
        ("<f4", [1 << 62, 1 << 62, 0], 1 << 62),
        ("<f4", ["6"], 0),
        ("<f4", [True], 0),
        ("<f4", 6, 0),
        ("<f4", [1] * 99, 0),
        {"dtype": 1},
        None,
        "text",
        [[[]]],
    ],
)
def test_arrays_that_lie_about_themselves_are_refused(lie):
    array = np.arange(6, dtype=np.float32)
    good = _message({"array": ("<f4", [2, 3], 0)}, array.tobytes())
    np.testing.assert_array_equal(wire.decode(good, Holder).array, array.reshape(2, 3))
    with pytest.raises(wire.Broken):
        wire.decode(_message({"array": lie}, array.tobytes()), Holder)


def test_messages_travel_unharmed():
    value = Holder(np.arange(7, dtype=np.int64)[::2])
    np.testing.assert_array_equal(wire.decode(wire.encode(value), Holder).array, [0, 2, 4, 6])
    assert wire.decode(wire.encode(Holder(np.empty((0, 3), np.uint8))), Holder).array.shape == (0, 3)
    assert wire.decode(wire.encode(Share(Fraction(1, 3))), Share).share == Fraction(1, 3)


@pytest.mark.parametrize(
    "share", [[1, 0], ["1e300000000"], ["1e300000000", 1], [1.5, 2], [True, 1], [1], [1, 2, 3], "1/3", None]
)
def test_fractions_that_are_none_are_refused_at_once(share):
    began = time.perf_counter()
    with pytest.raises(wire.Broken):
        wire.decode(_message({"share": share}), Share)
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize(
    "head",
    [
        b"\x81\xa5array" + b"\x91" * 500_000 + b"\x90",
        b"\x81\xa5array\xdd" + struct.pack(">I", 900_000) + b"\x90" * 900_000,
        b"\x81\xa5array\xdd\xff\xff\xff\xff",
        b"\x81\xa5array\xc6\xff\xff\xff\xff",
        b"\xc1",
        b"",
    ],
    ids=["deep", "wide", "claims many", "claims much", "reserved", "nothing"],
)
def test_bombs_of_msgpack_are_refused_cheaply(head):
    before = psutil.Process().memory_info().rss
    with pytest.raises(wire.Broken):
        wire.decode(_message(head), Holder)
    with pytest.raises(wire.Broken):
        wire.decode(_message(head + bytes(wire.MAX_HEAD)), Holder)
    assert psutil.Process().memory_info().rss - before < 150 << 20
