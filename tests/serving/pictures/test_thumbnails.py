"""Thumbnails through the API: the right frame, the right way up, for those who may see it."""

import numpy as np
import pytest
from PIL import Image

from tests.formats import colours, geometries
from tests.serving.pictures import films
from tests.serving.pictures.films import image, is_upright, number_of, put

VERY = {"headers": {"Accept": "image/avif,image/webp,image/*,*/*;q=0.8"}}


def test_the_frame_nearest_to_a_time(call_shared, plain):
    async def body(api):
        video = await put(api.a, plain)
        for at_s in (0.0, 0.04, 0.06, 1.0, 2.449, 2.451, 3.333, 5.9, 5.96, 1000.0):
            answer = await api.a.get(f"/v1/videos/{video}/thumbnail", params={"at_s": at_s, "width": 160})
            number = number_of(image(answer))
            assert abs(number / films.FPS - min(at_s, 5.9)) <= 0.5 / films.FPS + 1e-9, (at_s, number)
            assert answer.headers["frame-time"] == f"{number / films.FPS:.3f}"
        answer = await api.a.get(f"/v1/videos/{video}/thumbnail?at_s=3.1&snap=keyframe")
        assert (number_of(image(answer)), answer.headers["frame-time"]) == (40, "4.000")

    call_shared(body)


def test_as_wide_as_asked_for_and_never_wider_than_the_video(call_shared, plain):
    async def body(api):
        video = await put(api.a, plain)
        at = f"/v1/videos/{video}/thumbnail?at_s=1"
        assert image(await api.a.get(f"{at}&width=80")).size == (80, 48)
        assert image(await api.a.get(f"{at}&width=1920")).size == (160, 96)
        assert image(await api.a.get(at)).size == (160, 96)
        for wrong in ("width=15", "width=1921", "at_s=-1", "at_s=nan", "at_s=inf", "at_s=x", "snap=best"):
            answer = await api.a.get(f"/v1/videos/{video}/thumbnail?{wrong}")
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), wrong

    call_shared(body)


def test_webp_for_those_who_take_it(call_shared, plain):
    async def body(api):
        at = f"/v1/videos/{await put(api.a, plain)}/thumbnail?at_s=4.5"
        webp = await api.a.get(at, **VERY)
        assert (image(webp).format, number_of(image(webp))) == ("WEBP", 45)
        jpeg = await api.a.get(at, headers={"Accept": "image/jpeg,image/webp;q=0.5"})
        assert image(jpeg).format == "JPEG"
        assert jpeg.headers["vary"] == "Accept"
        assert jpeg.headers["etag"] != webp.headers["etag"]

    call_shared(body)


def test_frames_at_uneven_times(call_shared, tmp_path):
    times_s = [0.0, 0.1, 0.9, 1.0, 3.0, 3.04, 3.08, 5.0]

    async def body(api):
        video = await put(api.a, films.film(tmp_path / "uneven.mp4", len(times_s), times_s))
        for at_s in (0.0, 0.4, 0.52, 0.96, 1.9, 2.1, 3.03, 3.07, 4.0, 4.1, 9.0):
            answer = await api.a.get(f"/v1/videos/{video}/thumbnail?at_s={at_s}")
            nearest = min(range(len(times_s)), key=lambda n: (abs(times_s[n] - at_s), n))
            assert number_of(image(answer)) == nearest, at_s

    call_shared(body)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_telephones_are_held_any_way(call_shared, tmp_path, quarters):
    async def body(api):
        video = await put(api.a, films.turned(tmp_path / "turned.mp4", quarters))
        picture = image(await api.a.get(f"/v1/videos/{video}/thumbnail?at_s=0.7&width=80"))
        assert (picture.size, number_of(picture), is_upright(picture)) == ((80, 48), 7, True)

    call_shared(body)


def test_browsers_keep_a_picture_and_ask_whether_it_still_is_that_one(call_shared, plain):
    async def body(api):
        at = f"/v1/videos/{await put(api.a, plain)}/thumbnail?at_s=1"
        first = await api.a.get(at)
        assert first.headers["cache-control"] == "private, max-age=60"
        again = await api.a.get(at, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        other = await api.a.get(f"{at}&width=80", headers={"If-None-Match": first.headers["etag"]})
        assert other.status_code == 200

    call_shared(body)


def test_a_signed_url_shows_what_it_is_for_and_nothing_else(call_shared, plain):
    async def body(api):
        video = await put(api.a, plain)
        urls = (await api.a.post(f"/v1/videos/{video}/urls", json={})).json()["urls"]
        signature = urls["thumbnail"]["signature"]
        for path in ("thumbnail?at_s=2&", "poster?"):
            assert image(await api.nobody.get(f"/v1/videos/{video}/{path}signature={signature}"))
        for path in ("storyboard.jpg", "storyboard.vtt", "chapters.vtt", "tags.vtt"):
            refused = await api.nobody.get(f"/v1/videos/{video}/{path}?signature={signature}")
            assert (refused.status_code, refused.json()["code"]) == (403, "url_refused"), path
        assert (await api.nobody.get(f"/v1/videos/{video}/thumbnail")).status_code == 401
        assert (await api.a.delete(f"/v1/videos/{video}/urls")).status_code == 204
        refused = await api.nobody.get(f"/v1/videos/{video}/thumbnail?at_s=2&signature={signature}")
        assert refused.status_code == 403

    call_shared(body)


def test_what_is_anothers_looks_like_what_is_not_there(call_shared, plain):
    async def body(api):
        video = await put(api.a, plain)
        for path in ("thumbnail", "poster", "storyboard.jpg", "storyboard.vtt", "chapters.vtt", "tags.vtt", "pictures"):
            told = []
            for name in (video, f"vid_{'0' * 26}"):
                problem = (await api.b.get(f"/v1/videos/{name}/{path}")).json()
                problem.pop("request_id")
                told.append(problem)
            assert told[0] == told[1], path
            assert told[0]["code"] == "not_found"

    call_shared(body)


def test_of_a_deleted_video_nothing_is_shown(call_shared, plain):
    async def body(api):
        video = await put(api.a, plain)
        urls = (await api.a.post(f"/v1/videos/{video}/urls", json={})).json()["urls"]
        paths = [f"/v1/videos/{video}/{one}" for one in ("thumbnail?at_s=1", "poster", "storyboard.jpg", "pictures")]
        tags = [(await api.a.get(path)).headers.get("etag", "") for path in paths]
        assert all(tags[:3])
        assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
        for path, tag in zip(paths, tags, strict=True):
            assert (await api.a.get(path)).status_code == 404
            assert (await api.a.get(path, headers={"If-None-Match": tag or "*"})).status_code == 404
        gone = await api.nobody.get(urls["thumbnail"]["url"])
        assert (gone.status_code, gone.headers["content-type"]) == (403, "application/problem+json")

    call_shared(body)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_what_is_left_of_a_video_is_shown(call_shared, tmp_path, suffix):
    async def body(api):
        whole = films.film(tmp_path / f"whole.{suffix}")
        video = await put(api.a, whole[: len(whole) // 2], f"half.{suffix}")
        answer = await api.a.get(f"/v1/videos/{video}/thumbnail?at_s=1")
        if suffix == "mkv":
            assert number_of(image(answer)) == 10
            late = await api.a.get(f"/v1/videos/{video}/thumbnail?at_s=100")
            assert 10 < number_of(image(late)) < 50
        else:
            # Its index is at the end.
            assert (answer.status_code, answer.json()["code"]) == (422, "truncated")
            assert "/" not in answer.json()["detail"]

    call_shared(body)


def test_a_damaged_video_is_told(call_shared, tmp_path):
    async def body(api):
        whole = bytearray(films.film(tmp_path / "whole.mkv"))
        # Of the last group of pictures, which begins at 4 s: decoders show nothing of it, or something else.
        whole[len(whole) * 3 // 4 : len(whole) * 9 // 10] = bytes(len(whole) * 9 // 10 - len(whole) * 3 // 4)
        video = await put(api.a, bytes(whole), "damaged.mkv")
        assert number_of(image(await api.a.get(f"/v1/videos/{video}/thumbnail?at_s=1"))) == 10
        for at_s in (4.1, 5.0, 5.9):
            answer = await api.a.get(f"/v1/videos/{video}/thumbnail?at_s={at_s}")
            assert answer.status_code == 200 or (answer.status_code, answer.json()["code"]) == (422, "corrupt")
        nothing = await put(api.a, b"\x1aE\xdf\xa3" + bytes(5000), "nothing.mkv")
        for path in ("thumbnail", "poster", "storyboard.jpg", "storyboard.vtt", "pictures"):
            answer = await api.a.get(f"/v1/videos/{nothing}/{path}")
            assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
            assert answer.json()["code"] in ("truncated", "corrupt", "no_video_stream", "unsupported_container")

    call_shared(body)


@pytest.mark.parametrize("name", ["anamorphic-2", "anamorphic-turned", "mirrored-270", "hdr10", "hlg"])
def test_pixels_are_right(call_shared, tmp_path, name):
    """As players show it: what `tests/formats` knows of a file, made small."""
    entry = next(one for one in (*geometries.ENTRIES, *colours.ENTRIES) if one.name == name)

    async def body(api):
        path = tmp_path / f"film.{entry.suffix}"
        known = entry.make(path)
        video = await put(api.a, path.read_bytes(), path.name)
        picture = image(await api.a.get(f"/v1/videos/{video}/thumbnail?at_s={known.times_s[5]}&width=1920"))
        # In large tiles: JPEG blurs colours where they meet.
        shown, right = (one.resize((8, 6), Image.Resampling.BOX) for one in (picture, Image.fromarray(known.frames[5])))
        wrong, other = (
            float(np.sqrt(np.square(np.asarray(shown, float) - np.asarray(one, float)).mean()))
            for one in (right, right.rotate(180))
        )
        assert (wrong < 6, other > 24) == (True, True), (wrong, other)

    call_shared(body)
