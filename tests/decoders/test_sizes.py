"""Sizes that compressed pictures say they have."""

import msgspec
import pytest

from pipeline.decode.dali import DaliDecoder
from pipeline.decode.sizes import sizes_of


@pytest.mark.parametrize("name", ["vp8", "vp9", "vp9-odd", "vp9-hd", "mjpeg"])
def test_every_packet_says_the_size_of_its_video_or_none(name, cut_of):
    clip = cut_of(name).clip
    said = [sizes_of(clip.codec.name, packet) for packet in clip.packets]
    assert None not in said
    assert said[0] == {(clip.codec.width, clip.codec.height)}
    assert set().union(*said) == said[0]


def vp9_frame(*fields: tuple[int, int]) -> bytes:
    """A header of (value, bits) in turn, and some data."""
    value, length = 0, 0
    for number, bits in fields:
        value, length = value << bits | number, length + bits
    return (value << -length % 8).to_bytes((length + 7) // 8, "big") + bytes(16)


#: marker, profile (low bit first), a new picture
_PROFILE_0, _PROFILE_1 = (0b10000, 5), (0b10100, 5)
_SYNC = (0x498342, 24)
_SIZE = ((319, 16), (239, 16))


@pytest.mark.parametrize(
    ("packet", "sizes"),
    [
        # key frame: shown; colour space, range
        (vp9_frame(_PROFILE_0, (0b010, 3), _SYNC, (2, 3), (0, 1), *_SIZE), {(320, 240)}),
        # key frame of RGB: 4:4:4
        (vp9_frame(_PROFILE_1, (0b010, 3), _SYNC, (7, 3), (0, 1), *_SIZE), {(320, 240)}),
        # key frame of 4:4:4 YUV
        (vp9_frame(_PROFILE_1, (0b010, 3), _SYNC, (2, 3), (0, 4), *_SIZE), {(320, 240)}),
        # refers to others, and is of a size of its own
        (vp9_frame(_PROFILE_0, (0b110, 3), (0, 2), (0, 20), (0b000, 3), *_SIZE), {(320, 240)}),
        # is as large as the second picture that it refers to
        (vp9_frame(_PROFILE_0, (0b110, 3), (0, 2), (0, 20), (0b01, 2)), set()),
        # not shown, refers to none, resilient
        (vp9_frame(_PROFILE_0, (0b101, 3), (1, 1), _SYNC, (0, 8), *_SIZE), {(320, 240)}),
        # shows an earlier one again
        (vp9_frame((0b10001, 5), (3, 3)), set()),
        (b"\x00" * 20, None),
        (b"\x82\x49", None),
        (b"", None),
    ],
)
def test_vp9_headers(packet, sizes):
    assert sizes_of("vp9", packet) == sizes


def test_a_superframe_holds_several_frames():
    hidden = vp9_frame(_PROFILE_0, (0b000, 3), _SYNC, (2, 3), (0, 1), (639, 16), (479, 16))
    shown = vp9_frame(_PROFILE_0, (0b010, 3), _SYNC, (2, 3), (0, 1), *_SIZE)
    mark = bytes([0b110_00_001])
    index = mark + bytes([len(hidden), len(shown)]) + mark
    assert sizes_of("vp9", hidden + shown + index) == {(640, 480), (320, 240)}


def test_what_is_no_picture_has_no_size():
    assert sizes_of("mjpeg", b"\xff\xd8\xff\xd9") is None
    assert sizes_of("vp8", b"\x00" * 12) is None
    assert sizes_of("vp8", b"\x01") == frozenset()
    assert sizes_of("h264", b"\x00" * 12) is None


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_dali_does_not_take_pictures_of_several_sizes(device, cut_of):
    clip, other = cut_of("vp9").clip, cut_of("vp9-hd").clip
    mixed = msgspec.structs.replace(clip, packets=(*clip.packets[:-1], other.packets[0]))
    decoder = DaliDecoder(device)
    assert decoder.refuses(clip) is None
    assert "one size" in (decoder.refuses(mixed) or "")
