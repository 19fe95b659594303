"""Sound: loud where it is loud, aligned with the picture, and never a reason for a job to fail."""

import numpy as np
import pytest

from pipeline import audio
from pipeline.audio import BIN_S, HOP, RATE_HZ
from pipeline.synthesis import AUDIO_RATE_HZ, write_video


def tone(seconds, loud_from, loud_to, loud=0.5, soft=0.005):
    """float32 [S]: a 440 Hz tone of amplitude `soft`, `loud` in between."""
    time_s = np.arange(round(seconds * AUDIO_RATE_HZ)) / AUDIO_RATE_HZ
    gain = np.where((time_s >= loud_from) & (time_s < loud_to), loud, soft)
    return (gain * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)


def write(path, seconds, sound):
    frames = (np.full((64, 64, 3), 10 * n % 255, np.uint8) for n in range(round(seconds * 5)))
    return write_video(path, frames, fps=5, audio=sound)


@pytest.fixture(scope="module")
def loud_middle(tmp_path_factory):
    """12 s, loud from 5 to 8 s."""
    return write(tmp_path_factory.mktemp("audio") / "loud.mp4", 12, tone(12, 5, 8))


def test_level_and_time_of_a_loud_stretch(loud_middle):
    sound, notice = audio.measure(loud_middle, start_s=0.0, duration_s=12.0)
    assert notice is None
    assert sound.bin_s == BIN_S
    assert sound.rms.shape == sound.onset.shape == (120,)
    loud = np.flatnonzero(sound.rms > 0.1)
    assert abs(loud[0] * BIN_S - 5.0) <= BIN_S + 1e-9
    assert abs((loud[-1] + 1) * BIN_S - 8.0) <= BIN_S + 1e-9
    assert np.median(sound.rms[loud]) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_the_onset_is_where_it_gets_loud(loud_middle):
    sound, _ = audio.measure(loud_middle, start_s=0.0, duration_s=12.0)
    assert abs(int(np.argmax(sound.onset[2:])) + 2 - 50) <= 1
    assert sound.onset.min() >= 0


def test_times_are_those_of_the_video(loud_middle):
    sound, _ = audio.measure(loud_middle, start_s=2.0, duration_s=10.0)
    assert abs(np.flatnonzero(sound.rms > 0.1)[0] * BIN_S - 3.0) <= BIN_S + 1e-9
    assert len(sound.rms) == 100


def test_sound_that_starts_late_is_preceded_by_silence(loud_middle):
    sound, _ = audio.measure(loud_middle, start_s=-3.0, duration_s=20.0)
    assert abs(np.flatnonzero(sound.rms > 0.1)[0] * BIN_S - 8.0) <= BIN_S + 1e-9
    assert sound.rms[:29].max() == 0


def test_the_webm_way(tmp_path):
    path = tmp_path / "loud.mkv"
    write(path, 6, tone(6, 2, 4))
    sound, notice = audio.measure(path, start_s=0.0, duration_s=6.0)
    assert notice is None
    assert abs(np.flatnonzero(sound.rms > 0.1)[0] * BIN_S - 2.0) <= BIN_S + 1e-9


def test_a_silent_file_has_no_loudness(tmp_path):
    assert audio.measure(write(tmp_path / "mute.mp4", 2, None), start_s=0.0, duration_s=2.0) == (None, None)


def test_garbage_in_the_sound_is_a_notice(loud_middle, tmp_path):
    data = bytearray(loud_middle.read_bytes())
    begin = data.index(b"mdat") + 4
    data[begin + 2000 :: 7] = bytes(len(data[begin + 2000 :: 7]))
    broken = tmp_path / "broken.mp4"
    # The index of this file lies behind the media data: keep it whole.
    tail = loud_middle.read_bytes().index(b"moov") - 4
    broken.write_bytes(bytes(data[:tail]) + loud_middle.read_bytes()[tail:])
    sound, notice = audio.measure(broken, start_s=0.0, duration_s=12.0)
    assert notice is not None
    assert notice.code in ("audio_damaged", "audio_unreadable")
    assert (sound is None) == (notice.code == "audio_unreadable")


def test_a_file_that_is_no_video_is_a_notice(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    sound, notice = audio.measure(path, start_s=0.0, duration_s=1.0)
    assert sound is None
    assert notice.code == "audio_unreadable"


def fed(samples, size, positions=None):
    meter = audio._Meter(200)
    for number, start in enumerate(range(0, len(samples), size)):
        meter.add(samples[start : start + size], positions[number] if positions else None)
    return meter.finish()


def test_how_the_stream_is_cut_does_not_matter():
    samples = np.random.default_rng(0).normal(0, 0.1, 18 * RATE_HZ).astype(np.float32)
    whole, parts = fed(samples, len(samples)), fed(samples, 1023)
    np.testing.assert_allclose(whole.rms, parts.rms, rtol=1e-5)
    np.testing.assert_allclose(whole.onset, parts.onset, atol=1e-5)


def test_a_gap_in_the_sound_moves_what_follows():
    samples = np.full(2 * RATE_HZ, 0.5, np.float32)
    sound = fed(samples, RATE_HZ, positions=[0, 5 * RATE_HZ])
    loud = np.flatnonzero(sound.rms > 0.1)
    np.testing.assert_array_equal(loud, [*range(10), *range(50, 60)])


def test_a_clock_that_jumps_back_is_not_followed():
    samples = np.full(2 * RATE_HZ, 0.5, np.float32)
    sound = fed(samples, RATE_HZ, positions=[0, -50 * RATE_HZ])
    np.testing.assert_allclose(sound.rms[:20], 0.5, rtol=1e-5)


def test_a_steady_sound_has_no_onsets():
    hops = np.tile(np.sin(2 * np.pi * np.arange(HOP) / 40).astype(np.float32), (10, 1))
    flux, last = audio.spectral_flux(hops, None)
    assert flux.max() < 1e-5
    louder, _ = audio.spectral_flux(4 * hops[:1], last)
    assert louder[0] > 0.01
