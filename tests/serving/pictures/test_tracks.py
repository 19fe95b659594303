"""Chapters and tags as text tracks, through the API."""

import json

from msgspec.structs import replace

from tests.pipeline.vtt import parsed
from tests.serving.pictures.films import analyzed, put


async def track(client, at: str):
    answer = await client.get(at)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/vtt")
    assert answer.headers["cache-control"] == "private, no-cache"
    again = await client.get(at, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    return parsed(answer.text)


def test_chapters_and_tags_of_a_report(call_shared, sample_report):
    async def body(api):
        video = await put(api.a, b"\x1aE\xdf\xa3" + bytes(100))
        here = f"/v1/videos/{video}"
        for name in ("chapters.vtt", "tags.vtt"):
            answer = await api.a.get(f"{here}/{name}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
            assert "no report yet" in answer.json()["detail"]
        await analyzed(api, video, sample_report, 60.0)
        found = await track(api.a, f"{here}/chapters.vtt")
        assert (found[0].start_s, found[-1].end_s) == (0.0, 60.0)
        assert 2 < len(found) <= len(sample_report.shots)
        assert {cue.start_s for cue in found} <= {shot.start_s for shot in sample_report.shots}
        shots = await track(api.a, f"{here}/chapters.vtt?by=shots")
        assert [cue.start_s for cue in shots] == [shot.start_s for shot in sample_report.shots]
        assert shots[0].text == "Shot 1: sunset, gradient"
        moments = await track(api.a, f"{here}/chapters.vtt?by=segments")
        assert len(moments) == len(sample_report.segments)
        tags = await track(api.a, f"{here}/tags.vtt")
        wanted = sorted((one.start_s, tag.label) for tag in sample_report.tags for one in tag.ranges)
        assert sorted((cue.start_s, json.loads(cue.payload)["label"]) for cue in tags) == wanted
        circle = next(told for cue in tags if (told := json.loads(cue.payload))["label"] == "red circle")
        assert circle == {"label": "red circle", "kind": "tag", "parent": "shape", "score": 0.97, "vocabulary": None}

    call_shared(body)


def test_what_people_say_of_tags_is_in_it(call_shared, sample_report):
    async def body(api):
        video = await put(api.a, b"\x1aE\xdf\xa3" + bytes(101))
        await analyzed(api, video, sample_report, 60.0)
        wrong = {"video_id": video, "label": "sunset", "verdict": "rejected"}
        assert (await api.a.post("/v1/corrections", json=wrong)).status_code == 200
        tags = await track(api.a, f"/v1/videos/{video}/tags.vtt")
        assert "sunset" not in {json.loads(cue.payload)["label"] for cue in tags}
        shots = await track(api.a, f"/v1/videos/{video}/chapters.vtt?by=shots")
        assert shots[0].text == "Shot 1: gradient"

    call_shared(body)


def test_labels_of_strangers_stay_labels(call_shared, hostile_report, sample_report):
    async def body(api):
        video = await put(api.a, b"\x1aE\xdf\xa3" + bytes(102))
        # What is no Unicode does not get as far as a report's JSON.
        report = replace(hostile_report, video=sample_report.video)
        await analyzed(api, video, report, 60.0)
        shots = await track(api.a, f"/v1/videos/{video}/chapters.vtt?by=shots")
        assert len(shots) == len(report.shots)
        assert "</script><script>alert(1)" in shots[0].text
        tags = await track(api.a, f"/v1/videos/{video}/tags.vtt")
        assert {json.loads(cue.payload)["label"] for cue in tags} == {tag.label for tag in report.tags}
        assert all(set("<>&").isdisjoint(cue.payload) for cue in tags)

    call_shared(body)
