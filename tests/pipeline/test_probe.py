"""What a file is said to be: orientation, aspect, rates and sound, from its bytes."""

from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.cutting import cut
from pipeline.decode.pyav import PyAVDecoder
from pipeline.errors import CorruptVideo
from pipeline.media import LocalMedia
from pipeline.packets import read_index
from pipeline.plans import plan
from pipeline.synthesis import AUDIO_RATE_HZ, Encoding, write_video
from tests.pipeline.conftest import busy_frames, uneven_times


def corner(count: int = 10) -> list[np.ndarray]:
    """A wide gray picture whose top left quarter is red: any turn shows."""
    picture = np.full((96, 160, 3), 128, np.uint8)
    picture[:48, :80] = (230, 20, 20)
    return [picture] * count


def rotated(source, target, degrees):
    """Copy `source` with a display matrix that turns it clockwise by `degrees`."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        # The matrix turns counter-clockwise for positive angles, as ffprobe prints it.
        stream.set_display_rotation(-degrees)
        for packet in reader.demux(video=0):
            if packet.size:
                packet.stream = stream
                writer.mux(packet)
    return target


@pytest.mark.parametrize(
    ("degrees", "size", "red"),
    [(0, (160, 96), "tl"), (90, (96, 160), "tr"), (180, (160, 96), "br"), (270, (96, 160), "bl")],
)
def test_rotation_is_read_and_frames_come_out_upright(tmp_path, degrees, size, red):
    plain = write_video(tmp_path / "plain.mp4", corner(), fps=25)
    path = rotated(plain, tmp_path / "turned.mp4", degrees) if degrees else plain
    seen = LocalMedia(path).inspect()
    index, info = seen.index, seen.info
    assert info.rotation_deg == degrees
    assert (info.width, info.height) == size
    (clip,) = cut(path, index, plan(index, index.display_order[:1]))
    (pixels,) = PyAVDecoder().decode(clip).frames.pixels
    assert pixels.shape == (size[1], size[0], 3)
    h, w = pixels.shape[0] // 2, pixels.shape[1] // 2
    quarters = {"tl": pixels[:h, :w], "tr": pixels[:h, w:], "bl": pixels[h:, :w], "br": pixels[h:, w:]}
    redness = {name: float(q[..., 0].mean() - q[..., 1].mean()) for name, q in quarters.items()}
    assert max(redness, key=redness.__getitem__) == red


def test_the_usual_facts(tmp_path):
    sound = np.zeros(AUDIO_RATE_HZ * 2, np.float32)
    path = write_video(tmp_path / "v.mp4", busy_frames(60), fps=30, encoding=Encoding(gop=20, b_frames=2), audio=sound)
    info = LocalMedia(path).inspect().info
    assert (info.codec, info.width, info.height, info.frames) == ("h264", 160, 96, 60)
    assert info.duration_s == pytest.approx(2.0, abs=1e-6)
    assert info.average_fps == pytest.approx(30.0)
    assert not info.variable_rate
    assert info.bit_depth == 8
    assert info.audio is not None
    assert (info.audio.codec, info.audio.sample_rate_hz, info.audio.channels) == ("aac", AUDIO_RATE_HZ, 1)
    assert LocalMedia(path).inspect().cut_off is None


def test_a_variable_rate_is_noticed(tmp_path):
    path = write_video(tmp_path / "v.mkv", busy_frames(60), fps=30, times_s=uneven_times(60))
    info = LocalMedia(path).inspect().info
    assert info.variable_rate
    assert info.average_fps < 25


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "ts", "avi"])
def test_a_whole_file_lacks_nothing(tmp_path, suffix):
    encoding = {
        "webm": Encoding("libvpx", options={"deadline": "realtime", "cpu-used": "8"}, bit_rate_bps=400_000),
        "avi": Encoding("mpeg4", bit_rate_bps=400_000),
    }.get(suffix, Encoding())
    path = write_video(tmp_path / f"v.{suffix}", busy_frames(60), fps=30, encoding=encoding)
    assert LocalMedia(path).inspect().cut_off is None


def test_pixel_aspect_widens_the_shown_size(tmp_path):
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        for pixels in corner(3):
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    info = LocalMedia(path).inspect().info
    assert info.pixel_aspect == pytest.approx(2.0)
    assert (info.width, info.height, info.coded_width) == (320, 96, 160)


def test_an_avi_that_repeats_pictures_lacks_nothing(tmp_path):
    times = [n / 25 for n in range(25)] + [3 + n / 25 for n in range(25)]
    encoding = Encoding("mpeg4", b_frames=0, bit_rate_bps=400_000, clock=Fraction(1, 25))
    path = write_video(tmp_path / "gap.avi", busy_frames(50), fps=25, encoding=encoding, times_s=times)
    seen = LocalMedia(path).inspect()
    assert len(seen.index) == 50
    assert seen.cut_off is None


def test_mad_time_stamps_are_refused(tmp_path):
    times = [0.0, 0.04, 0.08, 3e9]
    path = write_video(tmp_path / "mad.mkv", busy_frames(4), fps=25, times_s=times, encoding=Encoding(b_frames=0))
    with pytest.raises(CorruptVideo, match="days"):
        read_index(path)


@pytest.mark.parametrize("b_frames", [0, 3])
@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_sound_that_outlasts_the_picture_is_no_cut_off_picture(tmp_path, suffix, b_frames):
    sound = np.zeros(AUDIO_RATE_HZ * 8, np.float32)
    encoding = Encoding(b_frames=b_frames)
    path = write_video(tmp_path / f"v.{suffix}", busy_frames(75), fps=25, encoding=encoding, audio=sound)
    seen = LocalMedia(path).inspect()
    assert seen.cut_off is None
    assert seen.info.duration_s == pytest.approx(3.0, abs=0.002)


@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9"])
def test_matroska_that_does_not_say_its_rate_is_measured(tmp_path, codec):
    options = {"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx-vp9" else {}
    path = write_video(tmp_path / "v.mkv", busy_frames(75), fps=25, encoding=Encoding(codec, options=options))
    data = path.read_bytes()
    told = data.index(b"\x23\xe3\x83\x84")  # DefaultDuration of four bytes
    path.write_bytes(data[:told] + b"\xec\x86" + data[told + 2 :])
    info = LocalMedia(path).inspect().info
    assert info.nominal_fps is None
    assert info.duration_s == pytest.approx(3.0, abs=0.002)
    assert info.average_fps == pytest.approx(25.0, rel=0.001)
    assert not info.variable_rate
