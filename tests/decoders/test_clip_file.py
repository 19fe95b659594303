"""A Clip as a Matroska file: the same packets, each at the tick of its place in display order."""

import io

import av
import msgspec
import pytest

from pipeline import clip_file
from tests.decoders.conftest import VIDEOS, number_of


@pytest.mark.parametrize("name", VIDEOS)
def test_packets_and_their_places_survive(name, cut_of):
    clip = cut_of(name).clip
    with av.open(io.BytesIO(clip_file.matroska(clip))) as container:
        (stream,) = container.streams.video
        assert stream.codec_context.codec.canonical_name == clip.codec.name
        assert (stream.width, stream.height) == (clip.codec.width, clip.codec.height)
        assert float(stream.average_rate) == 1000 / clip_file.TICK_MS
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert [bytes(packet) for packet in packets] == list(clip.packets)
    assert [float(packet.pts * packet.time_base) for packet in packets] == pytest.approx(
        [rank * clip_file.TICK_MS / 1000 for rank in clip.ranks]
    )


def test_ranks_are_places_in_display_order(cut_of):
    made = cut_of("h264")
    clip = made.clip
    assert sorted(clip.ranks) == list(range(len(clip.packets)))
    assert clip.ranks != tuple(sorted(clip.ranks)), "this video has B-frames"
    shown = [row for _, row in sorted(zip(clip.ranks, clip.rows, strict=True))]
    assert [made.numbers[row] for row in shown] == sorted(made.numbers[row] for row in clip.rows)


def test_an_encore_shows_the_first_picture_again(cut_of):
    clip = cut_of("vp9").clip
    with av.open(io.BytesIO(clip_file.matroska(clip, encore=True))) as container:
        shown = [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert len(shown) == len(clip.packets) + 1
    assert shown[-1] == shown[0]


def test_a_long_clip_fills_several_clusters(cut_of):
    clip = cut_of("mjpeg").clip
    times = 600
    long = msgspec.structs.replace(
        clip,
        rows=tuple(range(times)),
        packets=clip.packets[:1] * times,
        times_s=tuple(number / 30 for number in range(times)),
        ranks=tuple(range(times)),
        flush_at=(),
    )
    with av.open(io.BytesIO(clip_file.matroska(long))) as container:
        (stream,) = container.streams.video
        seconds = [float(packet.pts * packet.time_base) for packet in container.demux(stream) if packet.size]
    assert seconds == pytest.approx([rank * clip_file.TICK_MS / 1000 for rank in range(times)])


def test_the_matrix_is_written_where_the_clip_names_none(cut_of):
    clip = cut_of("h264-hd").clip
    with av.open(io.BytesIO(clip_file.matroska(clip, matrix=1))) as container:
        assert int(container.streams.video[0].codec_context.colorspace) == 1
    tagged = msgspec.structs.replace(clip, codec=msgspec.structs.replace(clip.codec, colorspace=6))
    with av.open(io.BytesIO(clip_file.matroska(tagged, matrix=1))) as container:
        assert int(container.streams.video[0].codec_context.colorspace) == 6


@pytest.mark.parametrize(("change", "says"), [({"part": 1}, "longer chain"), ({"last": False}, "longer chain")])
def test_a_part_of_a_chain_is_no_file(change, says, cut_of):
    clip = msgspec.structs.replace(cut_of("vp9").clip, **change)
    assert says in (clip_file.refusal(clip) or "")
    with pytest.raises(ValueError, match=says):
        clip_file.matroska(clip)


def test_an_unknown_codec_is_no_file(cut_of):
    clip = cut_of("vp9").clip
    other = msgspec.structs.replace(clip, codec=msgspec.structs.replace(clip.codec, name="wmv2"))
    assert "wmv2" in (clip_file.refusal(other) or "")
