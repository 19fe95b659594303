"""As many items as may be named: what is left out stays the same, and what is computed stays within bounds."""

import numpy as np
import pytest

from pipeline.diversity import DIGITS
from serving.copies.pairs import Stretch
from serving.recommending import recommending
from serving.recommending.items import Item, Known
from serving.recommending.relations import Relations
from serving.search.retrieving import Row

DIM, VIDEOS, PARTS = 16, 40, 5


class _Counting(Relations):
    """Counts what it is asked."""

    asked = 0

    def same(self, first: Row, second: Row, *, whole: bool) -> bool:
        self.asked += 1
        return super().same(first, second, whole=whole)

    def within(self, video: Row, part: Row) -> bool:
        self.asked += 1
        return super().within(video, part)


def _rows() -> list[Row]:
    return [Row(f"vid_{v:02d}", n, -1, n, float(n), n + 1.0) for v in range(VIDEOS) for n in range(PARTS)]


def _vectors(rows: int) -> np.ndarray:
    # Few that differ: many are as near as copies are.
    some = np.random.default_rng(1).standard_normal((30, DIM)).astype(np.float32)
    some /= np.linalg.norm(some, axis=1, keepdims=True)
    return some[np.random.default_rng(2).integers(0, len(some), rows)]


@pytest.mark.parametrize("kind", ["segments", "videos"])
def test_what_shows_the_same_is_found_by_pairs_and_by_one_product(kind):
    rows = _rows()
    vectors = _vectors(len(rows))
    shared = Stretch(first_start_s=0, first_end_s=3, second_start_s=1, second_end_s=4, speed=1, likeness=1, moments=6)
    pairs = {(f"vid_{a:02d}", f"vid_{a + 7:02d}"): (a % 2 == 0, (shared,)) for a in range(0, 30, 3)}
    own = [
        Known(Item("video" if at % 3 == 0 else "segment", rows[at].video_id, rows[at].position), rows[at], vectors[at])
        for at in range(0, len(rows), 4)
    ]
    candidates = recommending._Candidates(rows, vectors, None, "")
    relations = _Counting(pairs)
    hidden = recommending._hidden(own, candidates, relations, kind)
    asked = relations.asked
    assert hidden == _one_by_one(own, rows, vectors, relations, kind)
    assert len(hidden) > 20
    assert any(one.copy for one, _ in hidden.values())
    assert not all(one.copy for one, _ in hidden.values())
    # Of two videos that share something, each part with each; of others none.
    assert 0 < asked <= 2 * len(pairs) * PARTS * PARTS < len(own) * len(rows) / 10


def _one_by_one(own, rows, vectors, relations, kind):
    hidden = {}
    for one in own:
        near = np.round((vectors @ one.vector).astype(np.float64), DIGITS)
        for at, row in enumerate(rows):
            part = kind == "segments" and one.item.kind == "video"
            same = relations.within(one.row, row) if part else relations.same(one.row, row, whole=kind == "videos")
            similarity = 1.0 if same else float(near[at])
            found = same or similarity >= recommending.SAME[kind]
            if found and (at not in hidden or similarity > hidden[at][0].similarity):
                hidden[at] = recommending.Hidden(row, similarity, same), one.item.name
    return hidden


def test_candidates_of_many_probes_are_bounded_and_are_the_nearest_of_each(monkeypatch):
    monkeypatch.setattr(recommending, "_MOST", 10)
    rows, vectors = _rows(), _vectors(VIDEOS * PARTS)
    own = [Known(Item("segment", row.video_id, row.position), row, vectors[at]) for at, row in enumerate(rows[:20])]
    every = recommending._Candidates(rows, vectors, None, "")
    probes = [vectors[40], vectors[41], vectors[41]]
    found = [recommending._nearest_others(every, own, probe, 8) for probe in probes]
    assert [len(one.rows) for one in found] == [8, 8, 8]
    pooled = recommending._pooled(found)
    keys = [row.key for row in pooled.rows]
    assert len(keys) == 10
    assert keys == sorted(set(keys))
    assert not {row.key for row in rows[:20]} & set(keys)
    assert {one.rows[at].key for one in found for at in range(3)} <= set(keys)
    places = [rows.index(row) for row in pooled.rows]
    assert np.array_equal(pooled.vectors, vectors[places])
