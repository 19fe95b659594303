"""Files with one picture become Clips, without anything of them being decoded."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import CorruptVideo, LimitExceeded, UnsupportedContainer
from pipeline.limits import InputLimits
from pipeline.picture import clip_of


def _file(kind: str, size: tuple[int, int] = (37, 23), **how) -> bytes:
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(buffer, kind, **how)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "codec"),
    [
        (_file("JPEG"), "mjpeg"),
        (_file("JPEG", progressive=True), "mjpeg"),
        (_file("PNG"), "png"),
        (_file("WEBP"), "webp"),
        (_file("WEBP", lossless=True), "webp"),
    ],
)
def test_it_is_known_by_its_bytes(content, codec):
    clip = clip_of(content)
    assert (clip.codec.name, clip.codec.width, clip.codec.height) == (codec, 37, 23)
    assert clip.packets == (content,)


def test_what_is_no_picture_is_refused():
    for content in (b"", b"text", b"GIF89a" + bytes(50), b"RIFF\0\0\0\0AVI " + bytes(50)):
        with pytest.raises(UnsupportedContainer):
            clip_of(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_one_that_ends_before_its_size_is_refused(kind):
    content = _file(kind)
    with pytest.raises(CorruptVideo):
        clip_of(content[: 20 if kind != "WEBP" else 27])


def test_one_that_would_become_too_large_is_refused():
    with pytest.raises(LimitExceeded, match="max_pixels"):
        clip_of(_file("PNG"), InputLimits(max_pixels=100))
    empty = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(8)
    with pytest.raises(CorruptVideo, match="no pixels"):
        clip_of(empty)


@pytest.mark.parametrize("seed", range(200))
def test_noise_is_refused_or_measured(seed):
    rng = np.random.default_rng(seed)
    content = bytearray(_file(("JPEG", "PNG", "WEBP")[seed % 3]))
    for at in rng.integers(4, min(64, len(content)), 6):
        content[at] = rng.integers(256)
    try:
        clip = clip_of(bytes(content[: rng.integers(8, len(content))]))
    except (CorruptVideo, LimitExceeded, UnsupportedContainer):
        return
    assert clip.codec.width > 0
