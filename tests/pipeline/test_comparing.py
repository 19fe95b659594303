"""How far two models agree, beside computations that are made another way."""

import numpy as np
import pytest

from models.base import Likelihood, ModelInfo, Score
from pipeline import comparing
from pipeline.comparing import Span
from pipeline.saying import Side, said, speakers
from pipeline.spec import Label


def spans(*pairs: tuple[float, float]) -> tuple[Span, ...]:
    return tuple(Span(start_s=start, end_s=end) for start, end in pairs)


def unit(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    rows = rng.standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_labels_agree_by_the_time_in_which_both_say_so():
    a = {"red": spans((0, 4), (6, 8)), "dog": spans((1, 2))}
    b = {"red": spans((3, 7)), "cat": spans((0, 10))}
    found = comparing.label_agreements(a, b, 10.0)
    assert [one.label for one in found] == ["cat", "red", "dog"]
    red = found[1]
    assert (red.both_s, red.only_a_s, red.only_b_s) == (2.0, 4.0, 2.0)
    assert red.agreement == pytest.approx(2 / 8)
    assert (red.share_a, red.share_b) == (0.6, 0.4)
    # The same on a grid of hundredths of a second.
    ticks = (np.arange(1000) + 0.5) / 100

    def holds(ranges):
        return np.any([(ticks >= one.start_s) & (ticks < one.end_s) for one in ranges], axis=0)

    both = sum((holds(a.get(name, ())) & holds(b.get(name, ()))).sum() for name in ("red", "dog", "cat"))
    either = sum((holds(a.get(name, ())) | holds(b.get(name, ()))).sum() for name in ("red", "dog", "cat"))
    assert comparing.agreement(found) == pytest.approx(both / either)
    assert comparing.agreement(()) is None


def test_rank_correlation_is_that_of_mean_ranks():
    rng = np.random.default_rng(1)
    a = rng.integers(0, 5, 40).astype(float)
    b = a + rng.integers(0, 3, 40)

    def ranks(values):
        return [np.mean([place for place, one in enumerate(sorted(values), 1) if one == value]) for value in values]

    assert comparing.spearman(a, b) == pytest.approx(np.corrcoef(ranks(a), ranks(b))[0, 1])
    assert comparing.spearman(a, a**3) == pytest.approx(1.0)
    assert comparing.spearman(a, -a) == pytest.approx(-1.0)
    assert comparing.spearman(a, np.ones(40)) is None


def test_neighbourhoods_are_the_same_whatever_the_space_is_turned_to():
    rng = np.random.default_rng(2)
    a = unit(rng, 60, 8)
    turned = a @ np.linalg.qr(rng.standard_normal((8, 8)))[0].astype(np.float32)
    figures, each = comparing.neighbourhoods(a, turned) or pytest.fail("none")
    assert figures.spearman == pytest.approx(1.0, abs=1e-4)
    assert figures.overlap == 1.0
    assert (each == 1.0).all()
    figures, each = comparing.neighbourhoods(a, unit(rng, 60, 8)) or pytest.fail("none")
    assert (figures.frames, figures.nearest, figures.by_chance) == (60, 10, 10 / 59)
    assert abs(figures.spearman or 1.0) < 0.15
    assert figures.overlap == pytest.approx(figures.by_chance, abs=0.08)
    assert comparing.neighbourhoods(a[:2], turned[:2]) is None


def test_the_nearest_are_those_of_a_plain_search():
    rng = np.random.default_rng(3)
    a, b = unit(rng, 30, 4), unit(rng, 30, 6)
    figures, each = comparing.neighbourhoods(a, b) or pytest.fail("none")
    for row in range(30):
        near = [
            set(sorted((other for other in range(30) if other != row), key=lambda o: -float(v[o] @ v[row]))[:5])
            for v in (a, b)
        ]
        assert each[row] == len(near[0] & near[1]) / figures.nearest
    assert figures.nearest == 5
    assert comparing.most_alike(a, 4) == max((o for o in range(30) if o != 4), key=lambda o: float(a[o] @ a[4]))


def test_versions_of_a_model_have_a_cosine_for_each_frame():
    rng = np.random.default_rng(4)
    a = unit(rng, 5, 3)
    b = a.copy()
    b[3] = -a[3]
    figures, each = comparing.cosines(a, b, np.arange(5.0)) or pytest.fail("none")
    assert each == pytest.approx([1, 1, 1, -1, 1])
    assert (figures.mean, figures.lowest, figures.lowest_s) == (pytest.approx(0.6), pytest.approx(-1), 3.0)
    assert comparing.cosines(a[:0], b[:0], np.empty(0)) is None


def test_key_segments_are_kept_where_half_of_them_is():
    change = comparing.segment_change(spans((10, 14), (0, 4)), spans((1, 5), (13, 20)))
    assert change.overlap == pytest.approx(4 / 15)
    assert change.kept == 1
    assert [span.start_s for span in change.a] == [0, 10]
    assert comparing.segment_change((), ()).overlap == 1.0
    assert comparing.segment_change(spans((0, 1)), ()).overlap == 0.0


def test_frames_differ_by_labels_that_only_one_says_hold():
    a = np.array([[0.9, 0.2], [0.9, 0.2], [0.6, 0.6]])
    b = np.array([[0.8, 0.1], [0.4, 0.2], [0.4, 0.65]])
    half = np.array([0.5, 0.5])
    assert comparing.label_difference(a, b, half, half) == pytest.approx([0.0, 0.5, 0.2])
    assert comparing.label_difference(a, b, half, np.array([0.3, 0.7])) == pytest.approx([0.0, 0.0, 0.05])


def test_the_frames_furthest_apart_are_not_next_to_each_other():
    first = np.array([0.0, 0.9, 0.8, 0.0, 0.5, 0.0])
    second = np.array([0.0, 0.0, 0.0, 0.7, 0.0, 0.0])
    times_s = np.arange(6.0)
    assert comparing.furthest_apart([first, second], times_s, 10, 2.0) == (1, 4)
    assert comparing.furthest_apart([first, second], times_s, 10, 1.0) == (1, 2, 4, 3)
    assert comparing.furthest_apart([first, second], times_s, 2, 1.0) == (1, 2)
    assert comparing.furthest_apart([np.zeros(6)], times_s, 10, 1.0) == ()


# --- what both can say ----------------------------------------------------------------------------------------------


class Words:
    """A text side that knows a direction for each word."""

    def __init__(self, *words: str, known: frozenset[str] | None = None) -> None:
        self.words = words
        self.info = ModelInfo(name="words", version="1", space="w", dim=len(words))
        self.likelihood = Likelihood(scale=10.0, bias=-5.0)
        self.known_words = known

    def embed_text(self, texts: list[str]) -> np.ndarray:
        return np.array([[float(word in text.split()) for word in self.words] for text in texts], np.float32)


def scores(*labels: Score) -> Side:
    info = ModelInfo(name="s", version="1", space="s", dim=len(labels), kind="scores", scores=labels)
    return Side("b", info)


def test_an_encoder_is_asked_for_what_a_model_of_scores_knows():
    words = Words("red", "dog")
    encoder = Side("a", words.info, words)
    other = scores(Score("dog", threshold=0.8, parent="animal"), Score("shine", signal=True), Score("red", 0.3))
    both, notices = speakers(encoder, other)
    assert both is not None
    assert [[label.name for label in one.labels] for one in both] == [["dog", "red"], ["dog", "red"]]
    assert both[0].thresholds == pytest.approx([0.5, 0.5])
    assert both[1].thresholds == pytest.approx([0.8, 0.3])
    assert both[0].judge(np.array([[1.0, 0.0]], np.float32)) == pytest.approx(1 / (1 + np.exp([[5.0, -5.0]])))
    assert both[1].judge(np.array([[0.1, 0.2, 0.7]], np.float32)) == pytest.approx(np.array([[0.1, 0.7]]))
    assert notices == ()


def test_labels_that_only_one_has_are_left_out_and_told():
    words = Words("red", known=frozenset({"red"}))
    encoder = Side("a", words.info, words)
    asked = (Label(name="red"), Label(name="dog"), Label(name="cat"))
    both, notices = speakers(encoder, scores(Score("dog"), Score("red")), asked)
    assert both is not None
    assert [label.name for label in both[1].labels] == ["red", "dog"]
    assert [notice.code for notice in notices] == ["label_left_out", "unknown_label"]
    assert "cat" in notices[0].message
    assert "dog" in notices[1].message
    none, notices = speakers(encoder, scores(Score("shine", signal=True)), asked)
    assert none is None
    assert notices


def test_a_model_that_says_nothing_is_not_compared_by_labels():
    words = Words("red")
    vectors = Side("b", ModelInfo(name="v", version="1", space="v", dim=2))
    assert speakers(Side("a", words.info, words), vectors) == (None, ())


def test_where_one_knows_only_little_the_small_vocabulary_is_asked_for():
    small, large = Words("red", known=frozenset({"red"})), Words("red")
    for first, second, word, other in ((small, large, "red", "a wedding"), (large, large, "a wedding", "red")):
        both, _ = speakers(Side("a", first.info, first), Side("b", second.info, second))
        assert both is not None
        names = [label.name for label in both[1].labels]
        assert word in names
        assert other not in names


def test_what_is_said_of_a_frame_is_what_holds_or_what_comes_nearest():
    labels = [Label(name="red", threshold=0.9), Label(name="dog"), Label(name="cat")]
    assert [one.label for one in said(np.array([0.85, 0.6, 0.7]), labels)] == ["cat", "dog"]
    (nearest,) = said(np.array([0.85, 0.1, 0.2]), labels)
    assert (nearest.label, nearest.holds) == ("red", False)
