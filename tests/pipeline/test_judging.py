"""Tags with what people said of them."""

import random

import pytest

from pipeline.judging import CORRECTED, Judgement, judged
from pipeline.report import Source, Tag, TagRange
from pipeline.tags import tag_of

SOURCE = Source(name="model", version="space")
PARENTS = {"dog": "animal", "cat": "animal", "rain": None}


def tag(label: str, *spans: tuple[float, float, float]) -> Tag:
    ranges = tuple(TagRange(start_s=start, end_s=end, score=score) for start, end, score in spans)
    return tag_of("tag", label, PARENTS[label], ranges, 20.0, SOURCE)


def after(found: list[Tag], *said: Judgement) -> dict[str, tuple]:
    """Name -> (source, its ranges)."""
    out = judged(found, said, PARENTS, duration_s=20.0, source=SOURCE)
    assert [one.kind for one in out] == sorted((one.kind for one in out), reverse=True)
    return {
        one.label: (one.source.name, [(span.start_s, span.end_s, span.score) for span in one.ranges]) for one in out
    }


def test_without_a_word_it_is_as_it_was_found():
    assert after([tag("dog", (1.0, 5.0, 0.8))]) == {
        "dog": ("model", [(1.0, 5.0, 0.8)]),
        "animal": ("model", [(1.0, 5.0, 0.8)]),
    }


@pytest.mark.parametrize(
    ("start_s", "end_s", "left"),
    [
        (0.0, 2.0, [(2.0, 6.0, 0.8)]),
        (5.0, 9.0, [(1.0, 5.0, 0.8)]),
        (3.0, 4.0, [(1.0, 3.0, 0.8), (4.0, 6.0, 0.8)]),
        (8.0, 9.0, [(1.0, 6.0, 0.8)]),
        (6.0, 9.0, [(1.0, 6.0, 0.8)]),
        (1.0, 6.0, None),
        # What was rejected for the most part does not come back as its edges.
        (1.5, 5.5, None),
        (0.0, None, None),
    ],
)
def test_what_is_rejected_is_gone(start_s, end_s, left):
    found = after([tag("dog", (1.0, 6.0, 0.8))], Judgement("dog", False, start_s, end_s))
    assert found.get("dog") == (left and ("model", left))
    assert ("animal" in found) == (left is not None)


def test_what_is_accepted_is_certain_and_the_rest_stays():
    found = after([tag("dog", (1.0, 6.0, 0.8))], Judgement("dog", True, 4.0, 8.0))
    assert found["dog"] == (CORRECTED, [(1.0, 4.0, 0.8), (4.0, 8.0, 1.0)])
    assert found["animal"] == ("model", [(1.0, 8.0, 1.0)])


def test_what_nobody_found_may_be_there():
    assert after([], Judgement("cat", True, 2.0, 3.0)) == {
        "cat": (CORRECTED, [(2.0, 3.0, 1.0)]),
        "animal": ("model", [(2.0, 3.0, 1.0)]),
    }
    assert after([], Judgement("cat", False)) == {}
    assert after([], Judgement("unicorn", True)) == {}


def test_the_latest_holds():
    first, second = Judgement("rain", True, 0.0, 10.0), Judgement("rain", False, 2.0, 9.0)
    assert after([], first, second)["rain"][1] == [(0.0, 2.0, 1.0), (9.0, 10.0, 1.0)]
    assert after([], second, first)["rain"][1] == [(0.0, 10.0, 1.0)]


def test_of_a_category_it_is_said_of_the_category():
    dog = tag("dog", (1.0, 6.0, 0.8))
    found = after([dog], Judgement("animal", False))
    assert found == {"dog": ("model", [(1.0, 6.0, 0.8)])}
    assert after([], Judgement("animal", True, 1.0, 2.0)) == {"animal": (CORRECTED, [(1.0, 2.0, 1.0)])}


def test_of_much_that_was_said_the_latest_holds_everywhere():
    draw = random.Random(3)
    said = []
    for _ in range(300):
        start_s = draw.randrange(200) / 10
        said.append(Judgement("dog", draw.random() < 0.5, start_s, start_s + draw.randrange(1, 40) / 10))
    found = after([tag("dog", (0.0, 20.0, 0.8))], *said)["dog"][1]
    for at_s in (tenth / 10 + 0.05 for tenth in range(200)):
        (latest,) = [one.accepted for one in said if one.start_s <= at_s < (one.end_s or 0.0)][-1:] or [None]
        (score,) = [span[2] for span in found if span[0] <= at_s < span[1]] or [None]
        # What nothing was said of stays only where no piece of the model's stretch was rejected for the most part.
        assert (score == 1.0) == (latest is True), at_s
        assert latest is not False or score is None
    assert found == sorted(found)


def test_thousands_of_stretches_are_as_they_were_said():
    said = [Judgement("rain", True, number / 256, (number + 0.5) / 256) for number in reversed(range(4000))]
    assert len(after([], *said)["rain"][1]) == 4000
