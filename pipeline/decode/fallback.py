"""Several decoders as one: the fastest that takes a Clip tries first, and what it fails at the next one takes over."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from pipeline.clips import Clip
from pipeline.decode.base import Decoded, Decoder, SelectiveDecoder
from pipeline.errors import DecodeFailed, GpuUnavailable
from pipeline.frames import PassedOn
from pipeline.report import Notice

Order = Callable[[Clip], Sequence[str]]
"""Clip -> names of decoders that are worth trying on it, best first."""


class Fallback:
    """A `Decoder` made of others. One that raises, or hands out fewer frames than are wanted or anything else than
    those, is caught, and the next one takes over; what comes out says so (`Decoded.passed_on`)."""

    def __init__(
        self,
        reference: Decoder,
        others: Sequence[SelectiveDecoder] = (),
        *,
        order: Order | None = None,
        require_gpu: bool = False,
    ) -> None:
        """
        Args:
            reference: takes every Clip and comes last; what it raises is raised.
            others: come before it, in this order.
            order: which of them are worth trying on a Clip; None: all.
            require_gpu: raise GpuUnavailable rather than give a Clip to a decoder on the CPU.
        """
        self.reference = reference
        self.others = {decoder.name: decoder for decoder in others}
        self.name = "+".join([*self.others, reference.name])
        self._order = order or (lambda clip: tuple(self.others))
        self._require_gpu = require_gpu

    def decode(self, clip: Clip) -> Decoded:
        """See `Decoder.decode`.

        Raises:
            GpuUnavailable: a GPU is demanded and takes not this Clip.
            VideoError: as the reference.
        """
        passed_on: list[PassedOn] = []
        for name in self._order(clip):
            decoder = self.others.get(name)
            if decoder is None or (self._require_gpu and not decoder.device.startswith("cuda")):
                continue
            found = _tried(decoder, name, clip)
            if isinstance(found, Decoded):
                return dataclasses.replace(found, decoder=name, passed_on=tuple(passed_on))
            passed_on.append(found)
        # Thumbnails, and second looks for shots, need no full pictures: they are nobody's idea of decoding on a GPU.
        if self._require_gpu and clip.wanted and clip.size is None:
            why = "; ".join(f"{one.decoder}: {one.reason}" for one in passed_on)
            raise GpuUnavailable(f"decoding on the GPU was demanded, but {why or 'no decoder there works'}")
        decoded = self.reference.decode(clip)
        return dataclasses.replace(decoded, decoder=self.reference.name, passed_on=tuple(passed_on))


def _tried(decoder: SelectiveDecoder, name: str, clip: Clip) -> Decoded | PassedOn:
    """What it makes of the Clip, or why it is the next one's turn."""
    if (reason := decoder.refuses(clip)) is not None:
        return PassedOn(name, reason, tried=False)
    try:
        decoded = decoder.decode(clip)
    except DecodeFailed as error:
        return PassedOn(name, str(error), tried=True)
    except Exception as error:  # noqa: BLE001 - a third party's library failed; told, and done again
        return PassedOn(name, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}", tried=True)
    wrong = complaint(clip, decoded)
    return decoded if wrong is None else PassedOn(name, wrong, tried=True)


def complaint(clip: Clip, decoded: Decoded) -> str | None:
    """What is wrong with a decoder's answer to a Clip that is a whole chain; None where nothing is."""
    missing = len(set(clip.wanted) - set(decoded.rows))
    if missing:
        return f"{missing} of {len(clip.wanted)} frames did not come out"
    if len(decoded.rows) != len(clip.wanted):
        return "frames came out that nobody asked for"
    time_of = dict(zip(clip.rows, clip.times_s, strict=True))
    times_s = np.array([time_of[row] for row in decoded.rows])
    if not np.array_equal(times_s, decoded.frames.pts_s) or np.any(np.diff(times_s) < 0):
        return "frames came out at other times than theirs"
    if clip.glimpse and decoded.strip is None:
        return "no thumbnails came out"
    return None


def notices(passed_on: Iterable[PassedOn], device: str) -> tuple[Notice, ...]:
    """What a caller should be told of decoders that others did the work of: that the GPU that was asked for (`device`)
    was not used for everything, and that a decoder failed at something. One entry for each Clip."""
    reasons = Counter(passed_on)
    failed = Counter({one: count for one, count in reasons.items() if one.tried})
    if device.startswith("cuda") and reasons:
        told = f"the GPU did not decode everything: {_listed(reasons)}"
        return (Notice(code="gpu_not_used", message=told),)
    if failed:
        return (Notice(code="decoder_failed", message=f"another decoder took over: {_listed(failed)}"),)
    return ()


def _listed(reasons: "Counter[PassedOn]", most: int = 3) -> str:
    """The commonest of them in words."""
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0].decoder, item[0].reason))
    texts = [f"{one.decoder}, {count} times: {one.reason}" for one, count in ranked[:most]]
    left = len(ranked) - most
    return "; ".join(texts) + (f"; and {left} more reasons" if left > 0 else "")
