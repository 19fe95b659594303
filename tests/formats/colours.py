"""Matrices, ranges and light: what the tags say, what they leave open, and high dynamic range made SDR."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.formats.chart import moments, sdr_of_hlg, sdr_of_pq, sdr_of_wide
from tests.formats.containers import H264, H265, SVT, VP9, plain
from tests.formats.matrix import Entry
from tests.formats.writing import COUNT, Codec, Known, Tags, encode, even

_PQ, _HLG, _BT2020 = 16, 18, 9
_FOUR = replace(H264, pixels="yuv444p")

#: Any wrong range, and a matrix of BT.601, BT.709 or BT.2020 taken for another of them, is 8 dB below this and more
#: (test_matrix.py).
COLOUR_DB = 44.0

#: See containers.DEEP_420_DB; the curve makes borders steeper.
_DEEP_DB = 21.0


def _tagged(name: str, oddity: str, tags: Tags, codec: Codec = _FOUR, suffix: str = "mp4") -> Entry:
    return plain(name, suffix, replace(codec, tags=tags), oddity, bound_db=COLOUR_DB)


def _light(
    name: str,
    suffix: str,
    codec: Codec,
    oddity: str,
    transfer: int,
    to_sdr: Callable,
    reach: float,
    bound_db: float = 35.0,
) -> Entry:
    """Charts taken as signals of high range, from black to `reach` of it, whose SDR is computed here."""

    def make(path: Path) -> Known:
        signals = [frame / 255 * reach for frame in moments(COUNT)]
        tags = Tags(matrix=9, full=False, primaries=_BT2020, transfer=transfer)
        encode(path, replace(codec, tags=tags), signals)
        return Known([to_sdr(signal) for signal in signals], even())

    return Entry(name, suffix, codec.name, codec.pixels, oddity, make, bound_db)


def _tall(path: Path) -> Known:
    """720 lines, untagged: BT.709."""
    frames = moments(6, width=96, height=720)
    encode(path, _FOUR, frames)
    return Known(frames, even(6))


def _ten(codec: Codec, **options: str) -> Codec:
    more = {**codec.options}
    if options:
        more["x265-params"] += "".join(f":{key}={value}" for key, value in options.items())
    return replace(codec, pixels="yuv444p10le", options=more)


_MASTERED_4000 = {"master-display": "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(40000000,50)"}

ENTRIES = [
    _tagged("bt601-tagged", "matrix BT.601", Tags(matrix=6)),
    _tagged("bt709-tagged", "matrix BT.709 on a small picture", Tags(matrix=1)),
    _tagged("bt470bg-tagged", "matrix BT.470BG", Tags(matrix=5)),
    _tagged("smpte240m-tagged", "matrix SMPTE 240M", Tags(matrix=7)),
    _tagged("fcc-tagged", "matrix FCC", Tags(matrix=4)),
    _tagged("bt2020-tagged", "matrix BT.2020, primaries BT.709", Tags(matrix=9, primaries=1, transfer=1)),
    Entry("bt709-untagged", "mp4", "libx264", "yuv444p", "720 lines, untagged: BT.709", _tall, COLOUR_DB),
    _tagged("full-range", "full range by a tag", Tags(matrix=6, full=True)),
    _tagged("full-range-709", "full range, BT.709", Tags(matrix=1, full=True)),
    _tagged("limited-tagged", "limited range by a tag", Tags(matrix=1, full=False)),
    _tagged("full-vp9", "full range by a tag", Tags(matrix=1, full=True), replace(VP9, pixels="yuv444p"), "webm"),
    _tagged("full-10", "full range, 10 bits", Tags(matrix=1, full=True), _ten(H264)),
    _tagged("container-tags", "tags in the container only", Tags(matrix=1, full=True), Codec("ffv1", "yuv444p"), "mkv"),
    _light("wide-sdr", "mp4", _ten(H265), "SDR in BT.2020 primaries", 14, sdr_of_wide, 1.0),
    _light("hdr10", "mp4", _ten(H265), "PQ up to 1000 cd/m2", _PQ, sdr_of_pq, 0.75),
    _light("hdr10-420", "mkv", replace(H265, pixels="yuv420p10le"), "PQ, 4:2:0", _PQ, sdr_of_pq, 0.75, _DEEP_DB),
    _light(
        "hdr10-4000", "mp4", _ten(H265, **_MASTERED_4000), "PQ, graded on 4000 cd/m2", _PQ,
        lambda signal: sdr_of_pq(signal, 4000.0), 0.9,
    ),
    _light(
        "hdr10-av1", "mp4", Codec("libsvtav1", "yuv420p10le", options=SVT), "PQ, 4:2:0", _PQ, sdr_of_pq, 0.75,
        _DEEP_DB,
    ),
    _light("hlg", "mp4", _ten(H265), "HLG", _HLG, sdr_of_hlg, 1.0),
    _light("hlg-mkv", "mkv", _ten(H265), "HLG, without its highlights", _HLG, sdr_of_hlg, 0.8),
]  # fmt: skip


def _coded(matrix: int) -> Callable[[Path], Known]:
    def make(path: Path) -> Known:
        frames = moments(COUNT)
        # The numbers inside do not matter: nothing is to come out.
        encode(path, _FOUR, frames, prepare=lambda stream: setattr(stream.codec_context, "colorspace", matrix))
        return Known([np.zeros_like(frame) for frame in frames], even())

    return make


ENTRIES += [
    Entry(
        f"matrix-{name}", "mp4", "libx264", "yuv444p", f"matrix {words}", _coded(matrix),
        refusals={"*": "unsupported_codec"},
    )
    for name, matrix, words in (("ycgco", 8, "YCgCo"), ("constant", 10, "BT.2020, constant"), ("ictcp", 14, "ICtCp"))
]  # fmt: skip
