"""Bad input: a typed refusal in one line, or a partial result that says what is missing; never a silent nothing."""

import asyncio
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.decode.pyav import PyAVDecoder
from pipeline.dispatch import gather
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.errors import (
    CorruptVideo,
    Encrypted,
    InputNotFound,
    LimitExceeded,
    NoVideoStream,
    Truncated,
    UnsupportedContainer,
    VideoError,
)
from pipeline.media import LocalMedia
from pipeline.opened import open_file
from pipeline.packets import read_index
from pipeline.plans import plan
from pipeline.sampling import choose
from pipeline.spec import Sampling
from pipeline.structure import kind_of
from pipeline.synthesis import AUDIO_RATE_HZ, Encoding, write_video
from tests.formats.unwelcome import CUT_OFF, ENCRYPTED, encrypted_sound, many_streams
from tests.pipeline.conftest import busy_frames
from tests.pipeline.sandbox import forge


def test_a_missing_file(tmp_path):
    with pytest.raises(InputNotFound, match="no such file"):
        read_index(tmp_path / "gone.mp4")


def test_a_folder(tmp_path):
    with pytest.raises(InputNotFound, match="not a regular file"):
        read_index(tmp_path)


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty.mp4", b"", "empty"),
        ("note.mp4", b"This is a text about a video.\n" * 20, "text"),
        ("noise.mkv", bytes(np.random.default_rng(0).integers(128, 256, 5000, dtype=np.uint8)), "."),
        ("list.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.mp4\n#EXT-X-ENDLIST\n", "text"),
        ("concat.mp4", b"ffconcat version 1.0\nfile other.mp4\n", "text"),
        ("scene.mp4", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "text"),
        ("picture.mp4", b"\x89PNG\r\n\x1a\n" + bytes(200), "picture"),
        (
            "header.mp4",
            b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1",
            "cut off: its ftyp box should go on to byte 32, and the file ends at byte 28",
        ),
        ("begun.mp4", b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41", "index .moov. is missing"),
        ("noise.avi", b"RIFF\x08\x00\x00\x00AVI " + bytes(400), "an AVI whose header is damaged"),
    ],
)
def test_what_is_no_video_is_refused_by_its_bytes(tmp_path, name, data, says):
    # A real video lies beside it: nothing that the bytes name may be opened.
    write_video(tmp_path / "other.mp4", busy_frames(5), fps=30)
    with pytest.raises((UnsupportedContainer, CorruptVideo, Truncated), match=says) as caught:
        read_index(_write(tmp_path / name, data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ENCRYPTED)
def test_encrypted_pictures_are_refused_and_never_taken_for_pictures(tmp_path, name):
    suffix, make = ENCRYPTED[name]
    make(path := tmp_path / f"film.{suffix}")
    with pytest.raises(Encrypted, match=r"film\.\w+: its pictures are encrypted \(.+\); decrypt it first"):
        LocalMedia(path).inspect()
    with pytest.raises(Encrypted):
        LocalMedia(path).check()


def test_encrypted_sound_costs_the_sound(tmp_path):
    encrypted_sound(path := tmp_path / "film.mp4")
    loudness, notice = LocalMedia(path).listen(start_s=0.0, duration_s=1.0)
    assert loudness is None
    assert notice is not None
    assert "encrypted" in notice.message


@pytest.mark.parametrize("name", CUT_OFF)
def test_a_file_that_ends_too_early_says_where(tmp_path, name):
    suffix, says, make = CUT_OFF[name]
    make(path := tmp_path / f"film.{suffix}")
    with pytest.raises(Truncated, match=says) as caught:
        LocalMedia(path).inspect()
    assert str(path) in str(caught.value)
    assert "again" in str(caught.value)


@pytest.mark.parametrize("seed", forge.SEEDS)
def test_whole_files_neither_end_early_nor_are_encrypted(tmp_path, seed):
    path = _write(tmp_path / "whole", forge.honest(seed))
    with open_file(path) as file:
        kind = kind_of(file)
        assert kind is not None
        assert kind.ending(file) is None
    assert len(LocalMedia(path).inspect().index) == 30


# AVI numbers its streams with two digits.
@pytest.mark.parametrize(("suffix", "most"), [("mp4", 300), ("mkv", 126), ("avi", 100), ("ts", 300), ("nut", 200)])
@pytest.mark.parametrize("count", [64, 65, None])
def test_more_streams_than_the_limit_are_refused_and_not_left_out(tmp_path, suffix, most, count):
    path = many_streams(tmp_path / f"many.{suffix}", count or most)
    if count == 64:
        assert len(LocalMedia(path).inspect().index) == 3
        return
    with pytest.raises(LimitExceeded, match="64 streams"):
        LocalMedia(path).inspect()


def test_sound_only(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=AUDIO_RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, AUDIO_RATE_HZ), np.float32), format="fltp", layout="mono")
        frame.sample_rate = AUDIO_RATE_HZ
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    with pytest.raises(NoVideoStream, match="sound only"):
        read_index(path)


def test_a_wrong_extension_does_not_matter(tmp_path):
    path = write_video(tmp_path / "real.mp4", busy_frames(30), fps=30)
    renamed = path.rename(tmp_path / "real.txt")
    assert len(read_index(renamed)) == 30


def _analysed(path: Path) -> tuple[int, int, bool]:
    """(frames wanted, frames decoded, whether the report would say that the file is cut off)"""
    seen = LocalMedia(path).inspect()
    index = seen.index
    wanted = choose(index, Sampling(fps=5))

    async def run() -> int:
        engine = LocalEngine({}, PyAVDecoder(), EngineOptions(decode_threads=1))
        try:
            gathered = await gather(LocalMedia(path), index, plan(index, wanted), engine)
        finally:
            engine.close()
        return len(gathered.pts_s)

    return len(wanted), asyncio.run(run()), seen.cut_off is not None


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.8, 0.97])
@pytest.mark.parametrize("kind", ["mp4", "mp4-fast", "mkv", "ts", "webm", "avi"])
def test_a_truncated_file_is_refused_or_says_what_is_missing(tmp_path, kind, share):
    suffix = kind.split("-")[0]
    encoding = Encoding(
        codec={"webm": "libvpx", "avi": "mpeg4"}.get(suffix, "libx264"),
        gop=20,
        bit_rate_bps=500_000,
        options={"deadline": "realtime", "cpu-used": "8"} if suffix == "webm" else {},
        container_options={"movflags": "faststart"} if kind == "mp4-fast" else {},
    )
    whole = write_video(tmp_path / f"whole.{suffix}", busy_frames(120), fps=30, encoding=encoding)
    data = whole.read_bytes()
    cut = _write(tmp_path / f"cut.{suffix}", data[: int(len(data) * share)])
    try:
        wanted, decoded, said = _analysed(cut)
    except VideoError as error:
        assert "\n" not in str(error)
        # A transport stream does not show where it ought to end.
        assert error.code == "truncated" or (suffix == "ts" and error.code == "corrupt")
        return
    assert 0 < decoded <= wanted
    if suffix in ("mp4", "mkv", "avi"):
        # Their headers promise a length; a transport stream promises nothing.
        assert said or share > 0.9


def test_damage_in_the_middle_keeps_the_rest(tmp_path):
    path = write_video(tmp_path / "v.mp4", busy_frames(150), fps=30, encoding=Encoding(gop=15, b_frames=0))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    wanted, decoded, _ = _analysed(_write(tmp_path / "damaged.mp4", bytes(data)))
    assert decoded >= 0.8 * wanted


def test_another_track_that_is_encrypted_costs_nothing(tmp_path):
    path = tmp_path / "two.mp4"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for pixels in busy_frames(10):
            for stream in streams:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    data = path.read_bytes()
    entry = data.rindex(b"avc1", data.index(b"moov"))
    path.write_bytes(data[:entry] + b"encv" + data[entry + 4 :])
    assert len(LocalMedia(path).inspect().index) == 10
    first = data.index(b"avc1", data.index(b"moov"))
    path.write_bytes(data[:first] + b"encv" + data[first + 4 : entry] + b"encv" + data[entry + 4 :])
    with pytest.raises(Encrypted):
        LocalMedia(path).inspect()
