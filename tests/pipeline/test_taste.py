"""Recommendations from likes and dislikes, and for somebody of whom nothing is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import taste
from pipeline.diversity import Near
from pipeline.taste import Taste, beginning, recommend
from tests.pipeline.test_diversity import names, unit

CLUSTERS, MEMBERS = 6, 10


def planted(seed: int) -> tuple[list[str], np.ndarray]:
    """Six clusters of ten; item n belongs to cluster n // 10."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(unit(rng, CLUSTERS, 24), MEMBERS, axis=0)
    rows = centres + 0.3 * unit(rng, len(centres), 24)
    return names(len(rows)), rows / np.linalg.norm(rows, axis=1, keepdims=True)


def somebody(items, vectors, liked=(), disliked=()) -> Taste:
    return Taste(
        tuple(items[row] for row in liked),
        vectors[list(liked)],
        tuple(items[row] for row in disliked),
        vectors[list(disliked)],
    )


def clusters(picks) -> list[int]:
    return [int(pick.item.removeprefix("item-")) // MEMBERS for pick in picks]


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_what_is_like_the_liked_comes_first_and_says_so(seed):
    items, vectors = planted(seed)
    picks = recommend(somebody(items, vectors, [0, 1]), items, vectors, 8, diversity=0.1, same_from=2.0)
    assert clusters(picks) == [0] * 8
    for pick in picks:
        assert pick.item not in ("item-000", "item-001")
        assert pick.because_of is not None
        row = items.index(pick.item)
        nearest = max((0, 1), key=lambda liked: vectors[row] @ vectors[liked])
        assert pick.because_of == Near(items[nearest], pytest.approx(vectors[row] @ vectors[nearest], abs=1e-5))
        assert pick.despite is None


def test_two_interests_are_both_served():
    items, vectors = planted(1)
    picks = recommend(somebody(items, vectors, [0, 20]), items, vectors, 10, diversity=0.3, same_from=2.0)
    assert {0, 2} <= set(clusters(picks))


def test_what_is_like_the_disliked_falls_behind():
    items, vectors = planted(2)
    between = vectors[0] + vectors[10]
    vectors[59] = between / np.linalg.norm(between)  # as near to the liked as to the disliked
    liking = recommend(somebody(items, vectors, [0]), items, vectors, 40, diversity=0.0, same_from=2.0)
    both = recommend(somebody(items, vectors, [0], [10]), items, vectors, 40, diversity=0.0, same_from=2.0)
    before, after = ([pick.item for pick in picks].index("item-059") for picks in (liking, both))
    assert after >= before
    cost = {pick.item: pick for pick in both}["item-059"]
    assert cost.despite == Near("item-010", pytest.approx(vectors[59] @ vectors[10], abs=1e-5))
    assert cost.relevance < {pick.item: pick for pick in liking}["item-059"].relevance
    assert not {1} & set(clusters(both[:9]))


@given(seed=st.integers(0, 1000), liked=st.lists(st.integers(0, 59), max_size=3, unique=True))
@settings(max_examples=30, deadline=None)
def test_the_order_of_candidates_and_likes_changes_nothing(seed, liked):
    items, vectors = planted(seed)
    rng = np.random.default_rng(seed)
    quality, disliked, order = rng.choice([0.3, 0.7], 60), [5, 42], rng.permutation(60)
    disliked = [row for row in disliked if row not in liked]
    one = recommend(somebody(items, vectors, liked, disliked), items, vectors, 12, quality=quality)
    other = recommend(
        somebody(items, vectors, liked, disliked),
        [items[row] for row in order],
        vectors[order],
        12,
        quality=quality[order],
    )
    assert [pick.item for pick in one] == [pick.item for pick in other]
    # Sums in another order may end on the other side of a rounding.
    numbers = [[(pick.score, pick.relevance, pick.penalty) for pick in picks] for picks in (one, other)]
    assert np.allclose(*numbers, rtol=0, atol=2e-6)
    again = recommend(somebody(items, vectors, liked[::-1], disliked[::-1]), items, vectors, 12, quality=quality)
    assert [pick.item for pick in again] == [pick.item for pick in one]


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_start_shows_what_there_is_and_the_best_of_it(seed):
    items, vectors = planted(seed)
    quality = np.full(60, 0.5)
    quality[3::MEMBERS] = 1.0
    picks = beginning(items, vectors, quality, CLUSTERS)
    assert sorted(clusters(picks)) == list(range(CLUSTERS))
    assert np.mean([pick.relevance for pick in picks]) > 0.7
    assert sum(pick.represents for pick in picks) == pytest.approx(1.0)


def test_without_likes_what_is_like_the_disliked_comes_last():
    items, vectors = planted(3)
    picks = recommend(somebody(items, vectors, disliked=[0, 1]), items, vectors, 5)
    assert 0 not in clusters(picks)


def test_of_a_start_duplicates_and_copies_stand_behind_the_best_of_them():
    items, vectors = planted(3)
    twins = np.concatenate([vectors, vectors[:5]])
    groups = np.full(len(twins), -1)
    groups[[20, 31, 42]] = 20
    quality = np.linspace(0.2, 0.9, len(twins))
    order = np.random.default_rng(0).permutation(len(twins))
    every = [*items, *(f"twin-{number}" for number in range(5))]
    picks = beginning(
        [every[row] for row in order],
        twins[order],
        quality[order],
        len(twins),
        same_from=0.999,
        copies=groups[order],
    )
    behind = {pick.item: pick.stands_for for pick in picks if pick.stands_for}
    for number in range(5):
        assert behind.pop(f"twin-{number}") == (Near(items[number], 1.0),)
    # Of known copies the best is shown, however little they look alike.
    ((item, others),) = behind.items()
    assert item == items[42]
    assert {one.item for one in others} == {items[20], items[31]}
    assert len(picks) == len(twins) - 7
    assert len(beginning(every, twins, quality, len(twins))) == len(twins)


def test_a_start_is_quick_where_there_is_much(monkeypatch):
    monkeypatch.setattr(taste, "POOL", 40)
    monkeypatch.setattr(taste, "LIBRARY", 20)
    rng = np.random.default_rng(4)
    vectors, quality = unit(rng, 500), rng.uniform(0, 1, 500)
    picks = beginning(names(500), vectors, quality, 10)
    assert len({pick.item for pick in picks}) == 10
    assert beginning([], np.zeros((0, 3), np.float32), np.zeros(0), 3) == ()
    assert len(beginning(["a", "b"], np.eye(2, dtype=np.float32), np.ones(2), 9)) == 2


def test_wrong_arguments():
    with pytest.raises(ValueError, match="do not fit"):
        Taste(("a",), np.zeros((2, 3)), (), np.zeros((0, 3)))
    with pytest.raises(ValueError, match="do not fit"):
        beginning(["a"], np.zeros((2, 3)), np.zeros(2), 1)
