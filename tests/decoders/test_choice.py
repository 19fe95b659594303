"""The table, the names that force a decoder, and what is said of this machine."""

import msgspec
import pytest

from pipeline.decode import choice
from pipeline.decode.available import DEVICES, Support, machine, support
from pipeline.decode.choice import TABLE, choose, preferred
from pipeline.errors import DecoderUnavailable, GpuUnavailable

NO_GPU = "there is no CUDA device"


@pytest.fixture
def without_gpu(monkeypatch):
    """A machine on which everything works on the CPU and nothing on a GPU."""
    monkeypatch.setattr(
        choice,
        "support",
        lambda name, device: (
            Support(name, device, "1", NO_GPU, "buy one")
            if device.startswith("cuda")
            else Support(name, device, "1", None, None)
        ),
    )


@pytest.fixture
def with_gpu(monkeypatch):
    """A machine on which everything works."""
    monkeypatch.setattr(choice, "support", lambda name, device: Support(name, device, "1", None, None))


def resized(clip, width, height, packets):
    codec = msgspec.structs.replace(clip.codec, width=width, height=height)
    return msgspec.structs.replace(clip, codec=codec, packets=clip.packets[:1] * packets)


def test_every_device_has_a_last_rule_that_fits_all(cut_of):
    for device in ("cpu", "cuda", "cuda:1"):
        assert any(rule.fits(resized(cut_of("vp8").clip, 2, 2, 1), device) for rule in TABLE)


@pytest.mark.parametrize(
    ("width", "height", "packets", "device", "first"),
    [
        (1920, 1080, 250, "cuda", ("torchcodec", "dali")),
        (1080, 1920, 250, "cuda:0", ("torchcodec", "dali")),
        (640, 360, 250, "cuda", ()),
        (1920, 1080, 3, "cuda", ()),
        (1920, 1080, 250, "cuda:1", ("torchcodec", "dali")),
        (1920, 1080, 250, "cpu", ()),
        (1920, 1080, 250, "mps", ()),
        (1920, 1080, 250, "xpu:0", ()),
    ],
)
def test_the_table_goes_by_device_size_and_length(width, height, packets, device, first, cut_of):
    clip = resized(cut_of("h264").clip, width, height, packets)
    assert preferred(clip, device=device, names=("dali", "torchcodec")) == first


def test_auto_on_a_cpu_is_the_reference_alone():
    chosen = choose()
    assert chosen.decoder.name == "pyav"
    assert chosen.device == "cpu"
    assert "FFmpeg" in chosen.reason
    assert not chosen.notices


@pytest.mark.parametrize("name", ["auto", "pyav", "decord"])
def test_for_a_device_that_decodes_nothing_frames_are_decoded_on_the_cpu(name, with_gpu, cut_of):
    chosen = choose(name, "mps")
    assert chosen.device == "cpu"
    assert chosen.decoder.name == choose(name, "cpu").decoder.name
    assert not chosen.notices
    clip = cut_of("h264").clip
    assert len(chosen.decoder.decode(clip).rows) == len(clip.wanted)
    with pytest.raises(GpuUnavailable, match="'mps'"):
        choose(name, "mps", require_gpu=True)


def test_auto_on_a_gpu_uses_what_works(with_gpu):
    chosen = choose("auto", "cuda:1")
    assert chosen.decoder.name == "torchcodec+dali+pyav"
    assert {decoder.device for decoder in chosen.decoder.others.values()} == {"cuda:1"}


def test_a_missing_gpu_is_a_warning_or_an_error(without_gpu):
    chosen = choose("auto", "cuda")
    assert chosen.device == "cpu"
    assert chosen.decoder.name == "pyav"
    (notice,) = chosen.notices
    assert notice.code == "gpu_not_used"
    assert "torchcodec on cuda and dali on cuda: there is no CUDA device (buy one)" in notice.message
    for arguments in (("auto", "cuda"), ("torchcodec", "cuda"), ("auto", "cpu")):
        with pytest.raises(GpuUnavailable):
            choose(*arguments, require_gpu=True)


def test_a_name_forces_a_decoder(without_gpu, cut_of):
    assert choose("decord").decoder.name == "decord+pyav"
    with pytest.raises(DecoderUnavailable, match="buy one"):
        choose("dali", "cuda")
    with pytest.raises(ValueError, match="no decoder 'ffmpeg'"):
        choose("ffmpeg")
    assert choose("pyav", "cuda").notices[0].code == "gpu_not_used"


def test_what_this_machine_can_do_is_said_of_every_adapter():
    found = machine()
    assert {(one.library, one.device) for one in found} == {
        (library, device) for library, devices in DEVICES.items() for device in devices
    }
    for one in found:
        assert one.works == (one.why_not is None) == (one.fix is None)
    assert support("pyav", "cpu").works


def test_asking_for_what_there_is_not_raises_nothing():
    assert not support("nothing", "cpu").works
    assert not support("decord", "cuda").works
