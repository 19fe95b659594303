"""Models that look on besides: what they give, and that whatever they do wrong costs nobody else anything."""

import asyncio
import threading

import numpy as np
import pytest

from models.base import ModelInfo, Needs, Score
from pipeline import added, stills
from pipeline.decode.pyav import PyAVDecoder
from pipeline.dispatch import gather
from pipeline.engine import Added, EngineOptions, LocalEngine
from pipeline.frames import Failed
from pipeline.media import LocalMedia
from pipeline.packets import read_index
from pipeline.plans import plan
from pipeline.report import TagRange
from pipeline.sampling import choose
from pipeline.spec import AnalysisSpec, Sampling, SegmentSpec
from pipeline.synthesis import Encoding, write_video
from tests.pipeline.test_engine import MeanColour
from tests.serving.beside_models import Brightness, Poor, Sees, Turned, Vectors


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Four seconds of black and four of white, each with a mark that moves after two."""
    pictures = np.zeros((64, 96, 128, 3), np.uint8)
    pictures[32:] = 240
    pictures[16:32, 40:70, 40:70] = 120
    pictures[48:, 40:70, 40:70] = 120
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, pictures, fps=8, encoding=Encoding(gop=16))


def gathered(film, models, *, reuse=False, encoder=None, **options):
    """What an engine makes of the film, at 4 frames a second."""

    async def main():
        made = EngineOptions(decode_threads=1, **options)
        engine = LocalEngine({"mean": encoder or MeanColour()}, PyAVDecoder(), made, models)
        try:
            index = read_index(film)
            plans = plan(index, choose(index, Sampling(fps=4)), max_wanted=8)
            return await gather(LocalMedia(film), index, plans, stills.Reusing(engine) if reuse else engine)
        finally:
            engine.close()

    return asyncio.run(main())


def test_they_see_the_same_frames_and_a_head_the_encoders_vectors(film):
    found = gathered(film, {"bright": Added(Brightness()), "sees": Added(Sees("test"), of="mean")})
    assert len(found.pts_s) == 32
    np.testing.assert_allclose(
        found.arrays["bright"][:, 0], np.r_[[0.0] * 8, [0.03] * 8, [0.94] * 8, [0.9] * 8], atol=0.03
    )
    np.testing.assert_array_equal(found.arrays["sees"], np.clip((found.arrays["mean"][:, :1] + 1) / 2, 0, 1))
    assert found.failed == {}


def test_a_head_of_a_model_that_was_not_asked_for_says_so(film):
    async def main():
        engine = LocalEngine({"mean": MeanColour()}, PyAVDecoder(), added={"sees": Added(Sees("test"), of="mean")})
        index = read_index(film)
        (clip, *_) = LocalMedia(film).clips(index, plan(index, choose(index, Sampling(fps=4))))
        output = await engine.run(clip, ("sees",))
        engine.close()
        return output

    assert asyncio.run(main()).failed == {"sees": "it reads vectors of mean, which were not asked for"}


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raises", "RuntimeError: it does not like"),
        ("nan", "holds no numbers"),
        ("beyond", "scores from 1.5 to 1.5"),
        ("double", "float64, not float32"),
        ("wide", "shape (8, 2), not (8, 1)"),
    ],
)
def test_what_one_fails_at_is_told_and_costs_the_others_nothing(film, how, told):
    # A batch for each Clip, for it goes by what a batch looks like.
    models = {"poor": Added(Poor(how, above=0.5)), "bright": Added(Brightness())}
    found = gathered(film, models, batch_size=8)
    assert found.failed["poor"].frames == 16
    assert told in found.failed["poor"].reason
    assert np.isfinite(found.arrays["mean"]).all()
    assert np.isfinite(found.arrays["bright"]).all()
    # What it had an answer to is there, at its place.
    np.testing.assert_array_equal(np.isfinite(found.arrays["poor"][:, 0]), found.arrays["bright"][:, 0] < 0.5)


def test_the_fault_of_one_clip_is_not_that_of_those_in_the_same_batch(film):
    class Picky(Brightness):
        def run(self, pixels):
            if (np.asarray(pixels).reshape(len(pixels), -1).mean(1) > 235).any():
                raise RuntimeError("too bright")
            return super().run(pixels)

    found = gathered(film, {"picky": Added(Picky())}, batch_size=64)
    assert found.failed == {"picky": Failed(8, "RuntimeError: too bright")}


def test_one_that_hangs_is_waited_for_once_and_left_behind(film):
    go = threading.Event()

    class Hanging(Brightness):
        asked = 0

        def run(self, pixels):
            self.asked += 1
            assert go.wait(60)
            return super().run(pixels)

    hanging = Hanging()
    try:
        found = gathered(film, {"hangs": Added(hanging)}, patience_s=0.3)
        assert hanging.asked == 1
        assert found.failed["hangs"].frames == 32
        assert "no answer in time" in found.failed["hangs"].reason
        assert "hangs" not in found.arrays
        assert len(found.arrays["mean"]) == 32
    finally:
        go.set()


class HangsFirst(Brightness):
    """Hangs in its first stage."""

    def __init__(self, go) -> None:
        super().__init__()
        self.go, self.asked = go, 0

    def preprocess(self, pixels):
        self.asked += 1
        assert self.go.wait(60)
        return super().preprocess(pixels)


def test_one_that_hangs_before_its_batch_is_left_behind_as_well(film):
    go = threading.Event()
    hanging = HangsFirst(go)
    try:
        found = gathered(film, {"hangs": Added(hanging), "bright": Added(Brightness())}, patience_s=0.3)
        assert hanging.asked == 1
        assert found.failed["hangs"].frames == 32
        assert "no answer in time" in found.failed["hangs"].reason
        assert np.isfinite(found.arrays["bright"]).all()
        assert len(found.arrays["mean"]) == 32
    finally:
        go.set()


def test_while_one_hangs_clips_of_others_are_answered(film):
    go = threading.Event()

    async def main():
        options = EngineOptions(decode_threads=1, patience_s=60)
        engine = LocalEngine({"mean": MeanColour()}, PyAVDecoder(), options, {"hangs": Added(HangsFirst(go))})
        index = read_index(film)
        clips = list(LocalMedia(film).clips(index, plan(index, choose(index, Sampling(fps=4)), max_wanted=8)))
        hanging = asyncio.create_task(engine.run(clips[0]))
        while not engine.added["hangs"].model.asked:
            await asyncio.sleep(0.01)
        answered = await asyncio.wait_for(engine.run(clips[1], ("mean",)), 20)
        assert not hanging.done()
        go.set()
        late = await hanging
        engine.close()
        return answered, late

    try:
        answered, late = asyncio.run(main())
    finally:
        go.set()
    assert set(answered.arrays) == {"mean"}
    assert set(late.arrays) == {"mean", "hangs"}, "whoever answers late, but in time, is heard"


@pytest.mark.parametrize("names", [("vectors", "turned", "sees"), ("sees", "turned", "vectors")])
def test_heads_come_after_what_they_read_however_they_are_named(film, names):
    each = {
        "vectors": Added(Vectors()),
        "turned": Added(Turned(), of="vectors"),
        "sees": Added(Sees("turned"), of="turned"),
    }
    found = gathered(film, {name: each[name] for name in names})
    assert found.failed == {}
    np.testing.assert_array_equal(found.arrays["turned"], -found.arrays["vectors"])
    np.testing.assert_array_equal(found.arrays["sees"], np.clip((1 - found.arrays["vectors"][:, :1]) / 2, 0, 1))


def test_a_circle_of_heads_is_refused():
    models = {"one": Added(Sees("a"), of="two"), "two": Added(Sees("b"), of="one")}
    with pytest.raises(ValueError, match="made of its own"):
        LocalEngine({}, PyAVDecoder(), added=models)


def test_frames_that_look_the_same_are_looked_at_once_where_that_is_allowed(film):
    every, once = MeanColour(), MeanColour()
    plain = gathered(film, {"bright": Added(Brightness())}, encoder=every)
    reused = gathered(film, {"bright": Added(Brightness())}, encoder=once, reuse=True)
    assert (plain.reused, sum(every.batches)) == (0, 32)
    assert reused.reused == 32 - sum(once.batches)
    assert sum(once.batches) <= 8, "two looks at each of the four pictures, at most"
    for name in ("mean", "bright"):
        np.testing.assert_allclose(reused.arrays[name], plain.arrays[name], atol=2)


def test_a_slow_change_adds_up_until_it_is_seen():
    pixels = np.repeat(np.arange(100, 130, dtype=np.uint8), 64 * 64 * 3).reshape(30, 64, 64, 3)
    found = stills.firsts(pixels)
    steps = np.flatnonzero(np.diff(found)) + 1
    assert found[0] == 0
    np.testing.assert_array_equal(np.diff(np.r_[0, steps]), stills.TOLERANCE + 1)
    assert (np.abs(pixels[:, 0, 0, 0].astype(int) - pixels[found, 0, 0, 0]) <= stills.TOLERANCE).all()


def test_a_small_thing_that_appears_is_seen():
    pixels = np.full((2, 360, 640, 3), 90, np.uint8)
    pixels[1, 100:124, 200:224] = 200
    assert stills.firsts(pixels).tolist() == [0, 1]


CARD = ModelInfo(
    name="m",
    version="1",
    space="s",
    dim=3,
    kind="scores",
    scores=(Score("dog", 0.6, parent="animal"), Score("nice", signal=True), Score("odd", signal=True)),
    needs=Needs(fps=2.0, side=480),
)


def test_scores_are_tags_with_their_thresholds_and_their_space():
    rows = np.zeros((10, 3), np.float32)
    rows[3:7, 0] = 0.7
    rows[9, 0] = np.nan
    tags = added.found_tags({"m": CARD}, {"m": rows}, np.arange(10.0), 10.0)
    assert [(tag.kind, tag.label, tag.parent) for tag in tags] == [
        ("tag", "dog", "animal"),
        ("category", "animal", None),
    ]
    assert tags[0].ranges == (TagRange(start_s=2.5, end_s=6.5, score=pytest.approx(0.7)),)
    assert (tags[0].source.name, tags[0].source.version) == ("m", "s")
    assert added.found_tags({"m": CARD}, {}, np.arange(10.0), 10.0) == ()


def test_signals_have_names_that_weights_can_name():
    rows = np.zeros((10, 3), np.float32)
    rows[5:, 1] = 1.0
    cells_s = np.arange(20) / 2 + 0.25
    found = added.signals({"m": CARD}, {"m": rows}, np.arange(10.0), cells_s, np.array([5.0]))
    assert sorted(found) == ["m.nice", "m.odd"]
    assert found["m.nice"].dtype == np.float32
    assert (found["m.nice"][:9] == 0).all()
    assert (found["m.nice"][10:] == 1).all()
    assert (found["m.odd"] == 0.5).all(), "what never changes chooses nothing"


def test_what_the_caller_should_know_is_told():
    spec = AnalysisSpec(models=("m",), segments=SegmentSpec(weights={"motion": 1.0, "m.odd": 1.0}))
    told = list(added.notices({"m": CARD}, {"m": Failed(3, "why")}, spec, shorter_side=360))
    assert [notice.code for notice in told] == [
        "model_failed",
        "model_needs_more",
        "model_needs_more",
        "signal_without_weight",
    ]
    assert "3 frames" in told[0].message
    assert "2 frames per second and saw 1" in told[1].message
    assert "480 pixels" in told[2].message
    assert "m.nice" in told[3].message
    assert "m.odd" not in told[3].message
