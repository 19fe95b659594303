"""Learning a head from examples: what it finds, what it says of itself, and when it refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.head_topics import TOPICS, clips, examples_of
from benchmarks.heads import measured_f1, unseen_of, zero_shot_f1
from models import catalog, heads
from models.training.examples import NOBODY, REJECTED, SHOWN, UNKNOWN, BadExamples, Examples
from models.training.fitting import fit_linear, logits, platt, sigmoid
from models.training.folds import grouped_folds
from models.training.head import HeadOptions, Trained, train
from models.training.head_report import markdown, write_beside
from models.training.scoring import (
    at_threshold,
    average_precision,
    best_threshold,
    calibration_error,
    steady_threshold,
)

DIM, FRAMES = 24, 3
RING = HeadOptions(min_examples=5)


def drawn(videos: int, seed: int = 0, noise: float = 0.6, side: float = 1.0) -> Examples:
    """One example a video, every other one accepted; frames of a video are nearly the same."""
    rng = np.random.default_rng(seed)
    direction = np.random.default_rng(99).normal(size=DIM)
    shown = np.arange(videos) % 2 == 0
    middles = noise * rng.normal(size=(videos, DIM)) + np.where(shown, side, -side)[:, None] * direction / 2
    rows = (middles[:, None] + 0.02 * rng.normal(size=(videos, FRAMES, DIM))).reshape(-1, DIM)
    numbers = np.repeat(np.arange(videos), FRAMES)
    truth = np.where(shown[numbers], SHOWN, REJECTED).astype(np.int8)[:, None]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Examples(("ring",), rows.astype(np.float32), truth, numbers[:, None], numbers)


def trained(examples: Examples, options: HeadOptions = RING) -> Trained:
    """With names that do not matter."""
    return train(examples, options, name="rings", encoder="bundled", space="abc")


def f1_of(made: Trained, unseen: Examples) -> float:
    """At its own threshold, on other videos."""
    p = heads.MlpHead(made.layers, made.card, "head:x").run(unseen.vectors)[:, 0]
    said = p >= made.card.labels[0].threshold
    return at_threshold(said, unseen.truth[:, 0] == SHOWN, np.ones(len(p))).f1


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_it_learns_and_its_card_says_how_well(kind: str) -> None:
    options = HeadOptions(kind="mlp" if kind == "mlp" else "linear")
    made = trained(drawn(40), options)
    (label,) = made.card.metrics["labels"]
    assert label["folds"] == 5
    assert label["accepted"] == {"examples": 20, "videos": 20, "frames": 60}
    assert label["rejected"] == {"examples": 20, "videos": 20, "frames": 60}
    unseen = f1_of(made, drawn(200, seed=5))
    assert unseen > 0.9
    assert abs(label["out_of_fold"]["f1"] - unseen) < 0.1
    again = trained(drawn(40), options)
    assert made.card == again.card
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(made.layers, again.layers, strict=True))


def test_where_there_is_nothing_to_learn_the_card_says_so() -> None:
    """Frames of a video are alike, so that folds by frame would find them all again: F1 near 1 for pure noise."""
    made = trained(drawn(40, side=0.0))
    (label,) = made.card.metrics["labels"]
    assert label["out_of_fold"]["average_precision"] < 0.75
    assert label["out_of_fold"]["f1"] < 0.8


def test_probabilities_come_true() -> None:
    made = trained(drawn(60, noise=1.6))
    unseen = drawn(600, seed=5, noise=1.6)
    p = heads.MlpHead(made.layers, made.card, "head:x").run(unseen.vectors)[:, 0].astype(np.float64)
    shown = unseen.truth[:, 0] == SHOWN
    assert calibration_error(p, shown, np.ones(len(p))) < 0.15


def test_labels_do_not_disturb_each_other() -> None:
    """A label that is learnt beside another, of which nothing is known where it is known, stays as it was."""
    one, other = drawn(20), drawn(20, seed=3)
    both = Examples(
        ("ring", "cross"),
        np.concatenate([one.vectors, other.vectors]),
        np.block([[one.truth, np.full_like(one.truth, UNKNOWN)], [np.full_like(other.truth, UNKNOWN), other.truth]]),
        np.block(
            [[one.example, np.full_like(one.example, NOBODY)], [np.full_like(one.example, NOBODY), other.example + 20]]
        ),
        np.concatenate([one.video, other.video + 20]),
    )
    alone, together = trained(one), trained(both)
    assert alone.card.metrics["labels"][0] == together.card.metrics["labels"][0]
    assert np.allclose(alone.layers[0].weight[0], together.layers[0].weight[0], atol=1e-6)
    for kind in ("linear", "mlp"):
        made = trained(both, HeadOptions(kind="mlp" if kind == "mlp" else "linear", signal=True))
        head = heads.MlpHead(made.layers, made.card, "head:x")
        assert [(score.label, score.signal) for score in head.info.scores] == [("ring", True), ("cross", True)]


def test_a_long_example_counts_no_more_than_a_short_one() -> None:
    examples = drawn(12)
    long = np.concatenate([np.repeat(np.flatnonzero(examples.video == 0), 50), np.arange(len(examples.vectors))])
    longer = Examples(
        examples.labels, examples.vectors[long], examples.truth[long], examples.example[long], examples.video[long]
    )
    short_w, long_w = (trained(one).layers[0].weight for one in (examples, longer))
    assert np.abs(short_w - long_w).max() < 0.05 * np.abs(short_w).max()


def test_too_few_videos_are_said_to_be() -> None:
    examples = drawn(12)
    made = trained(replace(examples, video=np.where(examples.truth[:, 0] == SHOWN, 0, examples.video)))
    (label,) = made.card.metrics["labels"]
    assert label["folds"] == 0
    assert label["out_of_fold"] is None
    assert label["threshold"] == 0.5
    assert any("fewer than 2 videos" in line for line in made.card.metrics["not_tried_on"])
    assert "not measured" in markdown(made.card)


def test_what_cannot_be_learnt_is_refused() -> None:
    examples = drawn(8)
    with pytest.raises(BadExamples, match="ring: 4 accepted examples with a frame, at least 5"):
        trained(examples)
    alone = replace(drawn(20), truth=np.full((60, 1), SHOWN, np.int8))
    with pytest.raises(BadExamples, match="nothing to tell it from: give rejected examples"):
        trained(alone)


def test_the_card_is_written_beside(tmp_path: Path) -> None:
    made = trained(drawn(40))
    as_json, as_text = write_beside(tmp_path / "rings.safetensors", made.card)
    assert as_json.name == "rings.json"
    text = as_text.read_text()
    f1 = made.card.metrics["labels"][0]["out_of_fold"]["f1"]
    assert f"| {f1:.3f} |" in text
    assert "`bundled` (space `abc`" in text
    assert "Not tried on" in text


# --- parts ----------------------------------------------------------------------------------------------------------


def test_folds_keep_videos_whole_and_both_sides_in_each_training() -> None:
    rng = np.random.default_rng(0)
    for seed in range(50):
        video = rng.integers(0, int(rng.integers(2, 12)), 60)
        truth = rng.random(60) < rng.choice([0.1, 0.5, 0.9])
        if rng.random() < 0.5:
            truth = truth[np.unique(video, return_index=True)[1]][np.unique(video, return_inverse=True)[1]]
        folds = grouped_folds(truth, video, seed)
        if min(len(np.unique(video[truth])), len(np.unique(video[~truth]))) < 2:
            assert folds is None
            continue
        assert folds is not None
        assert all(len(np.unique(folds[video == one])) == 1 for one in np.unique(video))
        for fold in np.unique(folds):
            assert len(np.unique(truth[folds != fold])) == 2


def test_newton_finds_the_optimum() -> None:
    examples, strength = drawn(40), 1e-2
    x, y = examples.vectors.astype(np.float64), (examples.truth[:, 0] == SHOWN).astype(np.float64)
    weights = np.random.default_rng(0).random(len(y))
    (layer,) = fit_linear(x, y, weights, strength)
    error = weights / weights.sum() * (sigmoid(logits((layer,), x)) - y)
    assert np.abs(error @ x + strength * layer.weight[0]).max() < 1e-5
    assert abs(error.sum()) < 1e-5
    few = slice(0, DIM // 2)
    (layer,) = fit_linear(x[few], y[few], weights[few], strength)
    error = weights[few] / weights[few].sum() * (sigmoid(logits((layer,), x[few])) - y[few])
    assert np.abs(error @ x[few] + strength * layer.weight[0]).max() < 1e-5


def test_platt_never_turns_the_order_and_claims_less_with_fewer() -> None:
    scores, truth, weights = np.array([3.0, 2.0, -2.0, -3.0]), np.array([True, True, False, False]), np.ones(4)
    certain, modest = (platt(scores, truth, weights, counts) for counts in ((500, 500), (2, 2)))
    assert certain[0] > modest[0] > 0
    assert platt(-scores, truth, weights, (2, 2))[0] > 0


def test_figures_are_those_of_the_textbook() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.1])
    truth, ones = np.array([True, False, True, True, False]), np.ones(5)
    assert average_precision(scores, truth, ones) == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert average_precision(np.full(5, 0.5), truth, ones) == pytest.approx(3 / 5)
    assert best_threshold(scores, truth, ones) == pytest.approx(0.35)
    # One odd example among many frames of its own moves the best threshold all the way, the steady one not so far.
    many, shown = np.append(np.linspace(0.6, 0.9, 20), np.linspace(0.1, 0.4, 20)), np.arange(40) < 20
    shown[25] = True
    best, steady = best_threshold(many, shown, np.ones(40)), steady_threshold(many, shown, np.ones(40), np.arange(40))
    assert 0.4 < best < 0.6
    assert abs(steady - 0.5) < 0.1
    found = at_threshold(scores >= 0.65, truth, ones)
    assert (found.precision, found.recall, found.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    heavy = np.array([1.0, 1.0, 1.0, 3.0, 1.0])
    assert at_threshold(scores >= 0.65, truth, heavy).recall == pytest.approx(2 / 5)
    assert calibration_error(np.array([0.75] * 4), np.array([True, True, True, False]), np.ones(4)) == 0.0
    assert calibration_error(np.array([0.95] * 2), np.array([False, False]), np.ones(2)) == pytest.approx(0.95)


# --- what it is for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["warm", "stripes"])
def test_twenty_examples_teach_what_the_words_of_the_encoder_do_not(name: str) -> None:
    """Warm colours, and stripes that lie, among such that stand: the bundled model has no word for either.
    `python -m benchmarks heads` does more of them."""
    encoder = catalog.load("bundled", "cpu", "float32").model
    topic = TOPICS[name]
    made = trained(examples_of(topic, encoder, clips(topic, 20, seed=1)))
    unseen = unseen_of(topic, encoder, 60, seed=2)
    assert zero_shot_f1(topic, encoder, unseen) < 0.7
    f1 = measured_f1(made, unseen)
    assert f1 >= 0.9
    assert abs(made.card.metrics["labels"][0]["out_of_fold"]["f1"] - f1) < 0.1
