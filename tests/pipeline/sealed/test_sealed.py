"""Whatever is done to a blob is found out, and of what was changed nothing is given; any range is what was sealed."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import Altered
from pipeline.sealed.form import HEADER_BYTES, KEY_BYTES, Cipher, Header, What, fresh
from pipeline.sealed.reading import Reader
from pipeline.sealed.sealing import Sealer
from tests.pipeline.sealed import by_the_page
from tests.pipeline.sealed.changing import CHANGES

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
BITS, PLAIN = 6, 48
KEY = bytes(range(KEY_BYTES))
WHAT = What("ten_a", "videos/vid_1", "video", 2)


def sealed(plain: bytes, *, key: bytes = KEY, what: What = WHAT, header: Header | None = None) -> bytes:
    sealer = Sealer(key, what, header or fresh(BITS))
    return sealer.feed(plain) + sealer.finish()


def reader(blob: bytes, *, key: bytes = KEY, what: What = WHAT) -> Reader:
    return Reader(lambda offset, length: blob[offset : offset + length], len(blob), key, what)


def given(blob: bytes, key: bytes, what: What) -> tuple[bytes, bool]:
    """All that a blob gives, and whether it was refused then."""
    out = b""
    try:
        for piece in reader(blob, key=key, what=what).pieces():
            out += piece
    except Altered:
        return out, True
    return out, False


@pytest.mark.parametrize("vector", VECTORS["opened"], ids=lambda vector: vector["comment"])
def test_vectors(vector):
    key, plain, blob = (bytes.fromhex(vector[name]) for name in ("key", "plain", "blob"))
    named = {name: vector[name] for name in ("tenant", "blob_name", "purpose", "generation")}
    assert by_the_page.opened(blob, key, *named.values()) == plain
    what = What(*named.values())
    assert b"".join(reader(blob, key=key, what=what).pieces()) == plain
    header = Header(vector["segment_bits"], bytes.fromhex(vector["prefix"]), bytes.fromhex(vector["salt"]))
    assert sealed(plain, key=key, what=what, header=header) == blob


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["comment"])
def test_vectors_of_what_is_refused(vector):
    key, blob = bytes.fromhex(vector["key"]), bytes.fromhex(vector["blob"])
    named = [vector[name] for name in ("tenant", "blob_name", "purpose", "generation")]
    with pytest.raises(by_the_page.Wrong):
        by_the_page.opened(blob, key, *named)
    with pytest.raises(Altered):
        reader(blob, key=key, what=What(*named))


def test_the_page_opens_what_is_sealed_here():
    rng = random.Random(1)
    for _ in range(20):
        plain = rng.randbytes(rng.choice([0, 1, PLAIN - 1, PLAIN, PLAIN + 1, rng.randrange(400)]))
        assert by_the_page.opened(sealed(plain), KEY, "ten_a", "videos/vid_1", "video", 2) == plain


def test_ten_thousand_changes_are_found_out():
    rng = random.Random(2)
    size = 1 << BITS
    done = 0
    while done < 10_000:
        plain = rng.randbytes(rng.choice([0, PLAIN, 20 * PLAIN, rng.randrange(24 * PLAIN)]))
        blob = sealed(plain)
        for _ in range(50):
            changed = rng.choice(CHANGES)(rng, blob, size)
            if changed == blob:
                continue
            released, refused = given(changed, KEY, WHAT)
            assert refused
            assert plain.startswith(released)
            at = rng.randrange(len(plain) + 1)
            try:
                found = reader(changed).read(at, 60)
            except Altered:
                pass
            else:
                # It lies in segments that nobody touched.
                assert found == plain[at : at + 60]
            done += 1


def test_ten_thousand_blobs_in_the_place_of_others_are_found_out():
    rng = random.Random(3)
    plain = rng.randbytes(5 * PLAIN)
    blob = sealed(plain)
    names = (
        replace(WHAT, tenant="ten_b"),
        replace(WHAT, blob="videos/vid_2"),
        replace(WHAT, purpose="part"),
        replace(WHAT, generation=1),
        # The same letters, cut otherwise.
        What("ten_avideos", "/vid_1", "video", 2),
    )
    again = sealed(plain)
    others = [*(sealed(plain, what=what) for what in names), sealed(plain, key=rng.randbytes(KEY_BYTES)), again]
    for number in range(10_000):
        if number % 2:
            released, refused = given(blob, KEY, rng.choice(names))
        else:
            # Segments of another blob at their own places, its header with them or not.
            other = rng.choice(others)
            first, last = sorted(rng.sample(range(6), 2))
            start, end = (HEADER_BYTES + at * (1 << BITS) for at in (first, last))
            start = 0 if number % 4 else start
            mixed = blob[:start] + other[start:end] + blob[end:]
            if mixed == again:
                continue  # all of it, as what it is
            released, refused = given(mixed, KEY, WHAT)
        assert refused
        assert released == b""


def test_ten_thousand_ranges_are_what_was_sealed_and_little_more_is_read():
    rng = random.Random(4)
    read = 0

    def read_at(offset: int, length: int) -> bytes:
        nonlocal read
        read += length
        return blob[offset : offset + length]

    for _ in range(100):
        plain = rng.randbytes(rng.choice([0, 1, PLAIN, 7 * PLAIN, rng.randrange(60 * PLAIN)]))
        blob = sealed(plain)
        one = Reader(read_at, len(blob), KEY, WHAT)
        assert one.size_bytes == len(plain)
        for _ in range(100):
            offset, length = rng.randrange(len(plain) + PLAIN), rng.randrange(rng.choice([3, PLAIN, 20 * PLAIN]))
            read = 0
            asked = plain[offset : offset + length]
            assert one.read(offset, length) == asked
            assert read <= len(asked) * (1 << BITS) / PLAIN + 2 * (1 << BITS)


def test_no_more_than_some_segments_are_kept():
    """A video of gigabytes is read through one of these, by a process that has little memory."""
    read: list[int] = []

    def read_at(offset: int, length: int) -> bytes:
        read.append(offset)
        return blob[offset : offset + length]

    plain = bytes(100 * PLAIN)
    blob = sealed(plain)
    one = Reader(read_at, len(blob), KEY, WHAT)
    for number in range(100):
        one.read(number * PLAIN, PLAIN)
    read.clear()
    for number in range(100):
        assert one.read(number * PLAIN, 1) == plain[:1]
    assert len(read) >= 96


def test_who_reads_on_opens_each_segment_once():
    """As whoever parses a film does: from the middle of a segment to the middle of another."""
    rng = random.Random(6)
    plain = rng.randbytes(100 * PLAIN)
    blob, read = sealed(plain), 0

    def read_at(offset: int, length: int) -> bytes:
        nonlocal read
        read += length
        return blob[offset : offset + length]

    one, out = Reader(read_at, len(blob), KEY, WHAT), b""
    read = 0
    while len(out) < len(plain):
        out += one.read(len(out), rng.randint(1, 4 * PLAIN))
    assert out == plain
    # The last one proved how many there are, and may not be kept till then.
    assert read <= len(blob) + 2 * (1 << BITS)
    # Backwards, and over what is kept in the middle.
    for start, stop in ((40, 44), (43, 47), (41, 43), (38, 42), (39, 50)):
        begin, end = start * PLAIN - 5, stop * PLAIN + 7
        assert one.read(begin, end - begin) == plain[begin:end]


def test_bytes_come_out_as_they_come_in_and_no_more_than_a_segment_waits():
    rng = random.Random(5)
    for _ in range(200):
        plain, header = rng.randbytes(rng.randrange(1000)), fresh(BITS)
        sealer, out, at = Sealer(KEY, WHAT, header), b"", 0
        while at < len(plain):
            size = rng.randint(0, 200)
            out += sealer.feed(plain[at : at + size])
            at = min(len(plain), at + size)
            assert at - (len(out) - HEADER_BYTES) // (1 << BITS) * PLAIN <= PLAIN
        blob = out + sealer.finish()
        assert blob == sealed(plain, header=header)
        assert len(blob) == header.sealed_bytes(len(plain))


def test_a_store_that_reads_less_than_it_was_asked_for_is_found_out():
    blob = sealed(bytes(10 * PLAIN))
    one = Reader(lambda offset, length: blob[offset : offset + length - (length > 100)], len(blob), KEY, WHAT)
    with pytest.raises(Altered):
        one.read(0, 5 * PLAIN)


def test_a_file_that_is_longer_than_its_segments_can_be_counted_is_refused():
    """A sparse one takes no room on a disk."""
    head = Header(BITS, bytes(7), bytes(32)).encoded()
    with pytest.raises(Altered, match="longer"):
        Reader(lambda offset, length: (head + bytes(length))[offset : offset + length], (1 << 40) + 70, KEY, WHAT)


def test_an_empty_segment_behind_a_full_one_is_refused():
    header = fresh(BITS)
    cipher = Cipher(KEY, WHAT, header)
    blob = header.encoded() + cipher.seal(0, bytes(PLAIN), last=False) + cipher.seal(1, b"", last=True)
    with pytest.raises(Altered):
        reader(blob)


def test_a_blob_has_nothing_of_what_is_in_it():
    plain = b"a face, a name, a place " * 100
    blob, again = sealed(plain), sealed(plain)
    assert not any(plain[at : at + 8] in blob for at in range(24))
    assert blob[HEADER_BYTES:] != again[HEADER_BYTES:]


def test_a_finished_blob_is_not_gone_on_with():
    sealer = Sealer(KEY, WHAT, fresh(BITS))
    sealer.feed(b"x")
    sealer.finish()
    with pytest.raises(ValueError, match="finished"):
        sealer.finish()
    with pytest.raises(ValueError, match="finished"):
        sealer.feed(b"y")
