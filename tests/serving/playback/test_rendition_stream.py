"""The bytes of a rendition, for browsers without HLS: as those of the video are sent, with what is where in front."""

import io
import struct
from typing import cast

import av
import pytest
from av.container import InputContainer

from tests.serving.playback import films
from tests.serving.playback.conftest import uploaded, url_of
from tests.serving.playback.rendering import rendered


class _Read(io.BytesIO):
    """Says how much of it was read."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def _kinds(content: bytes) -> list[str]:
    """Its boxes."""
    kinds, at = [], 0
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        kinds.append(kind.decode())
        at += size
    return kinds


def test_it_is_sent_as_the_video_is_and_to_whom_it_was_granted(call, tmp_path):
    hevc = films.film(tmp_path / "h.mkv", films.HEVC, 20.0).read_bytes()

    async def body(api):
        video = await uploaded(api.a, hevc, "h.mkv")
        path = f"/v1/videos/{video}/rendition/stream"
        url = await url_of(api.a, video, "rendition")
        assert (await api.a.get(f"/v1/videos/{video}/playback")).json()["stream"] is None
        for client, where in ((api.a, path), (api.nobody, url)):
            missing = await client.get(where)
            assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
        seen = await rendered(api.a, api.world.database, api.store, video)
        assert (seen["stream"], seen["hls"]) == ("rendition", "rendition")
        whole = await api.nobody.get(url)
        content, headers = whole.content, whole.headers
        assert (whole.status_code, len(content)) == (200, seen["rendition"]["size_bytes"])
        assert (headers["content-type"], headers["accept-ranges"]) == ("video/mp4", "bytes")
        assert headers["content-disposition"] == "inline; filename*=UTF-8''h.mp4"
        assert headers["etag"] != (await api.a.head(f"/v1/videos/{video}/stream")).headers["etag"]
        described = await api.nobody.head(url)
        assert (described.status_code, described.headers["content-length"]) == (200, str(len(content)))
        part = await api.nobody.get(url, headers={"Range": "bytes=900-70000", "If-Range": headers["etag"]})
        assert (part.status_code, part.content) == (206, content[900:70_001])
        assert part.headers["content-range"] == f"bytes 900-70000/{len(content)}"
        assert (await api.nobody.get(url, headers={"Range": "bytes=9-", "If-Range": '"x"'})).status_code == 200
        assert (await api.nobody.get(url, headers={"Range": f"bytes={len(content)}-"})).status_code == 416
        assert (await api.nobody.get(url, headers={"If-None-Match": headers["etag"]})).status_code == 304
        # Whoever may have one of the two may not have the other.
        for purpose, there in (("rendition", "stream"), ("stream", "rendition/stream"), ("hls", "rendition/stream")):
            signature = (await url_of(api.a, video, purpose)).partition("?")[2]
            refused = await api.nobody.get(f"/v1/videos/{video}/{there}?{signature}")
            assert (refused.status_code, refused.json()["code"]) == (403, "url_refused")
        assert (await api.b.get(path)).status_code == 404
        read = await api.world.sql("SELECT targets FROM audit WHERE kind = 'read' AND operation = 'stream_rendition'")
        assert [row.targets for row in read] == [[video]]
        # What is where comes first: of what comes before a moment, nothing has to be read to go there.
        assert [kind for kind in _kinds(content) if kind != "free"] == ["ftyp", "moov", "mdat"]
        with cast(InputContainer, av.open(file := _Read(content), "r", buffer_size=1024)) as container:
            assert container.duration is not None
            assert container.duration / av.time_base == pytest.approx(20.0, abs=0.1)
            container.seek(17_000_000)
            frame = next(container.decode(video=0))
            assert frame.time == pytest.approx(16.0, abs=1.0)
            shown = frame.to_ndarray(format="rgb24")[48, 64].tolist()
            assert shown == pytest.approx(films.colour_at(frame.time), abs=20)
        assert file.count < len(content) / 3
        assert (await api.a.delete(f"/v1/videos/{video}/urls")).status_code == 204
        assert (await api.nobody.get(url)).status_code == 403

    call(body)


def test_its_bytes_count_for_as_long_as_it_is_there(call, tmp_path):
    hevc = films.film(tmp_path / "h.mp4", films.HEVC, 1.0).read_bytes()

    async def body(api):
        async def used() -> tuple[int, int]:
            told = (await api.a.get("/v1/usage")).json()
            assert told["used_bytes"] == told["video_bytes"] + told["rendition_bytes"] + told["upload_bytes"]
            return told["used_bytes"], told["rendition_bytes"]

        others, _ = await used()
        video = await uploaded(api.a, hevc, "h.mp4")
        before = others + len(hevc)
        assert await used() == (before, 0)
        await api.world.change("UPDATE tenant SET quota_bytes = 0 WHERE id = 'a'")
        size = (await rendered(api.a, api.world.database, api.store, video))["rendition"]["size_bytes"]
        assert await used() == (before + size, size)
        # Others find no room for what it takes.
        await api.world.change(f"UPDATE tenant SET quota_bytes = {before + size + 999} WHERE id = 'a'")
        refused = await api.a.post("/v1/videos", content=hevc[:-1] + b"x" * 1000)
        assert (refused.status_code, refused.json()["code"]) == (413, "quota_exceeded")
        # Asked for once more, nothing is begun.
        await api.world.change("UPDATE tenant SET quota_bytes = 1 WHERE id = 'a'")
        again = await api.a.post(f"/v1/videos/{video}/rendition")
        assert (again.status_code, again.json()["state"]) == (202, "done")
        assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
        assert await used() == (others, 0)

    call(body)


def test_it_is_not_begun_where_there_is_no_room(call, tmp_path):
    hevc = films.film(tmp_path / "h.mp4", films.HEVC, 1.0).read_bytes()

    async def body(api):
        video = await uploaded(api.a, hevc, "h.mp4")
        used = (await api.a.get("/v1/usage")).json()["used_bytes"]
        await api.world.change(f"UPDATE tenant SET quota_bytes = {used} WHERE id = 'a'")
        refused = await api.a.post(f"/v1/videos/{video}/rendition")
        assert (refused.status_code, refused.json()["code"]) == (413, "quota_exceeded")
        assert f"{used} of {used} are used" in refused.json()["detail"]
        assert await api.world.sql("SELECT state FROM rendition") == []

    call(body)
