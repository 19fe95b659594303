"""Picks that are relevant and not all the same, beside a slow computation; and what they say of themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.diversity import Near, diversify, spread


def unit(rng: np.random.Generator, count: int, dim: int = 16) -> np.ndarray:
    rows = rng.standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def names(count: int) -> list[str]:
    return [f"item-{number:03d}" for number in range(count)]


def slowly(items: list[str], vectors: np.ndarray, relevance: np.ndarray, count: int, diversity: float) -> list[str]:
    """Maximal marginal relevance, word by word."""
    left, picked = sorted(range(len(items)), key=items.__getitem__), []
    while left and len(picked) < count:

        def score(row: int) -> tuple[float, float]:
            near = max((float(vectors[row].astype(float) @ vectors[one].astype(float)) for one in picked), default=0.0)
            return round((1 - diversity) * relevance[row] - diversity * max(near, 0.0), 6), relevance[row]

        best = max(left, key=score)
        left.remove(best)
        picked.append(best)
    return [items[row] for row in picked]


@given(seed=st.integers(0, 10_000), diversity=st.sampled_from([0.0, 0.3, 0.7, 1.0]))
@settings(max_examples=40, deadline=None)
def test_it_is_maximal_marginal_relevance(seed, diversity):
    rng = np.random.default_rng(seed)
    items, vectors, relevance = names(40), unit(rng, 40), np.round(rng.uniform(0, 1, 40), 6)
    picks = diversify(items, vectors, relevance, 12, diversity=diversity, same_from=2.0)
    assert [pick.item for pick in picks] == slowly(items, vectors, relevance, 12, diversity)


@given(seed=st.integers(0, 10_000), diversity=st.floats(0, 1), same_from=st.sampled_from([0.4, 0.98]))
@settings(max_examples=40, deadline=None)
def test_the_order_of_candidates_changes_nothing(seed, diversity, same_from):
    rng = np.random.default_rng(seed)
    items, vectors, relevance = names(60), unit(rng, 60), rng.choice([0.2, 0.5, 0.9], 60)
    vectors[30:40] = vectors[:10]  # equal ones, so that ids decide
    copied = rng.integers(-1, 4, 60)
    order = rng.permutation(60)
    picks = diversify(items, vectors, relevance, 20, diversity=diversity, same_from=same_from, copies=copied)
    assert picks == diversify(
        [items[row] for row in order],
        vectors[order],
        relevance[order],
        20,
        diversity=diversity,
        same_from=same_from,
        copies=copied[order],
    )


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_everything_is_picked_or_stood_for_once(seed):
    rng = np.random.default_rng(seed)
    items, vectors = names(50), unit(rng, 50, 3)
    picks = diversify(items, vectors, rng.uniform(0, 1, 50), 50, same_from=0.9)
    told = [pick.item for pick in picks] + [one.item for pick in picks for one in pick.stands_for]
    assert sorted(told) == items
    where = {item: row for row, item in enumerate(items)}
    for pick in picks:
        for one in pick.stands_for:
            assert one.similarity == pytest.approx(vectors[where[pick.item]] @ vectors[where[one.item]], abs=1e-5)
            assert one.similarity >= 0.9 - 1e-6


def test_the_ends_of_the_trade_off():
    rng = np.random.default_rng(3)
    items, relevance = names(200), rng.uniform(0, 1, 200)
    vectors = np.abs(unit(rng, 200, 8))  # as in most spaces, nothing is the opposite of anything
    top = [items[row] for row in np.argsort(-relevance)[:10]]
    assert [pick.item for pick in diversify(items, vectors, relevance, 10, diversity=0.0, same_from=2.0)] == top
    spreads = []
    for diversity in (0.0, 0.3, 0.6, 1.0):
        picks = diversify(items, vectors, relevance, 10, diversity=diversity, same_from=2.0)
        spreads.append(spread(vectors[[items.index(pick.item) for pick in picks]]))
    assert spreads == sorted(spreads)
    assert spreads[-1] > 1.1 * spreads[0]


def test_a_pick_says_what_it_was_penalised_for():
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    first, second, third = diversify(["a", "b", "c"], vectors, np.array([0.9, 0.8, 0.1]), 3, diversity=0.5)
    assert (first.item, first.penalty, first.like) == ("a", 0.0, None)
    # c: 0.5 x 0.1 - 0 = 0.05; b: 0.5 x 0.8 - 0.5 x 0.8 = 0
    assert (second.item, second.score, second.like) == ("c", pytest.approx(0.05), None)
    assert third.item == "b"
    assert third.like == Near("a", pytest.approx(0.8))
    assert third.score == pytest.approx(0.5 * 0.8 - 0.5 * 0.8)


def test_known_copies_are_hidden_whatever_they_look_like():
    vectors = np.eye(4, dtype=np.float32)
    picks = diversify(["a", "b", "c", "d"], vectors, np.array([0.9, 0.8, 0.7, 0.6]), 4, copies=np.array([3, -1, 3, -1]))
    assert [pick.item for pick in picks] == ["a", "b", "d"]
    assert picks[0].stands_for == (Near("c", 1.0),)


def test_wrong_arguments():
    vectors = np.eye(2, dtype=np.float32)
    assert diversify([], np.zeros((0, 3)), np.zeros(0), 5) == ()
    with pytest.raises(ValueError, match="do not fit"):
        diversify(["a"], vectors, np.zeros(2), 1)
    with pytest.raises(ValueError, match="twice"):
        diversify(["a", "a"], vectors, np.zeros(2), 1)
    with pytest.raises(ValueError, match="diversity"):
        diversify(["a", "b"], vectors, np.zeros(2), 1, diversity=1.5)
    with pytest.raises(ValueError, match="no distance"):
        spread(vectors[:1])
