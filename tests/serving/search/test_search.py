"""Searches over HTTP, in videos that were really analysed."""

import base64
import io

from PIL import Image

from serving.api.page import decode_cursor, encode_cursor
from serving.search.catching_up import catch_up
from tests.serving.search.conftest import Fixed, analysed, found, picture, worked


def encoded(name: str, kind: str = "JPEG") -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture(name)).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def test_what_is_there_is_found_and_what_is_not_is_not(call, toolkit, films):
    async def body(api):
        async with worked(api, toolkit):
            ids = await analysed(api.a, films)
            # By a text, with the stretch in which it is to be seen and why.
            page = await found(api.a, {"text": "a red circle"})
            best = page["data"][0]
            assert best["video_id"] == ids["first"]
            assert 0 <= best["start_s"] <= best["thumbnail_s"] < best["end_s"] <= 3.1
            assert best["reasons"][0]["signal"] == "look"
            assert best["reasons"][0]["about"] == "a red circle"
            assert {one["video_id"] for one in page["data"]} == {ids["first"]}
            # What is not there has no answer, but tells how near it came.
            nothing = await found(api.a, {"text": "a purple arrow"})
            assert nothing["data"] == []
            assert 0 <= nothing["best_rejected"]["score"] < 0.7
            foreign = await found(api.a, {"text": "a giraffe in a forest"})
            assert foreign["data"] == []
            # By pictures, of each kind.
            for kind in ("JPEG", "PNG", "WEBP"):
                seen = await found(api.a, {"image": encoded("green star", kind)})
                assert seen["data"][0]["video_id"] == ids["second"], kind
                assert seen["data"][0]["end_s"] <= 3.1
                # With what its model calls it, there and here.
                assert seen["data"][0]["reasons"][0]["both"] == "a green star", kind
            # By what is there already.
            like = await found(api.a, {"moment": {"video_id": ids["first"], "at_s": 1.0}})
            assert like["data"][0]["video_id"] == ids["first"]
            segments = (await api.a.get(f"/v1/videos/{ids['second']}/segments")).json()
            like = await found(api.a, {"segment": {"video_id": ids["second"], "index": 0}}, group_by="segments")
            assert like["data"][0] | {"reasons": 0} == like["data"][0] | {"reasons": 0, "segment": 0}
            assert like["data"][0]["start_s"] == segments[0]["start_s"]
            # Several things at once, and what is not wanted.
            both = await found(api.a, {"text": "a red object"}, {"text": "a circle", "weight": -1.0})
            assert both["data"][0]["video_id"] == ids["third"]
            assert ids["first"] not in {one["video_id"] for one in both["data"]}
            # As videos, each once.
            red = await found(api.a, {"text": "a red object"}, group_by="videos")
            assert sorted(one["video_id"] for one in red["data"]) == sorted((ids["first"], ids["third"]))

    call(body)


def test_filters_are_part_of_the_query(call, toolkit, films):
    async def body(api):
        async with worked(api, toolkit):
            ids = await analysed(api.a, films, labels=[{"name": "red circle"}, {"name": "blue square"}])
            red = {"text": "a red object"}
            await api.a.patch(f"/v1/videos/{ids['third']}", json={"labels": ["kept"], "user_metadata": {"year": 2024}})

            async def videos(where: dict, **more) -> set[str]:
                page = await found(api.a, red, where=where, words=False, **more)
                return {one["video_id"] for one in page["data"]}

            assert await videos({}) == {ids["first"], ids["third"]}
            assert await videos({"video_ids": [ids["third"], ids["second"]]}) == {ids["third"]}
            assert await videos({"label": "kept"}) == {ids["third"]}
            assert await videos({"metadata": ["year:2024"]}) == {ids["third"]}
            assert await videos({"q": "thi"}) == {ids["third"]}
            assert await videos({"min_duration_s": 5.0}) == {ids["first"]}
            assert await videos({"created_after": "2100-01-01T00:00:00Z"}) == set()
            assert await videos({"after_s": 3.2}) == set()
            assert await videos({"before_s": 3.0}) == {ids["first"], ids["third"]}
            # A tag holds in its stretch only.
            tags = (await api.a.get(f"/v1/videos/{ids['first']}/tags")).json()
            assert "red circle" in {tag["label"] for tag in tags}
            assert await videos({"holds": "red circle"}) == {ids["first"]}
            assert await videos({"before_s": 2.5}, min_score=0.0) == set(ids.values())
            assert await videos({"holds": "red circle", "before_s": 2.5}, min_score=0.0) == {ids["first"]}
            assert await videos({"after_s": 4.0}, min_score=0.0) == {ids["first"], ids["second"]}
            assert await videos({"holds": "red circle", "after_s": 4.0}, min_score=0.0) == set()
            assert await videos({"holds": "no such label"}) == set()

    call(body)


def test_what_is_said_counts_and_says_so(call, toolkit, films):
    async def body(api):
        async with worked(api, toolkit):
            ids = await analysed(api.a, films)
            await api.a.patch(f"/v1/videos/{ids['second']}", json={"title": "Harbour festivals at night"})
            page = await found(api.a, {"text": "a festival in the harbour"}, group_by="videos")
            assert [one["video_id"] for one in page["data"]] == [ids["second"]]
            reason = page["data"][0]["reasons"][-1]
            assert (reason["signal"], reason["about"]) == ("words", "title")
            assert reason["words"] == ["festiv", "harbour"]
            assert (await found(api.a, {"text": "a festival in the harbour"}, words=False))["data"] == []
            await api.a.patch(f"/v1/videos/{ids['second']}", json={"title": "Other"})
            assert (await found(api.a, {"text": "a festival in the harbour"}))["data"] == []

    call(body)


def test_pages_follow_one_another(call, toolkit, films, tmp_path):
    # Other bytes that show the same: an empty box at the end.
    (tmp_path / "more.mp4").write_bytes(films["third"].read_bytes() + b"\0\0\0\x08free")

    async def body(api):
        async with worked(api, toolkit):
            await analysed(api.a, films)
            query = {"query": [{"text": "a red circle"}], "min_score": 0.0}
            whole = (await api.a.post("/v1/search", json=query)).json()["data"]
            assert len(whole) >= 3
            seen, cursor = [], None
            while True:
                page = (await api.a.post("/v1/search", json={**query, "limit": 1, "cursor": cursor})).json()
                seen += page["data"]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
                # What comes meanwhile does not move what was there.
                if len(seen) == 1:
                    await analysed(api.a, {"more": tmp_path / "more.mp4"})
            assert [one for one in seen if one["title"] != "more.mp4"] == whole
            other = await api.a.post(
                "/v1/search", json={"query": [{"text": "a star"}], "cursor": "bm90IGEgY3Vyc29y", "limit": 2}
            )
            assert other.status_code == 400

    call(body)


def test_a_cursor_that_was_made_up_is_refused(call, toolkit, films):
    async def body(api):
        async with worked(api, toolkit):
            ids = await analysed(api.a, films)
            asked = {"query": [{"text": "a red circle"}], "min_score": 0.0, "limit": 1}
            cursor = (await api.a.post("/v1/search", json=asked)).json()["next_cursor"]
            place = decode_cursor(cursor, list)
            for at, made_up in (
                (4, -1),
                (5, [[1.5, 0.0]]),
                (5, [[0.0, 0.0]]),
                (6, {"star": 0.0}),
                (6, {"star": 1e300}),
            ):
                wrong = encode_cursor([*place[:at], made_up, *place[at + 1 :]])
                answer = await api.a.post("/v1/search", json={**asked, "cursor": wrong})
                assert answer.status_code == 400, (at, made_up, answer.text)
            assert (await api.a.post("/v1/search", json={**asked, "cursor": cursor})).status_code == 200
            alike = {**asked, "query": [{"moment": {"video_id": ids["first"], "at_s": 0}}]}
            place = decode_cursor((await api.a.post("/v1/search", json=alike)).json()["next_cursor"], list)
            wrong = encode_cursor([*place[:5], [[0.0, 0.0]], *place[6:]])
            assert (await api.a.post("/v1/search", json={**alike, "cursor": wrong})).status_code == 400

    call(body)


def test_what_is_analysed_again_is_found_once_and_what_is_deleted_is_not(call, toolkit, films):
    async def body(api):
        async with worked(api, toolkit):
            first = await analysed(api.a, {"first": films["first"]})
            counts = "SELECT count(*), count(DISTINCT position) FROM moment"
            before = await api.world.sql(counts)
            job = await api.a.post("/v1/jobs", json={"video_id": first["first"], "spec": {"sampling": {"fps": 2.0}}})
            assert job.status_code == 202
            await analysed(api.a, {"third": films["third"]})
            ((every, _),) = await api.world.sql(counts + " WHERE video_id = :video", video=first["first"])
            assert every == before[0][0]
            await api.a.delete(f"/v1/videos/{first['first']}")
            left = await api.world.sql("SELECT video_id FROM moment UNION ALL SELECT video_id FROM segment_vector")
            assert first["first"] not in {row[0] for row in left}
            page = await found(api.a, {"text": "a red circle"}, min_score=0.0)
            assert first["first"] not in {one["video_id"] for one in page["data"]}

    call(body)


def test_refusals_say_what_is_wrong(call, toolkit, films):
    async def body(api):
        ask = {"query": [{"text": "a star"}]}
        # Nothing was analysed: nothing is there to be found, and no model need be asked.
        assert (await api.a.post("/v1/search", json=ask)).json()["data"] == []
        assert (await api.a.post("/v1/search", json={**ask, "space": "other"})).status_code == 404
        async with worked(api, toolkit):
            ids = await analysed(api.a, {"first": films["first"]})
            for wrong, where in (
                ([{}], "/query/0"),
                ([{"text": "a", "image": "aGk="}], "/query/0"),
                ([{"text": "a", "weight": 0}], "/query/0/weight"),
                ([{"text": "a", "weight": -1}], "/query"),
                ([{"image": "no base64"}], "/query/0/image"),
            ):
                answer = await api.a.post("/v1/search", json={"query": wrong})
                assert answer.status_code == 400, answer.text
                assert answer.json()["errors"][0]["pointer"] == where
            text = base64.b64encode(b"no picture").decode()
            answer = await api.a.post("/v1/search", json={"query": [{"image": text}]})
            assert (answer.status_code, answer.json()["code"]) == (422, "unsupported_container")
            huge = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\x00\x01\x00\x00" * 2).decode()
            answer = await api.a.post("/v1/search", json={"query": [{"image": huge}]})
            assert (answer.status_code, answer.json()["code"]) == (422, "limit_exceeded")
            torn = base64.b64encode(base64.b64decode(encoded("red circle"))[:200]).decode()
            assert (await api.a.post("/v1/search", json={"query": [{"image": torn}]})).status_code == 422
            gone = {"query": [{"moment": {"video_id": ids["first"][:-1] + "Z", "at_s": 0}}]}
            assert (await api.a.post("/v1/search", json=gone)).status_code == 404
            # The model was replaced by one of another space.
            await api.world.change("SET CONSTRAINTS ALL DEFERRED")
            await api.world.change(
                "INSERT INTO space SELECT tenant_id, 'old', dim, model, scale, bias, 'side' FROM space"
            )
            answer = await api.a.post("/v1/search", json={**ask, "space": "old"})
            assert (answer.status_code, answer.json()["code"]) == (409, "space_mismatch")
        await api.world.change("DELETE FROM worker")
        answer = await api.a.post("/v1/search", json={"query": [{"text": "never asked before"}]})
        assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        # What was asked before needs no model.
        assert (await api.world.sql("SELECT count(*) FROM question"))[0][0] == 0

    call(body)


def test_what_was_analysed_before_there_was_a_search_is_found(call, toolkit, films):
    async def body(api):
        rows = "SELECT video_id, position, shot, start_s, end_s, vector::text FROM moment ORDER BY 1, 2"
        spans = "SELECT video_id, label, start_s, end_s FROM tag_span ORDER BY 1, 2, 3"
        async with worked(api, toolkit):
            await analysed(api.a, films)
        before = await api.world.sql(rows), await api.world.sql(spans)
        await api.world.change("DELETE FROM space")
        await api.world.change("DELETE FROM tag_span")
        assert await api.world.sql(rows) == []
        assert await catch_up(api.world.database, api.world.keyring, Fixed(toolkit)) == len(films)
        assert (await api.world.sql(rows), await api.world.sql(spans)) == before
        assert await catch_up(api.world.database, api.world.keyring, Fixed(toolkit)) == 0

    call(body)
