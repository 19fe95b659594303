"""Which decoder gets which Clip: a table of measurements, names that force one, and the reason in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pipeline.clips import Clip
from pipeline.decode.available import DEVICES, Support, support
from pipeline.decode.base import Decoder, Decoding
from pipeline.decode.dali import DaliDecoder
from pipeline.decode.decord import DecordDecoder
from pipeline.decode.fallback import Fallback
from pipeline.decode.pyav import PyAVDecoder
from pipeline.decode.torchcodec import TorchCodecDecoder
from pipeline.errors import DecoderUnavailable, GpuUnavailable
from pipeline.report import Notice

Name = Literal["auto", "pyav", "torchcodec", "dali", "decord"]


@dataclass(frozen=True, slots=True)
class Rule:
    """Fits a Clip that is as large as it says, or larger."""

    device: Literal["cpu", "cuda"]
    decoder: str
    """The one to try first; with `pyav`, the only one."""
    why: str
    codecs: frozenset[str] | None = None
    """None: any."""
    min_lines: int = 0
    """Shorter side of a picture, pixels."""
    min_packets: int = 0

    def fits(self, clip: Clip, device: str) -> bool:
        """Whether it speaks of this Clip on this device (`cpu`, `cuda`, `cuda:0`)."""
        codec = clip.codec
        return (
            device.partition(":")[0] == self.device
            and (self.codecs is None or codec.name in self.codecs)
            and min(codec.width, codec.height) >= self.min_lines
            and len(clip.packets) >= self.min_packets
        )


#: The first that fits decides. CPUs (`benchmarks/results/decode.json`, "adapters"): on the same Clips torchcodec takes
#: 1.04 to 2.1 times the CPU time of PyAV, decord 1.2 to 2.4, DALI 1.3 to 2.5, whatever the codec. Figures of GPUs are
#: other people's until `benchmarks/gpu.sh` has run: torchcodec's own benchmark (4 to 10 times slower than the CPU on
#: 540 lines, 3 times faster on batches of 1080), 100 ms to open a session (torchcodec #460).
TABLE: tuple[Rule, ...] = (
    Rule("cuda", "torchcodec", "NVDEC: pictures are large and many enough to pay for a session", None, 720, 30),
    Rule("cuda", "pyav", "a CPU is done with so small a Clip before a GPU has opened a session"),
    Rule(
        "cpu",
        "pyav",
        "FFmpeg on the CPU, sparse: only the packets that the wanted frames need, only wanted pictures to RGB",
    ),
)

#: Tried in this order where the table's first choice fails.
_ORDER = ("torchcodec", "dali", "decord")


@dataclass(frozen=True, slots=True)
class Choice:
    """What to decode with."""

    decoder: Fallback
    device: str
    reason: str
    """Why, in words for a person."""
    notices: tuple[Notice, ...] = ()
    """What the caller should know of it."""

    @property
    def told(self) -> Decoding:
        """The same for reports."""
        return Decoding(self.decoder.name, self.device, self.reason)


def choose(
    name: str = "auto", device: str = "cpu", *, reference: Decoder | None = None, require_gpu: bool = False
) -> Choice:
    """Put decoders together for this machine.

    Args:
        name: `auto` goes by `TABLE`, Clip by Clip; any other of `Name` is tried on every Clip that it takes.
        device: where the model runs: `cpu`, `cuda`, `cuda:0`; on any other (`mps`) nothing here decodes, so that frames
            for it are decoded on the CPU.
        reference: the decoder that takes everything, for example one in a sandbox; None: a `PyAVDecoder`. The others
            run in this process: on a CPU `auto` uses none of them, so that a sandboxed reference stays the only one
            that touches what a stranger sent.
        require_gpu: a Clip that the GPU cannot decode is an error and not given to the CPU.

    Raises:
        DecoderUnavailable: the decoder that was asked for by name does not work here.
        GpuUnavailable: with `require_gpu`, no decoder works on a GPU here.
        ValueError: no decoder has that name.
    """
    reference = reference or PyAVDecoder()
    if name not in ("auto", *DEVICES):
        raise ValueError(f"there is no decoder {name!r}; there are auto, {', '.join(DEVICES)}")
    on_gpu = device.startswith("cuda")
    if require_gpu and not on_gpu:
        raise GpuUnavailable(f"decoding on the GPU was demanded, on the device {device!r}")
    device = device if on_gpu else "cpu"
    found = [support(one, device) for one in _ORDER if _is_meant(one, name, on_gpu)]
    if name != "auto" and (wanting := [one for one in found if not one.works]):
        raise (GpuUnavailable if require_gpu else DecoderUnavailable)(_explained(wanting))
    working = [one.library for one in found if one.works]
    if on_gpu and not working:
        why = _explained(found) or f"{name} decodes on the CPU only"
        if require_gpu:
            raise GpuUnavailable(why)
        notice = Notice(code="gpu_not_used", message=f"videos are decoded on the CPU: {why}")
        return Choice(Fallback(reference), "cpu", f"FFmpeg on the CPU, because {why}", (notice,))
    others = [_MAKERS[library](device) for library in working]
    order = partial(preferred, device=device, names=tuple(working)) if name == "auto" and not require_gpu else None
    decoder = Fallback(reference, others, order=order, require_gpu=require_gpu)
    return Choice(decoder, device, _reason(name, device, working))


def preferred(clip: Clip, *, device: str, names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that are worth trying on the Clip before the reference, best first."""
    rule = next((rule for rule in TABLE if rule.fits(clip, device)), None)
    if rule is None or rule.decoder == "pyav":
        return ()
    return tuple(sorted(names, key=lambda name: name != rule.decoder))


def _is_meant(decoder: str, name: str, on_gpu: bool) -> bool:
    if name == "auto":
        return ("cuda" if on_gpu else "cpu") in _AUTO.get(decoder, ())
    return decoder == name


#: Decoder -> devices on which the table may send Clips to it, first or after another one.
_AUTO = {"torchcodec": ("cuda",), "dali": ("cuda",)}

_MAKERS = {"torchcodec": TorchCodecDecoder, "dali": DaliDecoder, "decord": lambda device: DecordDecoder()}


def _explained(found: Sequence[Support]) -> str:
    problems: dict[str, list[str]] = {}
    for one in found:
        if not one.works:
            problems.setdefault(f"{one.why_not} ({one.fix})", []).append(f"{one.library} on {one.device}")
    return "; ".join(f"{' and '.join(libraries)}: {problem}" for problem, libraries in problems.items())


def _reason(name: str, device: str, working: Sequence[str]) -> str:
    if name == "pyav" or not working:
        return next(rule.why for rule in TABLE if rule.device == "cpu")
    if name == "auto":
        return f"{' and '.join(working)} on {device} where Clips are large, FFmpeg on the CPU for the rest"
    return f"{name} on {device} was asked for; FFmpeg on the CPU takes what it refuses or fails at"
