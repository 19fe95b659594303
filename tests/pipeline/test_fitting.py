"""What browsers would stop at is refused with its reason, and what they are told of the rest is whole."""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.container import InputContainer

from pipeline.audio import measure
from pipeline.errors import UnsupportedCodec
from pipeline.limits import INPUT_LIMITS
from pipeline.opened import open_file
from pipeline.remux import boxes
from pipeline.remux.reading import Repacked, repacked
from pipeline.remux.samples import Wanted, read_samples
from pipeline.remux.tables import segments
from pipeline.rendition.sound import samples
from pipeline.sandbox.repacking import _run, _wanted
from tests.serving.playback.mixes import Mix, Tone, written

OPEN = {"x264-params": "open-gop=1:keyint=30:bframes=3:b-adapt=0:scenecut=0"}
CLOSED = {"x264-params": "keyint=30:bframes=3:b-adapt=0:scenecut=0"}

#: Boxes on the way to sample entries, and how many bytes come before those within.
_WITHIN = {
    b"moov": 0,
    b"trak": 0,
    b"mdia": 0,
    b"minf": 0,
    b"stbl": 0,
    b"stsd": 8,
    b"avc1": 78,
    b"vp09": 78,
    b"fLaC": 28,
}


def _inside(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of all boxes, those within others too."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + size]
        yield kind, content
        if kind in _WITHIN:
            yield from _inside(content[_WITHIN[kind] :])
        at += size


def _of(path: Path) -> Repacked:
    with open_file(path) as file:
        return repacked(file, INPUT_LIMITS)


def _boxes(path: Path) -> dict[bytes, bytes]:
    return dict(_inside(_of(path).header))


def test_vp9_says_what_it_is(tmp_path):
    for name, sound in (("x.webm", Tone("libopus", seconds=1.0)), ("x.mp4", Tone(seconds=1.0))):
        mix = Mix("libvpx-vp9", (sound,), [n / 25 for n in range(25)])
        content = _boxes(written(tmp_path / name, mix))[b"vpcC"]
        # Version 1; profile, level; 8 bits, 4:2:0 (VP codec ISO media file format binding, 2.2).
        assert (content[0], content[4]) == (1, 0)
        assert content[6] >> 4 == 8
        assert content[6] >> 1 & 7 in (0, 1)


@pytest.mark.parametrize("name", ["x.mkv", "x.mp4"])
def test_flac_says_how_many_bits_its_samples_have(name, tmp_path):
    found = _boxes(written(tmp_path / name, Mix(sound=(Tone("flac", seconds=1.0),), times_s=[0.0, 0.5, 0.96])))
    (bits,) = struct.unpack_from(">H", found[b"fLaC"], 18)
    info = found[b"dfLa"][8:]
    assert bits == (int.from_bytes(info[10:18], "big") >> 36 & 31) + 1 == 16


def test_a_header_without_entries_stays_as_it_is():
    stsd = b"\0\0\0\x10stsd" + bytes(8)
    for content in (b"", stsd, b"\0\0\0\x24moov" + stsd + b"\0\0\0\x0cfLaC" + bytes(4)):
        assert boxes.with_bits(content) == content


def test_wide_pixels_stay_wide(tmp_path):
    mix = Mix(times_s=[0.0, 0.5], sound=(), aspect=Fraction(2))
    for name in ("x.mp4", "x.mkv"):
        assert struct.unpack(">II", _boxes(written(tmp_path / name, mix))[b"pasp"]) == (2, 1)


@pytest.mark.parametrize(
    ("mix", "reason"),
    [
        (Mix(sound=(Tone("libmp3lame"),)), "codec of its sound is mp3"),
        (Mix(options=OPEN), "begin with no IDR picture"),
        (Mix(sound=(Tone(start_s=0.8, seconds=5.2),)), "gaps: it begins 0.8 s after"),
        (Mix(sound=(Tone(seconds=4.0),)), "gaps: it ends 2.0 s before"),
        (Mix(sound=(Tone(hole=(2.0, 2.5)),)), "gaps, of up to 0.5 s"),
        (Mix(times_s=[0.0]), "one picture with sound"),
    ],
)
@pytest.mark.parametrize("name", ["x.mp4", "x.mkv"])
def test_what_browsers_would_stop_at_is_refused(mix, reason, name, tmp_path):
    with pytest.raises(UnsupportedCodec, match=reason):
        _of(written(tmp_path / name, mix))


def test_small_gaps_and_closed_groups_are_played(tmp_path):
    sound = Tone(start_s=0.4, seconds=4.8, hole=(2.0, 2.05))
    for name in ("x.mp4", "x.mkv"):
        seen = _of(written(tmp_path / name, Mix(options=CLOSED, sound=(sound,))))
        assert np.flatnonzero(seen.video.sync).tolist() == list(range(0, 150, 30))
        # Chromium goes nowhere behind the end of the sound.
        assert seen.sound is not None
        assert seen.sound.end == 6 * seen.sound.timescale


def test_open_groups_do_not_matter_where_there_are_others_often_enough(tmp_path):
    seen = _of(written(tmp_path / "x.mp4", Mix(options=OPEN | {"forced-idr": "1"}, forced_s=(4.0,))))
    assert [part.start_s for part in segments(seen.video, seen.sound)] == [0.0, 4.0]
    # Nor is it said that decoding can start with an open one.
    assert np.flatnonzero(seen.video.sync).tolist() == [0, 100]


def _edited(path: Path, *tracks: list[tuple[float, float]]) -> None:
    """Have an MP4 whose index comes last show (from, seconds) only, one after the other; of pictures, and of
    sound where that is another."""
    whole = path.read_bytes()
    clocks = boxes.clocks(whole)
    out, track = [], 0
    for kind, box, content in boxes._boxes(whole):
        if kind != b"moov":
            out.append(box)
            continue
        made = []
        for inner, trak, within in boxes._boxes(content):
            if inner != b"trak":
                made.append(trak)
                continue
            kept = {what: part for what, part, _ in boxes._boxes(within)}
            (began,) = struct.unpack_from(">i", kept[b"edts"], 8 + 8 + 8 + 4)
            rows = [
                struct.pack(">Iihh", round(s * 1000), began + round(t * clocks[track]), 1, 0)
                for t, s in tracks[min(track, len(tracks) - 1)]
            ]
            kept[b"edts"] = boxes._box(
                b"edts", boxes._full(b"elst", 0, 0, struct.pack(">I", len(rows)) + b"".join(rows))
            )
            made.append(boxes._box(b"trak", *kept.values()))
            track += 1
        out.append(boxes._box(b"moov", *made))
    path.write_bytes(b"".join(out))


def test_what_is_cut_out_of_the_middle_is_refused_but_not_what_is_cut_off(tmp_path):
    path = written(tmp_path / "x.mp4", Mix(options=CLOSED))
    _edited(path, [(0.0, 2.0), (3.8, 2.0)])
    with pytest.raises(UnsupportedCodec, match="an edit list cuts pictures out of its middle"):
        _of(path)
    # What is decoded before the last picture, and would be shown after it, does no harm.
    written(path, Mix(options=CLOSED))
    _edited(path, [(0.0, 3.68)])
    assert _of(path).video.end == pytest.approx(3.7 * 90_000, rel=0.02)
    written(path, Mix(options=CLOSED))
    _edited(path, [(1.5, 3.5)])
    seen = _of(path)
    assert seen.sound is not None
    assert seen.video.end / seen.video.timescale == pytest.approx(3.5, abs=0.05)
    assert len(seen.sound) == pytest.approx(3.5 * 48_000 / 1024, abs=3)


def test_what_is_cut_out_of_the_sound_alone_is_left_out(tmp_path):
    path = written(tmp_path / "x.mp4", Mix(sound=(Tone("flac"),)))
    _edited(path, [(0.0, 4.0)], [(0.0, 1.92), (3.84, 1.92)])
    seen = _of(path)
    assert seen.sound is not None
    with av.open(str(path)) as container:
        kept = [packet for packet in container.demux(audio=0) if packet.size and not packet.is_discard]
        expected = [(packet.pts, bytes(packet)) for packet in kept if (packet.pts or 0) >= 0]
    wanted = Wanted(seen.video.stamp, seen.video.size, seen.sound.stamp, seen.sound.size)
    with open_file(path) as file:
        got = read_samples(file, wanted, INPUT_LIMITS)
    assert [*zip(seen.sound.stamp.tolist(), got[len(seen.video) :], strict=True)] == expected


def _hz(file: Any, track: int) -> float:
    with cast(InputContainer, av.open(file, "r")) as container:
        sound: Any = container.decode(audio=track)
        samples = np.concatenate([frame.to_ndarray()[0] for frame in sound])[4800:-4800]
    return int((np.diff(np.sign(samples)) > 0).sum()) * 48_000 / len(samples)


def test_the_sound_is_the_one_that_players_begin_with(tmp_path):
    """Whoever wants it: HLS, the rendition, and what analyses it."""
    loud = Tone(hz=900.0, seconds=2.0)
    first = Tone("ac3", hz=300.0, seconds=1.0, default=False)
    path = written(tmp_path / "x.mkv", Mix(sound=(first, loud), times_s=[n / 25 for n in range(50)]))
    seen = _of(path)
    assert seen.codecs.endswith("mp4a.40.2")
    (part,) = segments(seen.video, seen.sound)
    assert seen.sound is not None
    with open_file(path) as file:
        got = read_samples(file, _wanted(seen, part), INPUT_LIMITS)
        pcm = np.frombuffer(b"".join(samples(file, start_s=0.0, duration_s=2.0, limits=INPUT_LIMITS)), "<i2")
    runs = [
        _run(1, seen.video, slice(0, part.stop), got[: part.stop]),
        _run(2, seen.sound, slice(0, part.sound_stop), got[part.stop :]),
    ]
    assert _hz(io.BytesIO(seen.header + boxes.fragment(1, runs)), 0) == pytest.approx(900, rel=0.02)
    left = pcm[::2][4800:-4800].astype(int)
    assert int((np.diff(np.sign(left)) > 0).sum()) * 48_000 / len(left) == pytest.approx(900, rel=0.02)
    loudness, _ = measure(path, start_s=0.0, duration_s=2.0)
    # The other track is over by then.
    assert loudness is not None
    assert loudness.rms[15] > 0.1
