"""What every decoder promises, on a dozen kinds of Clips: the right frames under the right rows at the
right times, or a refusal with a reason."""

import re
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest

from pipeline.decode.available import support
from pipeline.decode.dali import DaliDecoder
from pipeline.decode.decord import DecordDecoder
from pipeline.decode.fallback import complaint
from pipeline.decode.pyav import PyAVDecoder
from pipeline.decode.torchcodec import TorchCodecDecoder
from pipeline.errors import DecodeFailed
from tests.decoders.conftest import VIDEOS, number_of, psnr

_ALL = set(VIDEOS)

#: (decoder, device) -> (how it is made, which Clips it takes). What is not here is refused, with a reason.
DECODERS = {
    ("pyav", "cpu"): (PyAVDecoder, _ALL),
    ("torchcodec", "cpu"): (TorchCodecDecoder, _ALL),
    ("decord", "cpu"): (DecordDecoder, _ALL - {"av1", "h264-open", "hevc-open"}),
    ("dali", "cpu"): (DaliDecoder, {"vp8", "vp9", "vp9-odd", "vp9-hd", "mjpeg"}),
    ("torchcodec", "cuda"): (lambda: TorchCodecDecoder("cuda"), _ALL),
    ("dali", "cuda"): (
        lambda: DaliDecoder("cuda"),
        _ALL - {"h264-open", "hevc-open", "vp9-odd", "mpeg2"},
    ),
}

#: Identical to the reference to the bit, but for Clips whose colours are put right afterwards, and for odd sizes, at
#: whose edges the versions of FFmpeg differ.
EXACT = {("pyav", "cpu"), ("torchcodec", "cpu"), ("decord", "cpu")}
CLOSE = {"vp9-hd", "vp9-odd"}

#: Least PSNR against the reference elsewhere, dB.
CLOSE_DB = 35.0


def _parameter(key: tuple[str, str]):
    name, device = key
    return pytest.param(key, id=f"{name}-{device}", marks=[pytest.mark.gpu] if device == "cuda" else [])


#: Those that may refuse a Clip: all but the reference.
SELECTIVE = [_parameter(key) for key in DECODERS if key[0] != "pyav"]


@pytest.fixture(params=[_parameter(key) for key in DECODERS])
def key(request):
    """(decoder, device) that work on this machine."""
    found = support(*request.param)
    if not found.works:
        pytest.skip(f"{found.library} on {found.device}: {found.why_not}; {found.fix}")
    return request.param


@pytest.fixture
def decoder(key):
    """One of the decoders that work on this machine."""
    return DECODERS[key][0]()


def refusal(decoder, clip) -> str | None:
    """Of a decoder that refuses, or of the reference, which does not."""
    return decoder.refuses(clip) if hasattr(decoder, "refuses") else None


def on_host(pixels) -> np.ndarray:
    """uint8 [N, H, W, 3], wherever they were."""
    return pixels if isinstance(pixels, np.ndarray) else pixels.cpu().numpy()


@pytest.mark.parametrize("name", VIDEOS)
def test_the_right_frames_or_a_reason(name, key, decoder, cut_of):
    made = cut_of(name)
    clip = made.clip
    reason = refusal(decoder, clip)
    assert (reason is None) == (name in DECODERS[key][1]), reason
    if reason is not None:
        assert reason.strip() == reason != ""
        with pytest.raises(DecodeFailed, match=re.escape(reason)):
            decoder.decode(clip)
        return
    decoded = decoder.decode(clip)
    assert complaint(clip, decoded) is None
    assert decoded.rows == clip.wanted
    assert np.all(np.diff(decoded.frames.pts_s) > 0)
    assert decoded.decode_s > 0
    if key[1] == "cuda":
        assert decoded.frames.pixels.device.type == "cuda"
    pictures = on_host(decoded.frames.pixels)
    assert pictures.dtype == np.uint8
    for row, picture in zip(decoded.rows, pictures, strict=True):
        assert number_of(picture) == made.numbers[row]
        if key in EXACT and (name not in CLOSE or key[0] == "pyav"):
            np.testing.assert_array_equal(picture, made.pictures[row])
        else:
            assert psnr(picture, made.pictures[row]) > CLOSE_DB


@pytest.mark.parametrize(("rotation_deg", "mirrored"), [(90, False), (180, False), (270, True)])
def test_frames_are_upright(rotation_deg, mirrored, decoder, cut_of):
    clip = cut_of("vp9").clip
    geometry = msgspec.structs.replace(clip.codec.geometry, rotation_deg=rotation_deg, mirrored=mirrored)
    turned = msgspec.structs.replace(clip, codec=msgspec.structs.replace(clip.codec, geometry=geometry))
    expected = PyAVDecoder().decode(turned).frames.pixels
    found = on_host(decoder.decode(turned).frames.pixels)
    assert found.shape == expected.shape
    assert psnr(found, expected) > CLOSE_DB


def test_chains_side_by_side_do_not_disturb_each_other(key, decoder, cut_of):
    clips = [cut_of(name).clip for name in sorted(DECODERS[key][1])]
    alone = [decoder.decode(clip) for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decoder.decode, clips * 2))
    for before, after in zip(alone * 2, together, strict=True):
        assert before.rows == after.rows
        np.testing.assert_array_equal(on_host(before.frames.pixels), on_host(after.frames.pixels))


def damaged(clip, position: int, how: str, rng: np.random.Generator):
    """The Clip with one packet noisy from its ninth byte on, noisy as a whole, cut short, or nearly gone."""
    data = clip.packets[position]
    noise = rng.integers(0, 256, len(data), dtype=np.uint8).tobytes()
    packet = {"noise": data[:8] + noise[8:], "head": noise, "cut": data[: len(data) // 3], "tiny": data[:3]}[how]
    packets = (*clip.packets[:position], packet, *clip.packets[position + 1 :])
    return msgspec.structs.replace(clip, packets=packets)


def _taken(*, but: set[str]):
    """(key, name of a Clip that it takes)"""
    for key, (_, names) in DECODERS.items():
        one = _parameter(key)
        yield from (pytest.param(key, name, id=f"{one.id}-{name}", marks=one.marks) for name in sorted(names - but))


@pytest.mark.parametrize(("key", "name"), _taken(but={"h264-hd", "vp9-hd"}), indirect=["key"])
def test_damage_never_puts_a_frame_under_a_wrong_row(name, decoder, cut_of):
    made = cut_of(name)
    rng = np.random.default_rng(5)
    count = len(made.clip.packets)
    for how in ("noise", "head", "cut", "tiny"):
        for position in sorted({0, count // 3, count // 2, max(0, count - 2), count - 1}):
            clip = damaged(made.clip, position, how, rng)
            if refusal(decoder, clip) is not None:
                continue
            try:
                decoded = decoder.decode(clip)
            except DecodeFailed:
                continue
            time_of = dict(zip(clip.rows, clip.times_s, strict=True))
            assert list(decoded.frames.pts_s) == [time_of[row] for row in decoded.rows]
            for row, picture in zip(decoded.rows, on_host(decoded.frames.pixels), strict=True):
                looks_like = max(made.pictures, key=lambda other: psnr(picture, made.pictures[other]))
                place = clip.rows.index(row)
                if place < position or psnr(picture, made.pictures[looks_like]) > CLOSE_DB:
                    # Decoders fill a hole with what they had before; never with what comes later, as after a mix-up.
                    earlier = clip.rows[:place] if place >= position else ()
                    assert looks_like in (row, *earlier), f"{how} at {position} of {count}"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": (48, 27)}, "scaled"),
        ({"last": False}, "longer chain"),
        ({"wanted": ()}, "no picture"),
    ],
)
@pytest.mark.parametrize("key", SELECTIVE, indirect=True)
def test_what_only_the_reference_does_is_refused(change, says, decoder, cut_of):
    reason = decoder.refuses(msgspec.structs.replace(cut_of("vp9").clip, **change))
    assert says in (reason or "")


@pytest.mark.parametrize("name", ["h264", "vp9", "h264-hd", "vp9-hd"])
def test_strips_are_those_of_the_reference_or_refused(name, key, decoder, cut_of):
    clip = cut_of(name).clip
    clip = msgspec.structs.replace(clip, glimpse=True, glimpsed=tuple(sorted(clip.wanted)[1:]))
    reason = refusal(decoder, clip)
    assert (reason is None) == (key[0] in ("pyav", "torchcodec")), reason
    if reason is not None:
        return
    decoded, expected = decoder.decode(clip), PyAVDecoder().decode(clip)
    assert complaint(clip, decoded) is None
    np.testing.assert_array_equal(decoded.strip.pts_s, expected.strip.pts_s)
    # Brightness only: FFmpeg's area scaler picks colours here and there where ours averages them.
    found, wanted = (strip.thumbs @ np.array([0.299, 0.587, 0.114]) for strip in (decoded.strip, expected.strip))
    assert psnr(found, wanted) > CLOSE_DB


@pytest.mark.parametrize(
    "change", [{"color_trc": 16}, {"color_primaries": 9}, {"pixel_format": "gray"}, {"interlaced": True}]
)
@pytest.mark.parametrize("key", SELECTIVE, indirect=True)
def test_what_would_look_different_is_refused(change, decoder, cut_of):
    clip = cut_of("vp9").clip
    assert decoder.refuses(msgspec.structs.replace(clip, codec=msgspec.structs.replace(clip.codec, **change)))
