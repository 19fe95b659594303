"""Tenants with the same videos never find each other's: by every query, and by the database where a query forgets."""

import pytest

from tests.serving.api.unscoped import unscoped
from tests.serving.search.conftest import analysed, found, worked


@pytest.mark.parametrize("scoped", [True, False])
def test_the_same_videos_are_found_by_their_owners_only(call, toolkit, films, scoped):
    async def body(api):
        async with worked(api, toolkit):
            some = {"third": films["third"]}
            mine, theirs = await analysed(api.a, some), await analysed(api.b, some)
            assert mine != theirs
            queries = (
                [{"text": "a red square"}],
                [{"text": "third"}],
                [{"moment": {"video_id": "MINE", "at_s": 0.5}}],
                [{"segment": {"video_id": "MINE", "index": 0}}],
            )
            if scoped:
                await _seen_apart(api, queries, mine["third"], theirs["third"])
                return
            with unscoped() as rewritten:
                await _seen_apart(api, queries, mine["third"], theirs["third"])
            assert {"moment", "segment_vector", "video", "space"} <= rewritten.tables

    call(body)


async def _seen_apart(api, queries, mine: str, theirs: str) -> None:
    for client, own, other in ((api.a, mine, theirs), (api.b, theirs, mine)):
        for query in queries:
            for group_by in ("moments", "segments", "videos"):
                parts = [_named(part, own) for part in query]
                page = await found(client, *parts, group_by=group_by, min_score=0.0)
                assert {one["video_id"] for one in page["data"]} <= {own}
                if group_by != "segments":
                    assert page["data"], "nothing was there to be seen"
                foreign = [_named(part, other) for part in query]
                if foreign != parts:
                    answer = await client.post("/v1/search", json={"query": foreign, "group_by": group_by})
                    assert answer.status_code == 404
        only = {"video_ids": [other]}
        assert (await found(client, {"text": "a red square"}, where=only, min_score=0.0))["data"] == []


def _named(part: dict, video: str) -> dict:
    return {kind: {**value, "video_id": video} if isinstance(value, dict) else value for kind, value in part.items()}
