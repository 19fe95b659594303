"""Which samples a video has for a player, when each is shown, and where it is cut. Arrays and arithmetic only."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from pipeline.packets import PacketIndex

#: Seconds that a segment has at least, where decoding can start often enough.
SEGMENT_S: Final = 4.0

#: Bytes of a segment's pictures and sound at most: as much is in memory for each that is made.
MAX_SEGMENT_BYTES: Final = 64 << 20

#: The clock of pictures has so many ticks a second at least.
_LEAST_TIMESCALE: Final = 90_000

#: Ticks that a sample is shown before or after it is decoded at most: they have 32 bits.
_MOST_OFFSET: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Samples:
    """One track, a row for each sample, in the order of decoding."""

    timescale: int
    """Ticks of its clock in a second."""
    stamp: np.ndarray
    """int64 [N], by which the container's packet is known: its time there, in the container's own clock."""
    size: np.ndarray
    """int32 [N], bytes."""
    decoded: np.ndarray
    """int64 [N], when it is decoded, in ticks from the beginning of the video; ascending, 0 at the least."""
    offset: np.ndarray
    """int64 [N], ticks from then until it is shown, and `delay`."""
    sync: np.ndarray
    """bool [N], decoding can start with it."""
    end: int
    """When the last one is over by when it was decoded, in ticks."""
    delay: int = 0
    """Ticks by which all are shown later than they are meant to be, as the track's edit list then says: pictures that
    others overtake would otherwise be shown before they are decoded."""

    def __post_init__(self) -> None:
        if len({len(a) for a in (self.stamp, self.size, self.decoded, self.offset, self.sync)}) != 1:
            raise ValueError("columns of samples must have one length")

    def __len__(self) -> int:
        return len(self.stamp)

    @property
    def nbytes(self) -> int:
        """Memory of the columns."""
        return sum(a.nbytes for a in (self.stamp, self.size, self.decoded, self.offset, self.sync))

    def durations(self, rows: slice) -> np.ndarray:
        """int64, ticks from each of these to the next one, or to the end."""
        return np.diff(self.decoded[rows.start : rows.stop + 1], append=self.end if rows.stop >= len(self) else ())


def rows_of(index: PacketIndex) -> slice:
    """Which packets a player gets: from where decoding has to start up to the last one that is shown."""
    entries = np.flatnonzero(index.entry)
    before = entries[index.pts[entries] <= index.origin]
    return slice(int(before[-1] if len(before) else entries[0]), int(np.flatnonzero(index.shown)[-1]) + 1)


def pictures(index: PacketIndex) -> Samples | None:
    """The pictures of a video, from its packets; None where they cannot be told like this.

    The n-th picture to be decoded is decoded when the n-th one is shown: evenly, whatever the container says about it;
    and all are shown so much later that none of them is late. What an edit list cuts off at the beginning is there to
    decode the rest: each of these is shown for a tick.
    """
    rows = rows_of(index)
    per_unit, timescale = _clock(index.time_base)
    times = (index.pts[rows] - index.origin) * per_unit
    early = ~index.shown[rows] & (times < 0)
    times[early] = np.argsort(np.argsort(times[early], kind="stable"), kind="stable")
    times[~early] = np.maximum(times[~early], int(early.sum()))
    decoded = _ascending(np.sort(times))
    delay = int((decoded - times).max())
    offset = times - decoded + delay
    if timescale >= 1 << 32 or offset.max() >= _MOST_OFFSET:
        return None
    end = max(int((index.end - index.origin) * per_unit), int(decoded[-1]) + 1)
    return Samples(timescale, index.pts[rows], index.size[rows], decoded, offset, index.entry[rows].copy(), end, delay)


def sounds(
    index: PacketIndex, stamp: np.ndarray, size: np.ndarray, duration: np.ndarray, base: Fraction, rate_hz: int
) -> tuple[Samples, np.ndarray] | None:
    """The sound beside the pictures, from about their beginning to their end, and how many ticks each of its samples
    lasts, int64 [N]; None where there is none then.

    Args:
        stamp, duration: int64 [N], times of its packets and their lengths, in units of `base`, a fraction of a second.
        size: int32 [N], bytes of its packets.
        rate_hz: its clock.
    """
    began_s, length_s = index.origin * index.time_base, (index.end - index.origin) * index.time_base
    ticks = _scaled(stamp, base * rate_hz) - round(began_s * rate_hz)
    lengths = np.maximum(_scaled(duration, base * rate_hz), 0)
    kept = (ticks > -np.maximum(lengths // 2, 1)) & (ticks < round(length_s * rate_hz))
    if not kept.any():
        return None
    decoded = _ascending(np.maximum(ticks[kept], 0))
    lengths = lengths[kept]
    if len(lengths) > 1:
        # Some containers do not say, and MP4 says that the one before a gap lasts as long as that.
        usual = max(1, int(np.median(np.diff(decoded))))
        lengths = np.where(lengths > 0, np.minimum(lengths, 2 * usual), usual)
    # Chromium's HLS goes nowhere behind the end of the sound: its last sample is said to last as long as pictures do.
    end = max(int(decoded[-1]) + max(1, int(lengths[-1])), round(length_s * rate_hz))
    nothing = np.zeros(len(decoded), np.int64)
    return Samples(rate_hz, stamp[kept], size[kept], decoded, nothing, np.ones(len(decoded), bool), end), lengths


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the video that can be played without those before it."""

    start: int
    stop: int
    """Rows of pictures from `start` up to, not including, `stop`; so of sound:"""
    sound_start: int
    sound_stop: int
    start_s: float
    duration_s: float
    size_bytes: int
    """Of its samples, pictures and sound."""


def segments(video: Samples, sound: Samples | None) -> tuple[Segment, ...]:
    """Where it is cut: at the first sample at least `SEGMENT_S` after the one before at which decoding can start."""
    shown = video.decoded + video.offset - video.delay
    firsts, least = [0], shown[0] + SEGMENT_S * video.timescale
    for row in np.flatnonzero(video.sync).tolist():
        if row and shown[row] >= least:
            firsts.append(row)
            least = shown[row] + SEGMENT_S * video.timescale
    starts = [0, *(int(shown[row]) for row in firsts[1:])]
    stops = [*firsts[1:], len(video)]
    edges = [*starts, video.end]
    places = [0] * len(edges)
    if sound is not None:
        at = np.array(edges) * sound.timescale / video.timescale
        places = [0, *np.searchsorted(sound.decoded, at[1:-1]).tolist(), len(sound)]
    return tuple(
        Segment(
            start=firsts[n],
            stop=stops[n],
            sound_start=places[n],
            sound_stop=places[n + 1],
            start_s=edges[n] / video.timescale,
            duration_s=(edges[n + 1] - edges[n]) / video.timescale,
            size_bytes=_bytes(video, firsts[n], stops[n]) + _bytes(sound, places[n], places[n + 1]),
        )
        for n in range(len(firsts))
    )


def _bytes(samples: Samples | None, start: int, stop: int) -> int:
    return 0 if samples is None else int(samples.size[start:stop].sum(dtype=np.int64))


def _clock(base: Fraction) -> tuple[int, int]:
    """(ticks in a unit of `base` seconds, ticks in a second)."""
    finer = -(-_LEAST_TIMESCALE // base.denominator)
    return base.numerator * finer, base.denominator * finer


def _scaled(values: np.ndarray, by: Fraction) -> np.ndarray:
    """int64, rounded; exact, where floating point would not be."""
    whole, rest = np.divmod(values, by.denominator)
    return whole * by.numerator + np.rint(rest * (by.numerator / by.denominator)).astype(np.int64)


def _ascending(times: np.ndarray) -> np.ndarray:
    """The same times, each at least a tick after the one before."""
    steps = np.arange(len(times))
    return np.maximum.accumulate(times - steps) + steps
