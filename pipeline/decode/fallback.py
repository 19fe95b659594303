"""Several decoders as one: the fastest that takes a Clip tries first, and what it fails at the next one takes over."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.clips import Clip
from pipeline.decode.base import Decoded, Decoder, SelectiveDecoder
from pipeline.errors import DecodeFailed, GpuUnavailable
from pipeline.report import Notice

Order = Callable[[Clip], Sequence[str]]
"""Clip -> names of decoders that are worth trying on it, best first."""


class Tally:
    """What became of the Clips that decoders were offered. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decoded: Counter[str] = Counter()
        self._refused: Counter[tuple[str, str]] = Counter()
        self._failed: Counter[tuple[str, str]] = Counter()

    def decoded(self, decoder: str) -> None:
        """A Clip came out of `decoder`."""
        with self._lock:
            self._decoded[decoder] += 1

    def refused(self, decoder: str, reason: str) -> None:
        """`decoder` did not take a Clip."""
        with self._lock:
            self._refused[decoder, reason] += 1

    def failed(self, decoder: str, reason: str) -> None:
        """`decoder` took a Clip and could not do it."""
        with self._lock:
            self._failed[decoder, reason] += 1

    def read(self) -> "Counts":
        """A copy of the counts so far."""
        with self._lock:
            return Counts(self._decoded, self._refused, self._failed)


class Counts:
    """How often what happened; the difference of two is what happened in between."""

    def __init__(
        self,
        decoded: Mapping[str, int] | None = None,
        refused: Mapping[tuple[str, str], int] | None = None,
        failed: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        self.decoded = Counter(decoded)
        """Decoder -> Clips that came out of it."""
        self.refused = Counter(refused)
        """(decoder, reason) -> Clips that it did not take."""
        self.failed = Counter(failed)
        """(decoder, reason) -> Clips that it took and that another one had to do again."""

    def __sub__(self, earlier: "Counts") -> "Counts":
        return Counts(self.decoded - earlier.decoded, self.refused - earlier.refused, self.failed - earlier.failed)


class Fallback:
    """A `Decoder` made of others. One that raises, or hands out fewer frames than are wanted or anything else than
    those, is caught, and the next one takes over; every such event is in `tally`."""

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
        self.tally = Tally()
        self._order = order or (lambda clip: tuple(self.others))
        self._require_gpu = require_gpu

    def decode(self, clip: Clip) -> Decoded:
        """See `Decoder.decode`.

        Raises:
            GpuUnavailable: a GPU is demanded and takes not this Clip.
            VideoError: as the reference.
        """
        why: list[str] = []
        for name in self._order(clip):
            decoder = self.others.get(name)
            if decoder is None or (self._require_gpu and not decoder.device.startswith("cuda")):
                continue
            if (reason := decoder.refuses(clip)) is not None:
                self.tally.refused(name, reason)
            else:
                try:
                    decoded = decoder.decode(clip)
                    reason = complaint(clip, decoded)
                except DecodeFailed as error:
                    reason = str(error)
                except Exception as error:  # noqa: BLE001 - a third party's library failed; counted, and done again
                    reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
                if reason is None:
                    self.tally.decoded(name)
                    return decoded
                self.tally.failed(name, reason)
            why.append(f"{name}: {reason}")
        # Thumbnails, and second looks for shots, need no full pictures: they are nobody's idea of decoding on a GPU.
        if self._require_gpu and clip.wanted and clip.size is None:
            raise GpuUnavailable(f"decoding on the GPU was demanded, but {'; '.join(why) or 'no decoder there works'}")
        decoded = self.reference.decode(clip)
        self.tally.decoded(self.reference.name)
        return decoded


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


def notices(counts: Counts, device: str) -> tuple[Notice, ...]:
    """What a caller should be told of `counts`: that the GPU that was asked for (`device`) was not used for everything,
    and that a decoder failed at something."""
    found = []
    if device.startswith("cuda") and (reasons := counts.refused + counts.failed):
        found.append(Notice(code="gpu_not_used", message=f"the GPU did not decode everything: {_listed(reasons)}"))
    elif counts.failed:
        found.append(Notice(code="decoder_failed", message=f"another decoder took over: {_listed(counts.failed)}"))
    return tuple(found)


def _listed(reasons: Mapping[tuple[str, str], int], most: int = 3) -> str:
    """The commonest of them in words."""
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    texts = [f"{decoder}, {count} times: {reason}" for (decoder, reason), count in ranked[:most]]
    left = len(ranked) - most
    return "; ".join(texts) + (f"; and {left} more reasons" if left > 0 else "")
