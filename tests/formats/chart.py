"""Pictures whose right answer is known: a colour chart in numbers, and the standards' formulas written out once more.

Nothing here uses the pipeline or FFmpeg's conversions: a mistake there must not be repeated here.
"""

import numpy as np

WIDTH, HEIGHT = 160, 96

#: Number of AVColorSpace -> weights of red and blue in luma (ITU-T H.273, table 4).
WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601
    6: (0.299, 0.114),
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
}

#: R, G, B of the patches, row by row; no two rows or columns alike, so that any turn or swap shows.
PATCHES = np.array(
    [
        [(245, 10, 10), (10, 235, 10), (10, 10, 245), (235, 235, 235), (20, 20, 20)],
        [(240, 230, 10), (10, 230, 240), (235, 10, 230), (128, 128, 128), (245, 130, 10)],
        [(110, 10, 150), (140, 230, 90), (60, 60, 60), (10, 120, 80), (180, 170, 240)],
    ],
    np.uint8,
)

GREYS = np.repeat(np.linspace(20, 235, 15).round().astype(np.uint8).reshape(3, 5, 1)[:, ::-1], 3, axis=2)

#: Side of the blocks that write a picture's number in binary along its lower edge.
_BIT = 16


def chart(number: int, width: int = WIDTH, height: int = HEIGHT, patches: np.ndarray = PATCHES) -> np.ndarray:
    """uint8 [height, width, 3]: the patches, above a strip that says `number` (0 to 255), behind a box that moves."""
    rows, columns = np.arange(height) * len(patches) // height, np.arange(width) * patches.shape[1] // width
    # Borders on even pixels: halved chroma then loses nothing inside a patch.
    picture = patches[rows[np.arange(height) // 2 * 2]][:, columns[np.arange(width) // 2 * 2]].copy()
    bits = min(8, width // _BIT)
    for bit in range(bits):
        picture[height - _BIT :, bit * _BIT : (bit + 1) * _BIT] = patches[0, 3 if number >> bit & 1 else 4]
    left = 2 * (number * 3 % (max(2, width - 24) // 2))
    picture[height // 4 : height // 4 + 16, left : left + 24] = patches[1, 3]
    return picture


def moments(count: int, **how) -> list[np.ndarray]:
    """The first `count` charts."""
    return [chart(number, **how) for number in range(count)]


def to_yuv(rgb: np.ndarray, matrix: int, *, full: bool, bits: int) -> np.ndarray:
    """R'G'B' float [H, W, 3] in [0, 1] -> Y'CbCr codes, float [H, W, 3], not rounded (ITU-R BT.709, 3; H.273, 8.3)."""
    red, blue = WEIGHTS[matrix]
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    cb, cr = (rgb[..., 2] - luma) / (2 * (1 - blue)), (rgb[..., 0] - luma) / (2 * (1 - red))
    if full:
        top = 2**bits - 1
        return np.stack([luma * top, cb * top + 2 ** (bits - 1), cr * top + 2 ** (bits - 1)], -1)
    step = 2 ** (bits - 8)
    return np.stack([219 * luma + 16, 224 * cb + 128, 224 * cr + 128], -1) * step


def psnr(got: np.ndarray, known: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures of one shape, dB; 99 where they are equal."""
    error = np.mean((got.astype(np.float64) - known.astype(np.float64)) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


# High dynamic range, after ITU-R BT.2100-2 (tables 4 to 6), BT.2390-10 (5.4.1), BT.2020, BT.709 and BT.1886.

#: Linear BT.2020 -> linear BT.709 (ITU-R BT.2087-0, 2.2).
_2020_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
)
_WHITE, _PEAK = 203.0, 1000.0


def _pq(nits):
    y = (np.asarray(nits) / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def _pq_inverse(code):
    power = np.asarray(code) ** (1 / 78.84375)
    return 10_000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)


def _hermite(nits: np.ndarray, peak: float) -> np.ndarray:
    black_to_white = _pq(peak)
    e1 = np.minimum(_pq(nits) / black_to_white, 1)
    top = _pq(_WHITE) / black_to_white
    ks = 1.5 * top - 0.5
    t = (e1 - ks) / (1 - ks)
    p = (2 * t**3 - 3 * t**2 + 1) * ks + (t**3 - 2 * t**2 + t) * (1 - ks) + (-2 * t**3 + 3 * t**2) * top
    return _pq_inverse(np.where(e1 < ks, e1, p) * black_to_white)


def _encoded(light_709: np.ndarray) -> np.ndarray:
    return (np.clip(light_709, 0, 1) ** (1 / 2.4) * 255).round().astype(np.uint8)


def sdr_of_pq(code: np.ndarray, peak: float = _PEAK) -> np.ndarray:
    """PQ R'G'B' of BT.2020 in [0, 1] -> uint8 SDR of BT.709, as docs/decisions/0007 says."""
    return _encoded(_hermite(_pq_inverse(code), peak) / _WHITE @ _2020_TO_709.T)


def sdr_of_hlg(code: np.ndarray) -> np.ndarray:
    """HLG R'G'B' of BT.2020 in [0, 1] -> uint8 SDR of BT.709, as docs/decisions/0007 says."""
    low, high = code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12
    scene = np.where(code <= 0.5, low, high)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return _encoded(_hermite(_PEAK * scene * luminance[..., None] ** 0.2, _PEAK) / _WHITE @ _2020_TO_709.T)


def sdr_of_wide(code: np.ndarray) -> np.ndarray:
    """SDR R'G'B' of BT.2020 in [0, 1] -> uint8 SDR of BT.709."""
    return _encoded(code**2.4 @ _2020_TO_709.T)
