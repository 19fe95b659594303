"""Results that are one for each shot or video, in libraries where one video has more frames than are looked at."""

import numpy as np
import pytest

from models.base import Likelihood
from pipeline.finding import Part
from pipeline.indexing import Index
from serving.db.database import SYSTEM
from serving.db.media import Video
from serving.db.search import Space
from serving.search import searching
from serving.search.retrieving import Where
from serving.search.searching import Answered, Asked, Libraries
from serving.search.writing import write_vectors
from tests.serving.jobs.conftest import run, url

__all__ = ["run", "url"]

SPACE, DIM = "drawn", 8

#: Each of the others is a little less like what is looked for than the one before.
OTHERS = 6


def _looking(angle: float, samples: int) -> np.ndarray:
    """float32 [samples, DIM], this far from the first axis."""
    return np.tile(np.eye(DIM, dtype=np.float32)[0] * np.cos(angle) + np.eye(DIM)[1] * np.sin(angle), (samples, 1))


async def _put(world, name: str, vectors: np.ndarray, title: str = "t") -> None:
    at_s = np.arange(len(vectors), dtype=np.float64)
    async with world.database.write("video.write", SYSTEM) as session:
        session.add(Video(id=name, tenant_id="a", title=title, size_bytes=1, sha256=name, object_key=name))
        await session.flush()
        index = Index(
            space=SPACE,
            model="bundled",
            likelihood=Likelihood(10.0, -1.0),
            pts_s=at_s,
            starts_s=at_s,
            ends_s=at_s + 1,
            shots=np.zeros(len(vectors), np.int64),
            vectors=vectors.astype(np.float32),
            segments=(),
            segment_vectors=np.zeros((0, DIM), np.float32),
        )
        await write_vectors(session, "a", name, index)


async def _answer(world, group_by, where: Where | None = None, said: str = "", **more) -> Answered:
    space = Space(tenant_id="a", space=SPACE, dim=DIM, model="bundled", scale=10.0, bias=-1.0)
    parts = (Part("picture", 1.0, "the picture", np.eye(DIM, dtype=np.float32)[0]),)
    asked = Asked("a", space, parts, said, where or Where(), group_by, **more)
    async with world.database.read("a") as session:
        return await searching.answer(session, asked, Libraries())


@pytest.mark.parametrize("group_by", ["moments", "videos"])
@pytest.mark.parametrize("still", [300, 1100])
def test_a_long_still_video_does_not_hide_the_others(run, group_by, still):
    async def body(world):
        await _put(world, "vid_still", _looking(0.0, still))
        names = [f"vid_{number}" for number in range(OTHERS)]
        for number, name in enumerate(names):
            await _put(world, name, _looking(0.1 * (number + 1), 3))
        answered = await _answer(world, group_by)
        assert [one.row.video_id for one in answered.results] == ["vid_still", *names]
        assert not answered.cut

    run(body)


def test_there_is_another_page_as_long_as_candidates_were_cut_off(run, monkeypatch):
    monkeypatch.setattr(searching, "_CANDIDATES", 10)

    async def body(world):
        for number in range(OTHERS):
            await _put(world, f"vid_{number}", _looking(0.1 * number, 10))
        first = await _answer(world, "videos", limit=1)
        assert first.cut
        assert [one.row.video_id for one in first.results] == ["vid_0", "vid_1", "vid_2"]
        last = await _answer(world, "videos", seen=OTHERS - 1, limit=1)
        assert len(last.results) == OTHERS

    run(body)


def test_each_video_that_is_spoken_of_is_looked_at_where_it_is(run, monkeypatch):
    """However many frames of the others are nearer."""
    monkeypatch.setattr(searching, "_CANDIDATES", 5)

    async def body(world):
        await _put(world, "vid_still", _looking(0.0, 30), "harbour")
        await _put(world, "vid_other", _looking(1.2, 3), "harbour")
        answered = await _answer(world, "moments", said="harbour", limit=0)
        assert {one.row.video_id for one in answered.results} == {"vid_still", "vid_other"}
        assert all(one.said is not None for one in answered.results)

    run(body)


def test_words_choose_among_the_videos_that_the_filters_leave(run, monkeypatch):
    monkeypatch.setattr(searching.words, "MAX_VIDEOS", 1)
    monkeypatch.setattr(searching.words, "_MAX_ROWS", 2)
    monkeypatch.setattr(searching, "_CANDIDATES", 1)

    async def body(world):
        for number in range(OTHERS):
            await _put(world, f"vid_{number}", _looking(0.1 * number, 3), "harbour")
        # The last one is neither near nor, of those that are told alike, the first.
        left = Where(video_ids=("vid_2", "vid_5"), after_s=2.5)
        await _put(world, "vid_2a", _looking(0.0, 2), "harbour")
        answered = await _answer(world, "moments", left, "harbour", limit=0)
        assert [(one.row.video_id, one.said is not None) for one in answered.results] == [("vid_2", True)]
        told = await _answer(world, "moments", Where(video_ids=("vid_5", "vid_2a"), after_s=2.5), "harbour", limit=0)
        assert [(one.row.video_id, one.said is not None) for one in told.results] == [("vid_5", True)]
        assert told.rarity == answered.rarity

    run(body)
