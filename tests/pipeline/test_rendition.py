"""What is encoded for browsers: sound from the first picture to the last, and a place to begin every four seconds."""

import io
from typing import Any, cast

import av
import numpy as np
import pytest
from av.container import InputContainer

from pipeline.decode.pyav import PyAVDecoder
from pipeline.limits import INPUT_LIMITS
from pipeline.media import LocalMedia
from pipeline.opened import open_file
from pipeline.remux.reading import repacked
from pipeline.remux.tables import segments
from pipeline.rendition.encoding import encode
from pipeline.rendition.sound import CHANNELS, RATE_HZ, samples
from tests.serving.playback.mixes import Mix, Tone, written


def _encoded(path) -> bytes:
    written_ = io.BytesIO()
    media = LocalMedia(path)
    made = encode(media, PyAVDecoder(), media.inspect(), None, written_.write)
    return made.head + written_.getvalue()


@pytest.mark.parametrize(
    ("tone", "silent", "heard"),
    [
        (Tone(start_s=2.0, seconds=4.0), [(0.0, 1.9)], [(2.1, 5.9)]),
        (Tone(seconds=2.5), [(2.6, 6.0)], [(0.1, 2.4)]),
        (Tone(hole=(2.0, 4.0)), [(2.2, 3.8)], [(0.1, 1.9), (4.2, 5.9)]),
    ],
)
@pytest.mark.parametrize("name", ["x.mp4", "x.mkv"])
def test_sound_is_as_long_as_the_pictures_and_where_it_was(tone, silent, heard, name, tmp_path):
    with open_file(written(tmp_path / name, Mix(sound=(tone,)))) as file:
        pcm = b"".join(samples(file, start_s=0.0, duration_s=6.0, limits=INPUT_LIMITS))
    loud = np.abs(np.frombuffer(pcm, "<i2").reshape(-1, CHANNELS).astype(int)).max(1)
    assert len(loud) == 6 * RATE_HZ
    for start, stop in silent:
        assert loud[round(start * RATE_HZ) : round(stop * RATE_HZ)].max() < 100
    for start, stop in heard:
        blocks = loud[round(start * RATE_HZ) : round(stop * RATE_HZ)]
        assert blocks[: len(blocks) // 480 * 480].reshape(-1, 480).max(1).min() > 8000


def test_decoding_can_start_every_four_seconds_however_uneven_the_rate(tmp_path):
    # Ten seconds of 25 a second, then one each three seconds, all of one colour: counted, the next group would begin
    # half a minute later.
    times = [n / 25 for n in range(250)] + [10.0 + 3 * n for n in range(15)]
    path = tmp_path / "r.mp4"
    path.write_bytes(_encoded(written(tmp_path / "x.mp4", Mix("libx265", (), times))))
    with open_file(path) as file:
        # Each is an IDR picture, or it would be refused.
        seen = repacked(file, INPUT_LIMITS)
    lengths = [part.duration_s for part in segments(seen.video, None)]
    assert max(lengths) <= 6.0
    assert sum(lengths) == pytest.approx(52.2, abs=0.2)


def test_pictures_of_two_fields_are_made_whole(tmp_path):
    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "x264-params": "tff=1"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.codec_context.thread_count = 1
        # One field is light, the next one dark: as they are, a comb.
        pixels = np.full((96, 128, 3), 200, np.uint8)
        pixels[1::2] = 60
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p", interpolation=1)
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with cast(InputContainer, av.open(io.BytesIO(_encoded(path)), "r")) as made:
        frames: Any = made.decode(video=0)
        for frame in frames:
            shown = frame.to_ndarray(format="gray")[8:-8].astype(int)
            assert np.abs(np.diff(shown, axis=0)).max() < 40
