"""The loudness of a video's sound, read in a stream: whatever the length, a few seconds of samples are in memory.

Sound is a bonus: a track that is missing or broken costs the video its `audio` signal and nothing else.
"""

import math
from collections.abc import Iterator

import av
import numpy as np
from av.error import FFmpegError

from pipeline.container import main_sound, open_video
from pipeline.errors import Encrypted, VideoError
from pipeline.frames import Loudness
from pipeline.limits import INPUT_LIMITS, InputLimits
from pipeline.opened import Video
from pipeline.report import Notice

RATE_HZ = 16_000
"""Enough for loudness and onsets, a third of the work of 48 kHz."""

BIN_S = 0.1

HOP = 400
"""Samples of a spectrum: 25 ms, as in speech features; four make a bin."""

_BIN = round(RATE_HZ * BIN_S)
_CHUNK = 10 * RATE_HZ
_BANDS = 24
_COMPRESSION = 1000.0
"""Gain before the logarithm of the spectral flux, so that it follows loudness down to about -60 dB
(Böck & Widmer, "Maximum filter vibrato suppression for onset detection", DAFx 2013, use the same form)."""

_GIVE_UP_AFTER = 50
"""Broken packets in a row after which the rest of a track is not worth trying."""


def measure(
    video: Video, *, start_s: float, duration_s: float, limits: InputLimits = INPUT_LIMITS
) -> tuple[Loudness | None, Notice | None]:
    """Measure the main audio track of a file.

    Args:
        start_s: when the video's own time line begins, in the container's clock (`VideoInfo.start_s`).
        duration_s: how long the video lasts; sound outside [0, duration_s) of the video is left out.

    Returns:
        The loudness, bin b covering [b, b + 1) * BIN_S seconds of the video, or None without (usable) sound; and what
        the caller should know if the track was broken.
    """
    meter = _Meter(max(1, math.ceil(duration_s / BIN_S)))
    broken, stopped = 0, ""
    try:
        with open_video(video, limits) as (container, _):
            stream = main_sound(container)
            if stream is None:
                return None, None
            for samples, time_s in decoded(container, stream):
                if samples is None:
                    broken += 1
                    if broken >= _GIVE_UP_AFTER:
                        break
                    continue
                position = None if time_s is None else round((time_s - start_s) * RATE_HZ)
                if position is not None and position >= meter.end:
                    break
                meter.add(samples, position)
    except (FFmpegError, VideoError, ValueError, OSError) as error:
        stopped = str(error)
    if not meter.heard:
        reason = stopped or ("none of it could be decoded" if broken else "it is empty")
        message = f"the sound cannot be used ({reason}); analysed without it"
        return None, Notice(code="audio_unreadable", message=message)
    if stopped or broken:
        reason = stopped or f"{broken} packets of it could not be decoded"
        message = f"the sound is damaged ({reason}); used as far as it goes"
        return meter.finish(), Notice(code="audio_damaged", message=message)
    return meter.finish(), None


def decoded(
    container, stream, *, rate_hz: int = RATE_HZ, layout: str = "mono", form: str = "flt"
) -> Iterator[tuple[np.ndarray | None, float | None]]:
    """Samples with the time of the first of them in seconds; None for a broken packet.

    Args:
        rate_hz, layout, form: of samples, as FFmpeg names them; mono float32 where nothing else is said.

    Raises:
        Encrypted: it is.
    """
    resampler: av.AudioResampler | None = None
    shape = None
    for packet in container.demux(stream):
        if packet.has_sidedata("encryption_info"):
            # The decoder would take the cipher for sound.
            raise Encrypted("it is encrypted")
        try:
            frames = packet.decode()
        except FFmpegError:
            yield None, None
            continue
        for frame in frames:
            if resampler is None or (frame.format.name, frame.layout.name, frame.sample_rate) != shape:
                # A resampler refuses frames of another shape than its first; broadcasts do change it half-way.
                shape = (frame.format.name, frame.layout.name, frame.sample_rate)
                resampler = av.AudioResampler(format=form, layout=layout, rate=rate_hz)
            time_s = None if frame.pts is None else float(frame.pts * frame.time_base)
            # Times are followed here: without them the resampler neither refuses nor bends anything.
            frame.pts = None
            parts = [part.to_ndarray()[0] for part in resampler.resample(frame)]
            if parts:
                yield np.nan_to_num(np.concatenate(parts)), time_s


class _Meter:
    """Adds up samples into bins as they come."""

    def __init__(self, bins: int) -> None:
        self._energy = np.zeros(bins, np.float64)
        self._onset = np.zeros(bins, np.float32)
        self._pending: list[np.ndarray] = []
        self._held = 0
        self._start = 0
        self._spectrum: np.ndarray | None = None
        self.heard = False

    @property
    def end(self) -> int:
        """Samples from the video's zero to the end of the last bin."""
        return len(self._energy) * _BIN

    def add(self, samples: np.ndarray, position: int | None) -> None:
        """float32 [S] at `position` (samples since the video's zero), or right after the last ones if None."""
        expected = self._start + self._held
        # The resampler's delay and rounding move frames by a few milliseconds, so only a bin's length is a real gap;
        # and a clock that runs backwards would write over what was heard.
        if position is None or (self.heard and position - expected < _BIN):
            position = expected
        if position < 0:
            samples, position = samples[-position:], 0
        if not len(samples):
            return
        if position != expected:
            self._flush()
            self._start = position - position % HOP
            self._pending, self._held = [np.zeros(position % HOP, np.float32)], position % HOP
        self.heard = True
        self._pending.append(samples)
        self._held += len(samples)
        if self._held >= _CHUNK:
            self._flush(whole=True)

    def finish(self) -> Loudness:
        self._flush()
        rms = np.sqrt(self._energy / _BIN).astype(np.float32)
        return Loudness(bin_s=BIN_S, rms=rms, onset=self._onset)

    def _flush(self, *, whole: bool = False) -> None:
        """Measure what is pending; with `whole`, keep the samples that do not fill a hop for the next time."""
        if not self._held:
            return
        samples = np.concatenate(self._pending)
        rest = len(samples) % HOP if whole else 0
        samples, kept = samples[: len(samples) - rest], samples[len(samples) - rest :]
        hops = np.pad(samples, (0, -len(samples) % HOP)).reshape(-1, HOP)
        hops = hops[: max(0, (self.end - self._start) // HOP)]
        bins = (self._start + HOP * np.arange(len(hops))) // _BIN
        np.add.at(self._energy, bins, np.square(hops, dtype=np.float64).sum(1))
        flux, self._spectrum = spectral_flux(hops, self._spectrum)
        np.maximum.at(self._onset, bins, flux)
        self._start += len(samples)
        self._pending, self._held = [kept], len(kept)


_WINDOW = np.hanning(HOP).astype(np.float32)
_EDGES = np.unique(np.geomspace(2, HOP // 2, _BANDS + 1).round().astype(int))[:-1]


def spectral_flux(hops: np.ndarray, before: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """How much each spectrum rose against the one before: the half-wave rectified flux of log band energies.

    Args:
        hops: float32 [K, HOP], consecutive samples.
        before: float32 [bands], the compressed spectrum that came before the first hop; None at the very beginning,
            which is no onset, however loud.

    Returns:
        float32 [K], 0 or more, and the last compressed spectrum.
    """
    if not len(hops):
        return np.zeros(0, np.float32), before
    power = np.abs(np.fft.rfft(hops * _WINDOW, axis=1)).astype(np.float32) / HOP
    bands = np.log10(1.0 + _COMPRESSION * np.add.reduceat(power, _EDGES, axis=1))
    previous = np.concatenate([bands[:1] if before is None else before[None], bands[:-1]])
    return np.maximum(bands - previous, 0.0).mean(1).astype(np.float32), bands[-1]
