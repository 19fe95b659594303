"""From decoded pictures to SDR RGB: tables against formulas, and what must not happen."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc

from pipeline.decode.color import to_rgb
from pipeline.decode.deinterlace import deinterlaced
from pipeline.decode.tonemap import Look, eetf, look_of, nits_to_pq, pixels_for, pq_to_nits, to_sdr, tone_mapped
from pipeline.errors import UnsupportedCodec

BT2020 = int(ColorPrimaries.BT2020)
LOOKS = [Look(transfer=int(curve), primaries=BT2020) for curve in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67, 1)]


def coded(signal: np.ndarray) -> av.VideoFrame:
    """A frame of R'G'B' float [H, W, 3] in [0, 1], in the format that is mapped at its width."""
    pixels = pixels_for(signal.shape[1])
    if pixels == "rgb48le":
        return av.VideoFrame.from_ndarray(np.round(signal * 65_535).astype(np.uint16), format=pixels)
    return av.VideoFrame.from_ndarray(signal.astype(np.float32), format=pixels)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("width", [160, 161])
def test_the_table_is_near_the_formulas(look, width):
    rng = np.random.default_rng(3)
    # Pictures are mostly near grey; 0.76 is 1000 cd/m2 in PQ.
    signal = np.clip(rng.random((90, width, 1)) * 0.76 + rng.normal(0, 0.04, (90, width, 3)), 0, 1)
    mapped = tone_mapped(coded(signal), look).reformat(format="rgb24").to_ndarray().astype(float)
    error = np.abs(mapped - 255 * to_sdr(signal, look))
    assert error.mean() < 1
    assert np.percentile(error, 99) < 4


def test_dark_and_middle_light_pass_the_curve_unchanged_and_white_is_reached():
    low = np.array([0.0, 1, 10, 50, 87])
    np.testing.assert_allclose(eetf(low, 1000), low, atol=1e-6)
    assert eetf(np.array(1000.0), 1000) == pytest.approx(203)
    rising = eetf(np.linspace(0, 1000, 500), 1000)
    assert np.all(np.diff(rising) > 0)


def test_pq_and_its_inverse():
    assert float(nits_to_pq(np.array(100.0))) == pytest.approx(0.5081, abs=1e-4)  # BT.2408, table 1: 58 % is 203
    assert float(nits_to_pq(np.array(203.0))) == pytest.approx(0.5807, abs=1e-4)
    light = np.array([0.0, 0.01, 1, 100, 4000, 10_000])
    np.testing.assert_allclose(pq_to_nits(nits_to_pq(light)), light, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("look", LOOKS)
def test_grey_stays_grey(look):
    grey = np.repeat(np.linspace(0, 1, 64)[:, None], 3, axis=1)
    mapped = to_sdr(grey, look)
    np.testing.assert_allclose(mapped, mapped[:, :1].repeat(3, 1), atol=2e-3)


def test_ordinary_pictures_are_not_mapped():
    for primaries in (1, 2, 5, 6):
        frame = av.VideoFrame(16, 16, "yuv420p")
        frame.color_primaries = primaries
        assert look_of(frame) is None


def test_an_unknown_matrix_is_refused_by_name():
    frame = av.VideoFrame(16, 16, "yuv420p")
    frame.colorspace = 8
    with pytest.raises(UnsupportedCodec, match=r"matrix 8 of ITU-T H\.273"):
        to_rgb(frame)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p10le", "gray", "yuv411p", "uyvy422"])
def test_any_size_is_deinterlaced_to_itself(pixels):
    rng = np.random.default_rng(5)
    for _ in range(20):
        width, height = int(rng.integers(2, 300)), int(rng.integers(4, 120))
        frame = av.VideoFrame(width, height, pixels)
        frame.pts, frame.time_base = 7, Fraction(1, 25)
        whole = deinterlaced(frame)
        assert (whole.width, whole.height) == (width, height)
