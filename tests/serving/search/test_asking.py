"""What an API process remembers of what it asked."""

import asyncio
from typing import Any

import numpy as np
import pytest

from serving.search import asking
from serving.search.asking import Asking


class Counted(Asking):
    """Answers itself, and notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__(None, None, None)  # type: ignore[arg-type] - nobody else is asked
        self.asked: list[list[str]] = []

    async def _ask(self, tenant: str, model: str, space: str, asked: Any) -> np.ndarray:
        self.asked.append(list(asked.texts))
        return np.array([[len(one), len(space)] for one in asked.texts], np.float32)


@pytest.mark.parametrize("remembered", [1, 2, 100])
def test_more_texts_than_are_remembered_are_answered(monkeypatch: pytest.MonkeyPatch, remembered: int):
    monkeypatch.setattr(asking, "_REMEMBERED", remembered)
    known = Counted()

    async def body() -> list[np.ndarray]:
        return [await known.texts("t", "m", "one", texts) for texts in (["a"], ["a", "bb", "ccc", "bb"])]

    first, second = asyncio.run(body())
    assert first.tolist() == [[1, 3]]
    assert second.tolist() == [[1, 3], [2, 3], [3, 3], [2, 3]]
    assert known.asked == [["a"], ["bb", "ccc"]]


def test_spaces_are_remembered_apart():
    known = Counted()
    both = [asyncio.run(known.texts("t", "m", space, ["a"])).tolist() for space in ("one", "other", "one")]
    assert both == [[[1, 3]], [[1, 5]], [[1, 3]]]
    assert known.asked == [["a"], ["a"]]
