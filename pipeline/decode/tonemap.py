"""High dynamic range and wide gamut to SDR in BT.709, by a table that is computed here and applied by FFmpeg.

From the signal to light: PQ (SMPTE ST 2084) as it stands; HLG (ITU-R BT.2100) as on a display of 1000 cd/m2, gamma 1.2.
From there to a display of 203 cd/m2, the reference white of HDR (ITU-R BT.2408): the EETF of ITU-R BT.2390 (5.4.1) on
R'G'B' in PQ, black level 0; light below its knee, 88 cd/m2 for a source of 1000, passes unchanged. Then the primaries
(ITU-R BT.2020, BT.709; SMPTE ST 432-1 for P3), colours that BT.709 lacks clipped channel by channel; and the inverse of
ITU-R BT.1886, gamma 2.4. Wide gamut without high range takes the last two steps only.
"""

from fractions import Fraction
from functools import lru_cache

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc

from pipeline.decode.geometry import side_data
from pipeline.record import Record

#: Light of SDR white, and of the brightest colour of a source that does not say it, cd/m2.
SDR_WHITE_NITS = 203.0
USUAL_PEAK_NITS = 1000.0

#: Constants of PQ (BT.2100, table 4) and of HLG (table 5).
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA, _SDR_GAMMA = 1.2, 2.4

#: x, y of red, green and blue; all with white D65.
_CHROMATICITIES: dict[int, tuple[tuple[float, float], ...]] = {
    int(ColorPrimaries.BT709): ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    int(ColorPrimaries.BT2020): ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    int(ColorPrimaries.SMPTE432): ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)

#: The table has this number to the third squared as entries: 64 steps a channel. Measured against the formulas
#: (tests/pipeline/test_tonemap.py): less than one step of 255 on average.
_LEVEL = 8

_HDR = (int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67))


class Look(Record, frozen=True, kw_only=True):
    """What a picture's light and colours are meant by, where that is not SDR in BT.709."""

    transfer: int
    """FFmpeg's number of the transfer curve; anything but PQ and HLG counts as BT.1886."""
    primaries: int
    """FFmpeg's number of the primaries."""
    peak_nits: float = USUAL_PEAK_NITS
    """Light of the brightest colour that the source was graded with, cd/m2; matters for PQ."""


def look_of(frame: VideoFrame, peak_nits: float = USUAL_PEAK_NITS) -> Look | None:
    """The look of a picture that must be mapped, None for one of SDR in BT.709 or what is near it (BT.601).

    High range without primaries is taken for BT.2020, as BT.2100 has it.
    """
    transfer, primaries = int(frame.color_trc), int(frame.color_primaries)
    if transfer in _HDR:
        if primaries not in _CHROMATICITIES:
            primaries = int(ColorPrimaries.BT2020)
        return Look(transfer=transfer, primaries=primaries, peak_nits=peak_nits)
    if primaries in (int(ColorPrimaries.BT2020), int(ColorPrimaries.SMPTE432)):
        return Look(transfer=int(ColorTrc.BT709), primaries=primaries)
    return None


def mastering_peak_nits(frame: VideoFrame) -> float:
    """Peak of the display that the source was graded on (SMPTE ST 2086), cd/m2, to the next 50 within 250 to 10,000;
    1000 where the picture does not carry it. What the content is said to reach (MaxCLL) is often wrong and not used."""
    data = side_data(frame, Type.MASTERING_DISPLAY_METADATA)
    if len(data) < 88:
        return USUAL_PEAK_NITS
    # FFmpeg's AVMasteringDisplayMetadata: ten fractions of two int32 (the last is the peak), then two flags.
    words = np.frombuffer(data, "<i4", count=22)
    if not words[21] or words[19] <= 0:
        return USUAL_PEAK_NITS
    return float(np.clip(round(words[18] / words[19] / 50) * 50, 250, 10_000))


def pq_to_nits(signal: np.ndarray) -> np.ndarray:
    """PQ in [0, 1] -> cd/m2, any shape."""
    power = np.power(np.clip(signal, 0, 1), 1 / _M2)
    return 10_000 * np.power(np.maximum(power - _C1, 0) / (_C2 - _C3 * power), 1 / _M1)


def nits_to_pq(nits: np.ndarray) -> np.ndarray:
    """cd/m2 -> PQ in [0, 1], any shape."""
    power = np.power(np.clip(nits, 0, 10_000) / 10_000, _M1)
    return np.power((_C1 + _C2 * power) / (1 + _C3 * power), _M2)


def hlg_to_nits(signal: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """HLG [..., 3] in [0, 1] -> cd/m2 on a display of 1000; `luma` float [3] weighs the channels to luminance."""
    signal = np.clip(signal, 0, 1)
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12)
    return USUAL_PEAK_NITS * np.power(scene @ luma, _HLG_GAMMA - 1)[..., None] * scene


def eetf(nits: np.ndarray, peak_nits: float) -> np.ndarray:
    """Light of a source that reaches `peak_nits` -> that of an SDR display, cd/m2, any shape (BT.2390, 5.4.1)."""
    source = float(nits_to_pq(np.array(peak_nits)))
    target = float(nits_to_pq(np.array(SDR_WHITE_NITS))) / source
    if target >= 1:
        return np.minimum(nits, SDR_WHITE_NITS)
    knee = 1.5 * target - 0.5
    level = np.minimum(nits_to_pq(nits) / source, 1)
    t = np.maximum(level - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * target
    return pq_to_nits(np.where(level < knee, level, spline) * source)


@lru_cache(maxsize=8)
def rgb_to_xyz(primaries: int) -> np.ndarray:
    """float64 [3, 3], linear RGB of these primaries -> CIE XYZ with white at Y = 1 (SMPTE RP 177)."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in _CHROMATICITIES[primaries]]).T
    white = np.array([_D65[0] / _D65[1], 1.0, (1 - _D65[0] - _D65[1]) / _D65[1]])
    return columns * np.linalg.solve(columns, white)


def to_sdr(signal: np.ndarray, look: Look) -> np.ndarray:
    """float [..., 3] R'G'B' in [0, 1] as coded -> R'G'B' in [0, 1] for an SDR display in BT.709."""
    if look.transfer == int(ColorTrc.SMPTE2084):
        light = eetf(pq_to_nits(signal), look.peak_nits) / SDR_WHITE_NITS
    elif look.transfer == int(ColorTrc.ARIB_STD_B67):
        luma = rgb_to_xyz(look.primaries)[1]
        light = eetf(hlg_to_nits(signal, luma), USUAL_PEAK_NITS) / SDR_WHITE_NITS
    else:
        light = np.power(np.clip(signal, 0, 1), _SDR_GAMMA)
    matrix = np.linalg.solve(rgb_to_xyz(int(ColorPrimaries.BT709)), rgb_to_xyz(look.primaries))
    return np.power(np.clip(light @ matrix.T, 0, 1), 1 / _SDR_GAMMA)


def pixels_for(width: int) -> str:
    """The format in which a picture of this width can be mapped.

    For planes FFmpeg runs SIMD code, three times as fast, that writes past the end of lines whose length is no multiple
    of its own (measured: crashes at 161 and 300 pixels); packed pixels are safe at any width.
    """
    return "gbrpf32le" if width % 16 == 0 else "rgb48le"


@lru_cache(maxsize=4)
def _table(look: Look, pixels: str) -> VideoFrame:
    """The mapping as a Hald picture: red fastest, then green, then blue."""
    steps = np.linspace(0, 1, _LEVEL**2)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    mapped = to_sdr(np.stack([red, green, blue], -1).reshape(_LEVEL**3, _LEVEL**3, 3), look)
    if pixels == "rgb48le":
        table = VideoFrame.from_ndarray(np.round(mapped * 65_535).astype(np.uint16), format=pixels)
    else:
        table = VideoFrame.from_ndarray(mapped.astype(np.float32), format=pixels)
    table.pts = 0
    return table


def tone_mapped(frame: VideoFrame, look: Look) -> VideoFrame:
    """A picture in the format of `pixels_for`, coded as `look` says -> the same in SDR; tetrahedral interpolation."""
    graph = Graph()
    graph.threads = 1
    tick = Fraction(1, 25)
    table = _table(look, frame.format.name)
    picture_in, table_in = (
        graph.add_buffer(width=image.width, height=image.height, format=image.format, time_base=tick)
        for image in (frame, table)
    )
    mapping = graph.add("haldclut", "clut=first:interp=tetrahedral")
    sink = graph.add("buffersink")
    picture_in.link_to(mapping, 0, 0)
    table_in.link_to(mapping, 0, 1)
    mapping.link_to(sink)
    graph.configure()
    table_in.push(table)
    table_in.push(None)
    frame.pts, frame.time_base = 0, tick
    picture_in.push(frame)
    mapped = sink.pull()
    assert isinstance(mapped, VideoFrame)
    return mapped
