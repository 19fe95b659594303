"""The columns of the matrix, and what each decoder is expected to make of a file: by rule, not by what came out.

A decoder other than the reference may refuse a Clip, as long as it says so (`DecodeFailed`) for a reason that is known
here; another one takes over then (`pipeline.decode.fallback`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.clips import Clip
from pipeline.decode.available import Support, support
from pipeline.decode.base import Decoder
from pipeline.decode.dali import DaliDecoder
from pipeline.decode.decord import DecordDecoder
from pipeline.decode.pyav import PyAVDecoder
from pipeline.decode.torchcodec import TorchCodecDecoder
from pipeline.errors import DecodeFailed
from tests.formats.containers import DEEP_420_DB
from tests.formats.matrix import Entry


@dataclass(frozen=True)
class Column:
    """A decoder on a kind of device, by itself: without others that take over."""

    decoder: str
    device: str = "cpu"

    @property
    def name(self) -> str:
        """As the published table has it."""
        return self.decoder if self.device == "cpu" else f"{self.decoder} on a GPU"

    @property
    def on_gpu(self) -> bool:
        """Whether it needs one."""
        return self.device != "cpu"

    def support(self) -> Support:
        """Whether it works on this machine."""
        return support(self.decoder, self.device)

    def make(self) -> Decoder:
        """A fresh decoder."""
        return _MAKERS[self.decoder](self.device)


_MAKERS: dict[str, Callable[[str], Decoder]] = {
    "pyav": lambda device: PyAVDecoder(),
    "torchcodec": TorchCodecDecoder,
    "decord": lambda device: DecordDecoder(),
    "dali": DaliDecoder,
}

REFERENCE = Column("pyav")
OTHERS = (*map(Column, ("torchcodec", "decord", "dali")), Column("torchcodec", "cuda"), Column("dali", "cuda"))

#: Encoder -> the codec it writes, where they have different names.
_CODEC_OF = {
    "libx264": "h264",
    "libx264rgb": "h264",
    "libx265": "hevc",
    "libvpx": "vp8",
    "libvpx-vp9": "vp9",
    "libsvtav1": "av1",
}

#: What decord 0.6 was built to decode, and what DALI decodes without a GPU.
_DECORD = frozenset({"h264", "hevc", "vp8", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg"})
_DALI = frozenset({"vp8", "vp9", "mjpeg"})


def _codec(entry: Entry) -> str:
    return _CODEC_OF.get(entry.codec, entry.codec)


def _is_plain_yuv(entry: Entry) -> bool:
    # FFmpeg shows grey H.264 as 4:2:0 without colour.
    is_colour = entry.pixels.startswith(("yuv4", "yuvj4"))
    return is_colour or (entry.pixels == "gray" and _codec(entry) == "h264")


def _odd(*beginnings: str) -> Callable[[Entry], bool]:
    return lambda entry: entry.oddity.startswith(beginnings)


def _in_decode_order(clip: Clip) -> bool:
    return clip.codec.reorder_depth > 0 and len(clip.ranks) > 1 and list(clip.ranks) == sorted(clip.ranks)


@dataclass(frozen=True)
class Rule:
    """Files that some decoders refuse."""

    decoders: tuple[str, ...]
    words: str
    """Why, for the published page."""
    says: str
    """Part of the line that a Clip is refused with."""
    fits: Callable[[Entry], bool] = lambda entry: True
    clip: Callable[[Clip], bool] | None = None
    """Of the file's Clips, at least one must be so; None: whatever they are."""

    def speaks_of(self, column: Column, entry: Entry, clips: Sequence[Clip]) -> bool:
        """Whether the file is refused by this rule."""
        is_meant = column.decoder in self.decoders and self.fits(entry)
        return is_meant and (self.clip is None or any(map(self.clip, clips)))


_ALL = ("torchcodec", "decord", "dali")

#: The first that fits tells what is expected; files that none fits must come out equal. For decoders on a CPU.
RULES = (
    Rule(
        ("decord",), "its FFmpeg is 4.1, of 2018: other codecs are not asked of it", "decord does not know",
        lambda entry: _codec(entry) not in _DECORD,
    ),
    Rule(
        ("dali",), "without a GPU it decodes VP8, VP9 and MJPEG only", "DALI does not decode",
        lambda entry: _codec(entry) not in _DALI,
    ),
    Rule(
        ("dali",), "it takes full range for limited range, but in MJPEG", "full range",
        lambda entry: "full range" in entry.oddity and _codec(entry) != "mjpeg",
    ),
    Rule(
        _ALL, "HDR and wide gamut are mapped by the reference only", "a high dynamic range or a wide gamut",
        _odd("PQ", "HLG", "SDR in BT.2020"),
    ),
    Rule(
        _ALL, "RGB, grey, palettes and transparency look different when others make RGB of them", "pictures of format",
        lambda entry: not _is_plain_yuv(entry),
    ),
    Rule(_ALL, "fields are made whole by the reference only", "interlaced", _odd("interlaced")),
    Rule(
        _ALL, "pixels are made square by the reference only", "not square",
        lambda entry: entry.oddity.startswith("pixels ") and "taken for square" not in entry.oddity,
    ),
    Rule(
        ("torchcodec",), "a Clip of this codec is not written as Matroska", "not written as Matroska",
        lambda entry: _codec(entry) not in _DECORD | {"av1"},
    ),
    Rule(("torchcodec",), "it takes pictures of one size only, and raises", "of shape", _odd("size ")),
    Rule(("dali",), "it would read pictures of another size wrongly", "not all of one size", _odd("size ")),
    Rule(
        ("decord", "dali"), "packets that show nothing make counting pictures unsafe", "show no picture",
        lambda entry: entry.oddity.startswith("edit list") and "into a group" in entry.oddity,
    ),
    Rule(
        ("decord", "dali"), "pictures that refer across a gap make counting pictures unsafe", "what was left out",
        _odd("open groups"),
    ),
    Rule(
        ("decord", "dali"),
        "all pictures of a Clip are in decoding order though the codec reorders (where the encoder put its B-pictures "
        "decides), so that its times may be made up and counting pictures is unsafe",
        "times may be those of decoding", clip=_in_decode_order,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """What a file must come to."""

    cell: str
    """See `running.Outcome`."""
    says: str = ""
    """Part of the line that it is refused with."""
    rule: int | None = None
    """Which of RULES says so."""


EQUAL = "equal"


def refused(code: str) -> str:
    """The cell of a file that is refused with an error of this code."""
    return f"refused ({code})"


def expected(column: Column, entry: Entry, clips: Sequence[Clip]) -> Expected:
    """What a decoder on a CPU must do; `clips` are those of the file."""
    if (code := entry.refusals.get("*")) is not None:
        return Expected(refused(code))
    for number, rule in enumerate(RULES):
        if rule.speaks_of(column, entry, clips):
            return Expected(refused(DecodeFailed.code), rule.says, number)
    return Expected(EQUAL)


@dataclass(frozen=True)
class Bounds:
    """How near pictures must be to the known ones: PSNR, dB."""

    everywhere: float
    flat: float | None = None
    """Away from borders between colours; None: the same."""


#: In flat areas any mistaken matrix or range is below this (test_matrix.py). NVIDIA's conversion is a few levels off;
#: nobody has measured here how many.
GPU_FLAT_DB = 36.0

#: Decoder -> how it may differ from the reference, for the published page.
OTHER_BOUNDS = {
    "dali": f"blends halved colour between pixels, as PyAV does of more than 8 bits: {DEEP_420_DB:g} dB at the borders "
    "of the chart's hard-edged colours, 40 dB away from them",
    "decord": "scales pictures whose size changes by a bilinear filter instead of a bicubic one: 36 dB",
}


def bounds(column: Column, entry: Entry) -> Bounds:
    """Those of the entry, but for what is in OTHER_BOUNDS."""
    borders = min(DEEP_420_DB, entry.bound_db)
    if column.on_gpu:
        return Bounds(borders, GPU_FLAT_DB)
    if column.decoder == "dali" and "444" not in entry.pixels:
        return Bounds(borders, 40.0)
    if column.decoder == "decord" and entry.oddity.startswith("size "):
        return Bounds(36.0)
    return Bounds(entry.bound_db)
