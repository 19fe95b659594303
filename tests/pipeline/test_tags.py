"""Tags from planted vectors: present ones with their ranges, absent ones never."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.base import Likelihood, ModelInfo, TextModel
from pipeline import tags
from pipeline.report import Source, TagRange
from pipeline.spec import Label

SOURCE = Source(name="test", version="space")
DIM = 400
SIGMOID = Likelihood(scale=20.0, bias=-15.0)
SOFTMAX = Likelihood(scale=100.0, bias=None)


class Words(TextModel):
    """Every text has a direction of its own; the same words in any order and number have the same."""

    info = ModelInfo(name="words", version="1", space="space", dim=DIM)

    def embed_text(self, texts):
        return np.stack([direction(text) for text in texts]).astype(np.float32)


def direction(text):
    seed = [ord(c) for c in "".join(sorted(tags._words(text)))]
    vector = np.random.default_rng(seed).normal(size=DIM)
    # CLIP's text vectors share a large common part: unrelated texts have a cosine of about 0.5 here.
    vector = vector / np.linalg.norm(vector) + np.eye(DIM)[0]
    return vector / np.linalg.norm(vector)


def image(*texts, noise=0.0, seed=0):
    """A frame that shows what the texts say."""
    vector = sum(direction(text) for text in texts) + noise * np.random.default_rng(seed).normal(size=DIM)
    return vector / np.linalg.norm(vector)


def find(frames, names, likelihood, pts_s=None, **label):
    labels = tuple(name if isinstance(name, Label) else Label(name=name, **label) for name in names)
    pts_s = np.arange(len(frames), dtype=float) if pts_s is None else np.asarray(pts_s, float)
    vectors = tags.embed(labels, Words(), likelihood)
    return tags.find(
        pts_s, np.array(frames, np.float32), vectors, likelihood, duration_s=float(pts_s[-1] + 1), source=SOURCE
    )


@pytest.mark.parametrize("likelihood", [SIGMOID, SOFTMAX])
def test_a_present_label_is_found_where_it_is_and_an_absent_one_is_not(likelihood):
    frames = [image("a mountain")] * 10 + [image("a zebra")] * 6 + [image("a mountain")] * 4
    (tag,) = find(frames, ["zebra", "submarine"], likelihood)
    assert tag.label == "zebra"
    assert tag.score > 0.9
    (span,) = tag.ranges
    assert (span.start_s, span.end_s) == (9.5, 15.5)
    assert (tag.start_s, tag.end_s) == (9.5, 15.5)
    assert tag.coverage == pytest.approx(0.3)
    assert tag.source == SOURCE


@pytest.mark.parametrize("likelihood", [SIGMOID, SOFTMAX])
def test_nothing_is_reported_of_a_video_that_shows_none_of_the_labels(likelihood):
    phrases = tags.background()
    frames = [image(phrases[n % len(phrases)], noise=0.01, seed=n) for n in range(60)]
    absent = ["zebra", "submarine", "volcano", "violin", "telescope", "penguin", "cathedral", "tractor"]
    assert find(frames, absent, likelihood) == ()


def test_the_best_of_only_absent_labels_still_loses_against_the_bank():
    # One label alone would win any softmax among labels with probability 1.
    assert find([image("a mountain")] * 10, ["zebra"], SOFTMAX) == ()


def test_the_bank_leaves_out_what_means_the_same():
    labels = (Label(name="a dog on the beach"), Label(name="zebra"), Label(name="pet", prompts=("cats",)))
    vectors = tags.embed(labels, Words(), SOFTMAX)
    phrases = list(tags.background())
    dog, beach, cat, person = (phrases.index(text) for text in ("a dog", "a beach", "a cat", "a person"))
    assert not vectors.rivals[0, [dog, beach]].any()
    assert vectors.rivals[0, person]
    assert vectors.rivals[1].all()
    assert not vectors.rivals[2, cat]
    assert vectors.rivals[2, dog]


def test_a_label_that_means_all_of_the_bank_competes_with_it():
    everything = Label(name="everything", prompts=tags.background())
    assert tags.embed((everything,), Words(), SOFTMAX).rivals.all()
    (tag,) = find([image("a zebra")] * 6, [everything, "zebra"], SOFTMAX)
    assert tag.label == "zebra"


def test_a_sigmoid_model_needs_no_bank():
    assert tags.embed((Label(name="zebra"),), Words(), SIGMOID).bank.shape == (0, DIM)


def test_the_best_prompt_counts():
    label = Label(name="transport", prompts=("a submarine", "a tractor"))
    (tag,) = find([image("a tractor")] * 5, [label], SIGMOID)
    assert tag.label == "transport"


def test_labels_do_not_take_from_each_other():
    found = find([image("a zebra", "a volcano")] * 5, ["zebra", "volcano"], SIGMOID)
    assert {tag.label for tag in found} == {"zebra", "volcano"}


def test_one_odd_frame_is_no_tag_but_a_slide_of_a_slow_sampling_is():
    frames = [image("a mountain")] * 20
    frames[7] = image("a zebra")
    assert find(frames, ["zebra"], SIGMOID) == ()
    assert len(find(frames, ["zebra"], SIGMOID, pts_s=10.0 * np.arange(20))) == 1


def test_the_threshold_is_the_labels_own():
    frames = [image("a zebra", "a volcano", "a mountain")] * 5
    vectors = tags.embed((Label(name="zebra"),), Words(), SIGMOID)
    p = float(tags.probabilities(np.array(frames), vectors, SIGMOID)[0, 0])
    assert find(frames, ["zebra"], SIGMOID, threshold=p - 0.05)
    assert not find(frames, ["zebra"], SIGMOID, threshold=p + 0.05)


def test_categories_hold_wherever_one_of_their_labels_does():
    frames = [image("a zebra")] * 5 + [image("a penguin")] * 5 + [image("a mountain")] * 10
    found = find(frames, ["zebra", "penguin", "submarine"], SIGMOID, parent="animals")
    assert [tag.kind for tag in found] == ["tag", "tag", "category"]
    category = found[-1]
    assert category.label == "animals"
    assert [(span.start_s, span.end_s) for span in category.ranges] == [(0.0, 9.5)]
    assert category.score == max(tag.score for tag in found)
    assert category.coverage == pytest.approx(9.5 / 20)


def test_a_range_survives_a_dip_but_not_an_absence():
    starts_s, ends_s = np.arange(8.0), np.arange(1.0, 9.0)
    curve = np.array([0.0, 0.9, 0.4, 0.8, 0.1, 0.4, 0.45, 0.0])
    (span,) = tags.ranges_of(curve, 0.5, starts_s, ends_s)
    assert span == TagRange(start_s=1.0, end_s=4.0, score=0.9)


def test_a_frame_that_stays_on_screen_speaks_until_the_next():
    starts_s, ends_s = tags.holding(np.array([0.0, 1.0, 2.0, 30.0, 31.0]), 32.0)
    np.testing.assert_allclose(ends_s, [0.5, 1.5, 29.5, 30.5, 32.0])
    np.testing.assert_allclose(starts_s[1:], ends_s[:-1])
    np.testing.assert_allclose(tags.holding(np.array([0.4]), 9.0), [[0.0], [9.0]])


def test_no_frames_or_no_labels_give_no_tags():
    assert find([image("a zebra")], [], SIGMOID) == ()
    vectors = tags.embed((Label(name="zebra"),), Words(), SIGMOID)
    nothing = np.zeros((0, DIM), np.float32)
    assert tags.find(np.zeros(0), nothing, vectors, SIGMOID, duration_s=1.0, source=SOURCE) == ()


spans = st.lists(st.tuples(st.floats(0, 50), st.floats(0.1, 20), st.floats(0, 1)), min_size=1, max_size=12)


@given(spans)
@settings(max_examples=60, deadline=None)
def test_a_union_covers_the_same_seconds_once(raw):
    ranges = [TagRange(start_s=start, end_s=start + length, score=score) for start, length, score in raw]
    merged = tags.union(ranges)
    for one, following in pairwise(merged):
        assert one.end_s < following.start_s
    for moment in np.linspace(0.05, 69.95, 100):
        inside = any(one.start_s <= moment <= one.end_s for one in ranges)
        assert inside == any(one.start_s <= moment <= one.end_s for one in merged)
    assert max(one.score for one in merged) == max(one.score for one in ranges)


@given(st.integers(1, 30), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_what_must_hold_for_any_video(count, seed, softmax):
    rng = np.random.default_rng(seed)
    frames = rng.normal(size=(count, DIM)) + 20 * np.eye(DIM)[0]
    frames /= np.linalg.norm(frames, axis=1, keepdims=True)
    likelihood = SOFTMAX if softmax else Likelihood(scale=20.0, bias=-13.5)
    found = find(frames, ["zebra", "submarine", "volcano"], likelihood, threshold=0.2, parent="things")
    for tag in found:
        assert 0.2 <= tag.score <= 1
        assert 0 < tag.coverage <= 1
        assert 0 <= tag.start_s < tag.end_s <= count
        for one, following in pairwise(tag.ranges):
            assert one.end_s <= following.start_s
    assert any(tag.kind == "category" for tag in found) == bool(found)


def test_categories_of_categories_hold_wherever_anything_below_them_does():
    frames = [image("a zebra")] * 5 + [image("a mountain")] * 5 + [image("an animal")] * 5 + [image("a pebble")] * 5
    labels = [
        Label(name="zebra", parent="animal"),
        Label(name="animal", parent="nature"),
        Label(name="mountain", parent="landscape"),
        Label(name="landscape", prompts=("a submarine",), parent="nature"),
    ]
    found = {(tag.kind, tag.label): tag for tag in find(frames, labels, SIGMOID)}
    assert set(found) == {
        ("tag", "zebra"),
        ("tag", "animal"),
        ("tag", "mountain"),
        ("category", "animal"),
        ("category", "landscape"),
        ("category", "nature"),
    }

    def spans(kind, name):
        return [(span.start_s, span.end_s) for span in found[kind, name].ranges]

    assert spans("tag", "animal") == [(9.5, 14.5)]
    assert spans("category", "animal") == [(0.0, 4.5), (9.5, 14.5)]
    assert spans("category", "landscape") == [(4.5, 9.5)]
    assert spans("category", "nature") == [(0.0, 14.5)]
    assert found["category", "animal"].parent == found["category", "landscape"].parent == "nature"
    assert found["category", "nature"].parent is None
