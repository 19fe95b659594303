"""What crosses handles: comes out as it went in, refusals as errors, pictures not at all."""

import dataclasses

import msgspec
import numpy as np
import pytest

from models.base import Likelihood, ModelInfo
from pipeline import errors
from pipeline.errors import EngineFault, InvalidSpec, VideoError
from pipeline.frames import ClipOutput, PassedOn, Strip, kept
from pipeline.report import Notice
from pipeline.thumbs import THUMB_SIZE
from serving.graph import messages
from serving.graph.golden import golden_clip
from serving.graph.messages import (
    Embedded,
    EmbedTexts,
    GenerationDescription,
    Handled,
    ModelDescription,
    Ran,
    Refused,
    ReplicaDescription,
    RunClip,
    SwapFailure,
)

WIDTH, HEIGHT = THUMB_SIZE


def output(**changed) -> ClipOutput:
    rng = np.random.default_rng(0)
    said = {
        "chain": 3,
        "part": 1,
        "rows": (4, 9),
        "pts_s": np.array([0.5, 1.25]),
        "arrays": {"embedding": rng.random((2, 8), np.float32), "stats": rng.random((2, 3), np.float32)},
        "strip": Strip(np.array([0.0, 0.1]), rng.integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)),
        "packets": 7,
        "decode_s": 0.1,
        "preprocess_s": 0.2,
        "infer_s": 0.3,
        "decoder": "pyav",
        "passed_on": (PassedOn("dali", "interlaced", tried=False),),
    }
    return ClipOutput(**said | changed)


def equal(one, other) -> bool:
    """Field by field, arrays by what is in them."""
    for field in dataclasses.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if dataclasses.is_dataclass(left) and not isinstance(left, type):
            assert equal(left, right), field.name
        elif isinstance(left, dict):
            assert list(left) == list(right)
            for name in left:
                np.testing.assert_array_equal(left[name], right[name])
        elif isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        else:
            assert left == right, field.name
    return True


@pytest.mark.parametrize("changed", [{}, {"strip": None}, {"rows": (), "pts_s": np.empty(0), "arrays": {}}])
def test_outputs_come_back_whole(changed):
    sent = output(**changed)
    data = messages.encode(Ran(output=sent, replica="r"))
    assert type(data) is bytes
    came = messages.answer(data, Ran)
    assert came.replica == "r"
    assert equal(came.output, sent)
    assert equal(kept(came.output), sent)
    for rows in kept(came.output).arrays.values():
        assert rows.base is None, "it would hold all that came with it"


def test_requests_come_as_they_went():
    clip = golden_clip()
    for sent in (
        RunClip(clip=clip, model="auto", identity="space-float32"),
        EmbedTexts(model="auto", space=None, texts=("a dog", "", "犬")),
        EmbedTexts(model="auto", space="s", texts=()),
    ):
        assert messages.decode(messages.encode(sent), type(sent)) == sent


def test_times_that_are_none_stay_so():
    """Packets that show no picture have none; NaN is not equal to itself, so it is looked for by hand."""
    clip = golden_clip()
    clip = msgspec.structs.replace(clip, times_s=(*clip.times_s[:1], float("nan"), *clip.times_s[2:]))
    came = messages.decode(messages.encode(RunClip(clip=clip, model="m", identity="i")), RunClip)
    assert np.isnan(came.clip.times_s[1])


def test_a_clip_of_the_largest_size_passes():
    packets = (bytes(31 << 20), b"x")
    clip = golden_clip()
    large = RunClip(clip=msgspec.structs.replace(clip, packets=packets), model="m", identity="i")
    assert messages.decode(messages.encode(large), RunClip).clip.packets == packets


def _kinds(base=VideoError):
    yield base
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield from _kinds(kind)


@pytest.mark.parametrize("kind", list(_kinds()), ids=lambda kind: kind.code)
def test_every_refusal_is_raised_as_what_it_was(kind):
    data = messages.encode(messages.refusal(kind("the film: it is wrong")))
    with pytest.raises(kind, match="the film: it is wrong") as raised:
        messages.answer(data, Ran)
    assert type(raised.value) is kind
    assert raised.value.retryable == kind.retryable


def test_a_refusal_from_a_newer_program_is_a_fault_that_says_so():
    with pytest.raises(EngineFault, match="too_blue: it is too blue"):
        messages.answer(messages.encode(Refused(code="too_blue", message="it is too blue")), Embedded)
    assert isinstance(messages.error_of(Refused(code="invalid_spec", message="x")), InvalidSpec)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        b"\xff" * 64,
        messages.encode(Handled()),
        messages.encode(Ran(output=output(), replica="r"))[:-500],
    ],
)
def test_what_is_no_answer_is_a_fault_and_never_more(data):
    with pytest.raises(EngineFault, match="not what was to come"):
        messages.answer(data, Ran)


@pytest.mark.parametrize(
    "changed",
    [
        {"arrays": {"embedding": np.zeros((2, HEIGHT, WIDTH, 3), np.float32)}},
        {"arrays": {"pixels": np.zeros((2, 4), np.uint8)}},
        {"arrays": {"embedding": np.zeros((2, 4), np.float64)}},
        {"strip": Strip(np.array([0.0]), np.zeros((1, 720, 1280, 3), np.uint8))},
    ],
    ids=["a picture", "bytes of pictures", "another kind of number", "large thumbnails"],
)
def test_pictures_do_not_leave(changed):
    messages.require_small(output())
    with pytest.raises(TypeError, match=r"does not leave|do not leave"):
        messages.require_small(output(**changed))


def test_descriptions_come_as_they_went():
    info = ModelInfo(name="bundled", version="1", space="s", dim=4)
    model = ModelDescription(
        name="auto",
        info=info,
        likelihood=Likelihood(10.0, None),
        known_words=("blue", "red"),
        notices=(Notice(code="a", message="b"),),
    )
    sent = ReplicaDescription(
        deployment="engine-default",
        replica="r",
        host="h",
        pid=1,
        state="ready",
        generations=(GenerationDescription(number=2, models=(model,), loaded_ago_s=1.5),),
        coming={"auto": "bundled"},
        failure=SwapFailure(wanted={"auto": "x"}, error="no", ago_s=3.0),
        checked_ago_s=0.5,
        handled=Handled(requests=3, bytes_in=100),
    )
    assert messages.decode(messages.encode(sent), ReplicaDescription) == sent
