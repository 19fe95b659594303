"""Bad input: a typed refusal in one line, or a partial result that says what is missing; never a silent nothing."""

import asyncio
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.decode.pyav import PyAVDecoder
from pipeline.dispatch import gather
from pipeline.engine import EngineOptions, LocalEngine
from pipeline.errors import CorruptVideo, InputNotFound, NotAVideo, NoVideoStream, VideoError
from pipeline.media import LocalMedia
from pipeline.packets import read_index
from pipeline.plans import plan
from pipeline.probe import missing_tail, probe
from pipeline.sampling import choose
from pipeline.spec import Sampling
from pipeline.synthesis import AUDIO_RATE_HZ, Encoding, write_video
from tests.pipeline.conftest import busy_frames


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
        ("header.mp4", b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41", "moov"),
    ],
)
def test_what_is_no_video_is_refused_by_its_bytes(tmp_path, name, data, says):
    # A real video lies beside it: nothing that the bytes name may be opened.
    write_video(tmp_path / "other.mp4", busy_frames(5), fps=30)
    with pytest.raises((NotAVideo, CorruptVideo), match=says) as caught:
        read_index(_write(tmp_path / name, data))
    assert "\n" not in str(caught.value)


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
    index = read_index(path)
    probe(path, index)
    wanted = choose(index, Sampling(fps=5))

    async def run() -> int:
        engine = LocalEngine({}, PyAVDecoder(), EngineOptions(decode_threads=1))
        try:
            gathered = await gather(LocalMedia(path), index, plan(index, wanted), engine)
        finally:
            engine.close()
        return len(gathered.pts_s)

    return len(wanted), asyncio.run(run()), missing_tail(path, index) is not None


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
