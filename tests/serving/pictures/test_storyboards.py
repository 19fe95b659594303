"""Storyboards through the API: the track points at pictures of the right moments, and needs no key for them."""

import io
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from tests.formats.writing import remux
from tests.pipeline.vtt import parsed
from tests.serving.pictures import films
from tests.serving.pictures.films import image, number_of, put


async def tiles_of(client, at: str):
    """(cue, picture) of each cue of a track, as a page shows them."""
    answer = await client.get(at)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/vtt")
    sheets: dict[str, Image.Image] = {}
    found = []
    for cue in parsed(answer.text):
        where = urlsplit(cue.payload)
        address = urlsplit(at)._replace(path=f"{at.rpartition('/')[0]}/{where.path}", query=where.query).geturl()
        if address not in sheets:
            sheets[address] = image(await client.get(address))
        name, _, numbers = where.fragment.partition("=")
        x, y, width, height = map(int, numbers.split(","))
        assert name == "xywh"
        assert x + width <= sheets[address].width
        assert y + height <= sheets[address].height
        found.append((cue, sheets[address].crop((x, y, x + width, y + height))))
    return found


def test_each_cue_shows_a_frame_of_its_time(call_shared, plain):
    async def body(api):
        video = await put(api.a, plain)
        at = f"/v1/videos/{video}/storyboard.vtt"
        found = await tiles_of(api.a, at)
        assert [(cue.start_s, cue.end_s) for cue, _ in found] == [(n, n + 1) for n in range(6)]
        for cue, picture in found:
            assert cue.start_s <= number_of(picture) / films.FPS < cue.end_s
        # Keyframes, where there are some: every two seconds.
        assert [number_of(picture) for _, picture in found[::2]] == [0, 20, 40]
        assert found[0][1].size == (160, 96)

    call_shared(body)


def test_its_urls_need_no_key(call_shared, plain):
    async def body(api):
        video = await put(api.a, plain)
        urls = (await api.a.post(f"/v1/videos/{video}/urls", json={})).json()["urls"]
        signature = urls["storyboard"]["signature"]
        track = (await api.nobody.get(urls["storyboard"]["url"])).text
        # With the signature that it was asked for with, so that they are good for as long as it is,
        given = [parse_qs(urlsplit(cue.payload).query)["signature"] for cue in parsed(track)]
        assert given == [[signature]] * 6
        assert len(await tiles_of(api.nobody, urls["storyboard"]["url"])) == 6
        # and with a good one where it was asked for with a key, whatever else came with that.
        own = (await api.a.get(f"/v1/videos/{video}/storyboard.vtt?signature=x")).text
        (cue, *_) = parsed(own)
        assert image(await api.nobody.get(f"/v1/videos/{video}/{cue.payload.partition('#')[0]}"))
        refused = await api.nobody.get(f"/v1/videos/{video}/thumbnail?signature={signature}")
        assert refused.status_code == 403

    call_shared(body)


def test_sheets_of_a_longer_video(call_shared, tmp_path):
    """Frames of 3 s each: a tile a second, of which two of three show the frame that is nearest."""
    times_s = [3.0 * n for n in range(50)]

    async def body(api):
        video = await put(api.a, films.film(tmp_path / "long.mkv", len(times_s), times_s))
        found = await tiles_of(api.a, f"/v1/videos/{video}/storyboard.vtt")
        assert 148 <= len(found) <= 180
        for cue, picture in found:
            middle_s = (cue.start_s + cue.end_s) / 2
            assert abs(3.0 * number_of(picture) - middle_s) <= 1.5 + 1e-6 or middle_s > 147.0
        sizes = [image(await api.a.get(f"/v1/videos/{video}/storyboard.jpg?sheet={n}")).size for n in range(3)]
        assert sizes[:2] == [(1600, 576)] * 2
        beyond = await api.a.get(f"/v1/videos/{video}/storyboard.jpg?sheet=3")
        assert (beyond.status_code, beyond.json()["code"]) == (404, "not_found")

    call_shared(body)


def test_a_portrait(call_shared, tmp_path):
    async def body(api):
        films.film(tmp_path / "plain.mp4", 10)
        remux(tmp_path / "plain.mp4", tmp_path / "tall.mp4", prepare=lambda stream: stream.set_display_rotation(90))
        video = await put(api.a, (tmp_path / "tall.mp4").read_bytes())
        ((_, picture),) = await tiles_of(api.a, f"/v1/videos/{video}/storyboard.vtt")
        assert picture.size == (96, 160)

    call_shared(body)


def test_nothing_of_it_is_written_anywhere(call, plain, tmp_path):
    def files() -> list:
        return sorted(file for file in tmp_path.rglob("*") if file.is_file())

    async def body(api):
        video = await put(api.a, plain)
        kept = files()
        assert len(kept) == 1
        assert (await api.a.get(f"/v1/videos/{video}/storyboard.jpg")).status_code == 200
        assert (await api.a.get(f"/v1/videos/{video}/thumbnail")).status_code == 200
        assert files() == kept

    call(body)


def test_an_answer_is_a_jpeg_that_ends(call_shared, plain):
    async def body(api):
        answer = await api.a.get(f"/v1/videos/{await put(api.a, plain)}/storyboard.jpg")
        Image.open(io.BytesIO(answer.content)).load()
        again = await api.a.get(answer.url.path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")

    call_shared(body)
