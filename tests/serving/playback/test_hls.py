"""HLS over HTTP: what the playlist says is what its segments are; signed, cached, and refused where it has to be."""

import io
import re
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urljoin

import av
import pytest
from av.container import InputContainer

from serving.api.hls import PLAYLIST
from serving.playback.hls import Hls, playlist
from tests.serving.playback import films
from tests.serving.playback.conftest import content_of, uploaded, url_of


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> bytes:
    return films.film(tmp_path_factory.mktemp("films") / "x.mp4", films.H264).read_bytes()


@pytest.fixture(scope="module")
def hevc(tmp_path_factory) -> bytes:
    return films.film(tmp_path_factory.mktemp("films") / "h.mp4", films.HEVC, 1.0).read_bytes()


def test_the_playlist_is_the_film(call_shared, film):
    async def body(api):
        url = await url_of(api.a, await uploaded(api.a, film, "x.mp4"), "hls")
        answer = await api.nobody.get(url)
        assert (answer.status_code, answer.headers["content-type"]) == (200, PLAYLIST), answer.text
        assert answer.headers["cache-control"] == "no-store"
        lines = answer.text.splitlines()
        assert lines[0] == "#EXTM3U"
        assert lines[-1] == "#EXT-X-ENDLIST"
        lengths = [float(line.partition(":")[2].rstrip(",")) for line in lines if line.startswith("#EXTINF")]
        assert lengths == [4.0, 4.0, 2.0]
        assert "#EXT-X-TARGETDURATION:4" in lines
        (header,) = [re.findall('URI="(.*)"', line)[0] for line in lines if line.startswith("#EXT-X-MAP")]
        names = [line for line in lines if not line.startswith("#")]
        assert [name.partition("?")[0] for name in names] == ["0.m4s", "1.m4s", "2.m4s"]
        parts = []
        for name in (header, *names):
            part = await api.nobody.get(urljoin(url, name))
            assert (part.status_code, part.headers["content-type"]) == (200, "video/mp4")
            assert part.headers["cache-control"] == "private, max-age=600"
            known = {"If-None-Match": part.headers["etag"]}
            assert (await api.nobody.get(urljoin(url, name), headers=known)).status_code == 304
            parts.append(part.content)
        starts = [0.0, 4.0, 8.0]
        for start, part in zip(starts, parts[1:], strict=True):
            with cast(InputContainer, av.open(io.BytesIO(parts[0] + part), "r")) as container:
                frame: Any = next(iter(container.decode(video=0)))
                assert frame.time == pytest.approx(start)
                shown = frame.to_ndarray(format="rgb24")[48, 64].tolist()
                assert shown == pytest.approx(films.colour_at(start), abs=12)
        beyond = await api.nobody.get(urljoin(url, names[0].replace("0.m4s", "3.m4s")))
        assert (beyond.status_code, beyond.json()["code"]) == (404, "not_found")

    call_shared(body)


@pytest.mark.parametrize(("length_s", "told"), [(4.48, 4), (4.5, 5), (5.5, 6)])
def test_no_segment_is_longer_rounded_than_is_told(length_s, told):
    """Halves are rounded up (RFC 8216, 4.3.3.1)."""
    cut = cast(Any, SimpleNamespace(segments=[SimpleNamespace(duration_s=length_s)]))
    assert f"#EXT-X-TARGETDURATION:{told}\n" in playlist(cut, "")


def test_with_a_key_nothing_is_put_behind_its_names(call_shared, film):
    async def body(api):
        video = await uploaded(api.a, film, "x.mp4")
        answer = await api.a.get(f"/v1/videos/{video}/hls/index.m3u8")
        assert "signature" not in answer.text
        assert (await api.a.get(f"/v1/videos/{video}/hls/1.m4s")).status_code == 200
        assert (await api.b.get(f"/v1/videos/{video}/hls/1.m4s")).status_code == 404
        for name in ("1.mp4", "x.m4s", "init.m4s", "-1.m4s", "00.m4s", "00000000.m4s", "0.m4s%0A", "init.mp4%0A"):
            assert (await api.a.get(f"/v1/videos/{video}/hls/{name}")).status_code == 400, name

    call_shared(body)


def test_a_signature_of_another_purpose_and_one_that_was_revoked(call_shared, film):
    async def body(api):
        video = await uploaded(api.a, film, "x.mp4")
        url, stream = await url_of(api.a, video, "hls"), await url_of(api.a, video, "stream")
        segment = urljoin(url, "0.m4s") + "?" + url.partition("?")[2]
        assert (await api.nobody.get(segment)).status_code == 200
        assert (await api.nobody.get(segment.partition("?")[0] + "?" + stream.partition("?")[2])).status_code == 403
        assert (await api.a.delete(f"/v1/videos/{video}/urls")).status_code == 204
        # Though all of it is in memory.
        for shown in (url, segment, segment.replace("0.m4s", "init.mp4")):
            answer = await api.nobody.get(shown)
            assert (answer.status_code, answer.json()["code"]) == (403, "url_refused")

    call_shared(body)


def test_what_cannot_be_repacked_is_refused(call_shared, hevc):
    async def body(api):
        for content, code, said in (
            (hevc, "unsupported_codec", "its codec is hevc"),
            (content_of(5000, 5), "truncated", ""),
        ):
            video = await uploaded(api.a, content, "h.mp4")
            for name in ("index.m3u8", "init.mp4", "0.m4s"):
                answer = await api.a.get(f"/v1/videos/{video}/hls/{name}")
                assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
                assert said in answer.json()["detail"]
                assert "/objects/" not in answer.text

    call_shared(body)


@pytest.mark.parametrize("by_url", [True, False])
def test_what_was_revoked_or_deleted_while_a_segment_was_made_is_not_sent(call_shared, film, monkeypatch, by_url):
    made = Hls._made

    async def body(api):
        video = await uploaded(api.a, film + bytes(8 + by_url), "x.mp4")
        url = await url_of(api.a, video, "hls")
        assert (await api.nobody.get(url)).status_code == 200

        async def meanwhile(self, source, how):
            content = await made(self, source, how)
            gone = await api.a.delete(f"/v1/videos/{video}" + "/urls" * by_url)
            assert gone.status_code == 204
            return content

        with monkeypatch.context() as patched:
            patched.setattr(Hls, "_made", meanwhile)
            segment = urljoin(url, "0.m4s")
            if by_url:
                answer = await api.nobody.get(segment + "?" + url.partition("?")[2])
            else:
                answer = await api.a.get(segment)
        expected = (403, "url_refused") if by_url else (404, "not_found")
        assert (answer.status_code, answer.json()["code"]) == expected

    call_shared(body)
