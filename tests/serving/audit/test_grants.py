"""What opens media without a key is in the log before it is handed out: for whom, of what, for what, how long."""

from tests.serving.playback import films
from tests.serving.playback.conftest import content_of, uploaded


async def _granted(client) -> list[tuple]:
    found = (await client.get("/v1/audit", params={"kind": "grant"})).json()["data"]
    return [(one["operation"], one["targets"], one["count"]) for one in reversed(found)]


def test_signed_urls_are_noted_with_what_they_are_good_for_and_revoking_them_is(call):
    async def body(api):
        video = await uploaded(api.a, content_of(1000))
        asked = {"purposes": ["hls", "stream", "hls"], "expires_in_s": 900}
        answer = await api.a.post(f"/v1/videos/{video}/urls", json=asked)
        me = (await api.a.get("/v1/me")).json()
        (line,) = (await api.a.get("/v1/audit", params={"kind": "grant"})).json()["data"]
        assert (line["operation"], line["targets"]) == ("create_video_urls", [video, "hls", "stream", "900s"])
        assert (line["actor"], line["credential"], line["address"]) == (me["id"], me["id"], "127.0.0.1")
        assert line["request_id"] == answer.headers["x-request-id"]
        # The same once more is counted with it; what is good for longer is another thing.
        for lifetime_s in (900, 901):
            asked["expires_in_s"] = lifetime_s
            assert (await api.a.post(f"/v1/videos/{video}/urls", json=asked)).status_code == 201
        assert [targets[-1] for _, targets, _ in await _granted(api.a)] == ["900s", "901s"]
        # Refused, and somebody else's.
        assert (await api.a.post(f"/v1/videos/{video}/urls", json={"expires_in_s": 604_800})).status_code == 400
        assert (await api.b.post(f"/v1/videos/{video}/urls", json={})).status_code == 404
        assert len(await _granted(api.a)) == 2
        assert await _granted(api.b) == []
        everything = str(await api.world.sql("SELECT audit::text FROM audit"))
        for one in answer.json()["urls"].values():
            assert one["signature"] not in everything
        for path in (f"/v1/videos/{video}/urls", "/v1/urls"):
            assert (await api.a.delete(path)).status_code == 204
        all_of_them, one = (await api.a.get("/v1/audit", params={"kind": "write", "limit": 2})).json()["data"]
        assert (one["operation"], one["write"], one["targets"]) == ("revoke_video_urls", "url.revoke", [video])
        assert (all_of_them["operation"], all_of_them["write"]) == ("revoke_urls", "url.revoke")
        # What cannot be noted is not handed out.
        await api.world.change("ALTER TABLE audit_pending RENAME TO elsewhere")
        refused = await api.a.post(f"/v1/videos/{video}/urls", json={})
        assert (refused.status_code, "signature" in refused.text) == (500, False)
        await api.world.change("ALTER TABLE elsewhere RENAME TO audit_pending")

    call(body)


def test_so_are_those_that_come_with_pictures_and_tickets_of_jobs(call, tmp_path):
    content = films.film(tmp_path / "x.mp4", films.H264, 1.0).read_bytes()

    async def body(api):
        video = await uploaded(api.a, content, "x.mp4")
        pictures = (await api.a.get(f"/v1/videos/{video}/pictures")).json()
        # With a key, what it names gets a signature; with one, it is given the same.
        assert "signature=" in (await api.a.get(f"/v1/videos/{video}/storyboard.vtt")).text
        assert (await api.nobody.get(pictures["storyboard"]["track_url"])).status_code == 200
        job = (await api.a.post("/v1/jobs", json={"video_id": video})).json()["id"]
        ticket = (await api.a.post(f"/v1/jobs/{job}/events/ticket")).json()["ticket"]
        assert await _granted(api.a) == [
            ("get_pictures", [video, "thumbnail", "storyboard", "text", "3600s"], 1),
            ("get_storyboard_track", [video, "storyboard", "3600s"], 1),
            ("create_event_ticket", [job, "events", "300s"], 1),
        ]
        assert ticket not in str(await api.world.sql("SELECT audit::text FROM audit"))

    call(body)
