"""Several decoders as one: what one fails at another takes over, and what comes out says so."""

import dataclasses

import msgspec
import numpy as np
import pytest

from pipeline.decode.available import support
from pipeline.decode.dali import DaliDecoder
from pipeline.decode.decord import DecordDecoder
from pipeline.decode.fallback import Fallback, complaint, notices
from pipeline.decode.pyav import PyAVDecoder
from pipeline.errors import DecodeFailed, GpuUnavailable
from pipeline.frames import PassedOn
from tests.decoders.conftest import number_of


class Stub:
    """Answers as it is told, from the reference's answer."""

    def __init__(self, change=lambda decoded: decoded, *, name="stub", device="cpu", refusal=None):
        self.name, self.device = name, device
        self._change, self._refusal = change, refusal

    def refuses(self, clip):
        return self._refusal

    def decode(self, clip):
        return self._change(PyAVDecoder().decode(clip))


def needs(library: str):
    found = support(library, "cpu")
    return pytest.mark.skipif(not found.works, reason=f"{library}: {found.why_not}")


def one_fewer(clip):
    """A VP8 Clip one of whose packets says that its picture is not shown: one picture fewer than packets comes out."""
    at = len(clip.packets) // 2
    packet = bytes([clip.packets[at][0] & ~0x10]) + clip.packets[at][1:]
    return msgspec.structs.replace(clip, packets=(*clip.packets[:at], packet, *clip.packets[at + 1 :]))


@pytest.mark.parametrize(
    "make", [pytest.param(DecordDecoder, marks=needs("decord")), pytest.param(DaliDecoder, marks=needs("dali"))]
)
def test_a_decoder_that_loses_a_picture_is_relieved(make, cut_of):
    made = cut_of("vp8")
    clip = one_fewer(made.clip)
    decoder = make()
    assert decoder.refuses(clip) is None
    with pytest.raises(DecodeFailed):
        decoder.decode(clip)
    fallback = Fallback(PyAVDecoder(), [decoder])
    decoded = fallback.decode(clip)
    assert [number_of(picture) for picture in decoded.frames.pixels] == [made.numbers[row] for row in decoded.rows]
    assert decoded.decoder == "pyav"
    (passed_on,) = decoded.passed_on
    assert (passed_on.decoder, passed_on.tried) == (decoder.name, True)
    (notice,) = notices(decoded.passed_on, "cpu")
    assert notice.code == "decoder_failed"
    assert decoder.name in notice.message


@needs("decord")
def test_a_decoder_that_raises_is_relieved(cut_of):
    clip = cut_of("vp9").clip
    damaged = msgspec.structs.replace(clip, packets=tuple(packet[:3] for packet in clip.packets))
    fallback = Fallback(PyAVDecoder(), [DecordDecoder()])
    decoded = fallback.decode(damaged)
    assert len(decoded.rows) == 0
    assert [one.tried for one in decoded.passed_on] == [True]


def test_the_first_that_takes_a_clip_decodes_it(cut_of):
    clip = cut_of("h264").clip
    fallback = Fallback(PyAVDecoder(), [Stub(refusal="too loud"), Stub(name="second"), Stub(name="third")])
    decoded = fallback.decode(clip)
    assert decoded.rows == clip.wanted
    assert decoded.decoder == "second"
    assert decoded.passed_on == (PassedOn("stub", "too loud", tried=False),)
    assert notices(decoded.passed_on, "cpu") == ()


def fewer(decoded):
    return dataclasses.replace(
        decoded,
        rows=decoded.rows[1:],
        frames=type(decoded.frames)(decoded.frames.pixels[1:], decoded.frames.pts_s[1:]),
    )


def at_wrong_times(decoded):
    frames = type(decoded.frames)(decoded.frames.pixels, decoded.frames.pts_s + 0.04)
    return dataclasses.replace(decoded, frames=frames)


def under_wrong_rows(decoded):
    return dataclasses.replace(decoded, rows=tuple(row + 1000 for row in decoded.rows))


def broken(decoded):
    raise ZeroDivisionError("inside a library")


@pytest.mark.parametrize("change", [fewer, at_wrong_times, under_wrong_rows, broken])
def test_a_wrong_answer_is_not_passed_on(change, cut_of):
    clip = cut_of("h264").clip
    fallback = Fallback(PyAVDecoder(), [Stub(change)])
    decoded = fallback.decode(clip)
    assert complaint(clip, decoded) is None
    np.testing.assert_array_equal(decoded.frames.pixels, PyAVDecoder().decode(clip).frames.pixels)
    assert [(one.decoder, one.tried) for one in decoded.passed_on] == [("stub", True)]


def test_the_order_may_depend_on_the_clip(cut_of):
    small, large = cut_of("h264").clip, cut_of("h264-hd").clip
    fallback = Fallback(PyAVDecoder(), [Stub()], order=lambda clip: ("stub",) if clip.codec.height >= 720 else ())
    assert (fallback.decode(small).decoder, fallback.decode(large).decoder) == ("pyav", "stub")


def test_a_demanded_gpu_is_never_replaced(cut_of):
    clip = cut_of("h264").clip
    gpu = Stub(name="gpu", device="cuda:0", refusal="too small")
    fallback = Fallback(PyAVDecoder(), [Stub(), gpu], require_gpu=True)
    with pytest.raises(GpuUnavailable, match="gpu: too small"):
        fallback.decode(clip)
    assert Fallback(PyAVDecoder(), [Stub(device="cuda")], require_gpu=True).decode(clip).rows == clip.wanted


def test_a_gpu_that_was_asked_for_and_not_used_is_told():
    refused, failed = PassedOn("torchcodec", "interlaced", tried=False), PassedOn("torchcodec", "raised", tried=True)
    (notice,) = notices([refused, failed, refused], "cuda")
    assert notice.code == "gpu_not_used"
    assert "torchcodec, 2 times: interlaced; torchcodec, 1 times: raised" in notice.message
    assert notices([], "cuda") == ()
    (notice,) = notices([refused, failed], "cpu")
    assert notice.code == "decoder_failed"
    assert "interlaced" not in notice.message, "on a CPU it matters to nobody which decoder does it"
