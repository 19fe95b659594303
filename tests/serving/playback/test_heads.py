"""HEAD of all that pages load: as GET has it, without a body."""

from tests.serving.pictures.films import analyzed
from tests.serving.playback import films
from tests.serving.playback.conftest import uploaded

#: Of the request, not of what was asked for.
OWN = {"date", "x-request-id", "ratelimit", "ratelimit-policy"}

PATHS = (
    "stream",
    "hls/index.m3u8",
    "hls/init.mp4",
    "hls/0.m4s",
    "thumbnail?at_s=1&width=64",
    "poster?width=64",
    "storyboard.jpg",
    "storyboard.vtt",
    "chapters.vtt",
    "tags.vtt",
)


def test_it_is_what_get_says(call_shared, tmp_path, sample_report):
    content = films.film(tmp_path / "x.mp4", films.H264, 2.0).read_bytes()

    async def body(api):
        video = await uploaded(api.a, content, "x.mp4")
        await analyzed(api, video, sample_report, 60.0)
        signed = (await api.a.post(f"/v1/videos/{video}/urls", json={})).json()["urls"]["storyboard"]["signature"]
        for path in PATHS:
            # Else a signature is made for each answer.
            client, query = (api.nobody, f"?signature={signed}") if path == "storyboard.vtt" else (api.a, "")
            seen = []
            for method in ("GET", "HEAD"):
                answer = await client.request(method, f"/v1/videos/{video}/{path}{query}")
                told = {name: value for name, value in answer.headers.items() if name not in OWN}
                seen.append((answer.status_code, told))
                assert bool(answer.content) == (method == "GET"), path
                tag = answer.headers.get("etag")
                if tag is not None:
                    again = await client.request(
                        method, f"/v1/videos/{video}/{path}{query}", headers={"If-None-Match": tag}
                    )
                    assert (again.status_code, again.content) == (304, b""), path
            assert seen[0] == seen[1], path
            assert seen[0][0] == 200
            assert int(seen[0][1]["content-length"]) > 0
        missing = await api.a.head(f"/v1/videos/{video}/hls/99.m4s")
        assert (missing.status_code, missing.content) == (404, b"")

    call_shared(body)
