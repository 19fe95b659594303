"""Videos that browsers do not play: encoded by a worker, played by HLS, and gone with the video."""

import asyncio
import io
from typing import Any, cast
from urllib.parse import urljoin

import av
import numpy as np
import pytest
from av.container import InputContainer

from pipeline.synthesis import Encoding, write_video
from serving.playback import renditions
from serving.playback.renderer import Renderer
from serving.settings import DEFAULTS
from tests.serving.playback import films
from tests.serving.playback.conftest import content_of, uploaded, url_of
from tests.serving.playback.mixes import Mix, Tone, written
from tests.serving.playback.rendering import claimed, rendered, row_of


@pytest.fixture(scope="module")
def hevc(tmp_path_factory) -> bytes:
    return films.film(tmp_path_factory.mktemp("films") / "h.mp4", films.HEVC, 5.0).read_bytes()


async def _objects(api) -> set[str]:
    return {
        row.object_key
        for row in await api.world.sql("SELECT object_key FROM data_key WHERE object_key LIKE 'videos/%'")
    }


def test_what_browsers_do_not_play_is_encoded_and_played(call, hevc):
    async def body(api):
        video = await uploaded(api.a, hevc, "h.mp4")
        before = await _objects(api)
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()
        assert (seen["as_it_is"], seen["why_not"], seen["hls"]) == (False, "its codec is hevc", None)
        seen = await rendered(api.a, api.world.database, api.store, video)
        assert (seen["rendition"]["state"], seen["rendition"]["detail"]) == ("done", None)
        assert (seen["hls"], seen["codecs"]) == ("rendition", "avc1.64000a,mp4a.40.2")
        assert seen["duration_s"] == pytest.approx(5.0, abs=0.1)
        # Asked for once more, it is there.
        assert (await api.a.post(f"/v1/videos/{video}/rendition")).json()["state"] == "done"
        url = await url_of(api.a, video, "hls")
        names = [line for line in (await api.nobody.get(url)).text.splitlines() if not line.startswith("#")]
        init = (await api.nobody.get(urljoin(url, names[0].replace("0.m4s", "init.mp4")))).content
        content = init + b"".join([(await api.nobody.get(urljoin(url, name))).content for name in names])
        with cast(InputContainer, av.open(io.BytesIO(content), "r")) as container:
            frames: list[Any] = list(container.decode(video=0))
        with cast(InputContainer, av.open(io.BytesIO(content), "r")) as container:
            sound: list[Any] = list(container.decode(audio=0))
        assert len(frames) == 125
        for frame in frames[::25]:
            shown = frame.to_ndarray(format="rgb24")[48, 64].tolist()
            assert shown == pytest.approx(films.colour_at(frame.time), abs=20)
        # Each when it was, and the sound is the tone that it was.
        assert [frame.time for frame in frames] == pytest.approx([n / films.FPS for n in range(125)], abs=1e-4)
        assert sound[0].time == 0.0
        assert sum(frame.samples for frame in sound) / 48_000 == pytest.approx(5.0, abs=0.1)
        assert abs(sound[40].to_ndarray()).max() == pytest.approx(0.3, abs=0.1)
        made = await _objects(api) - before
        # What players ask for first has a key of its own; it is in the database.
        assert len([key for key in made if key.startswith("videos/")]) == 1
        assert (await api.b.get(f"/v1/videos/{video}/playback")).status_code == 404
        assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
        assert not made & await _objects(api)
        assert (await api.nobody.get(url)).status_code == 403
        for key in made:
            assert not (api.store._objects._root / key).exists()

    call(body)


def test_one_that_was_stopped_in_the_middle_is_begun_anew_and_leaves_nothing(call, hevc, monkeypatch):
    async def body(api):
        begun, put = asyncio.Event(), api.store.put

        async def held_up(what, chunks):
            async def some():
                async for chunk in chunks:
                    begun.set()
                    yield chunk
                    await asyncio.Event().wait()

            return await put(what, some())

        video = await uploaded(api.a, hevc, "h.mp4")
        before = {path.name for path in (api.store._objects._root / "videos").iterdir()}
        async with api.world.database.write("rendition.write", "a") as session:
            await renditions.ask(session, "a", video)
        renderer = Renderer(api.world.database, api.store, DEFAULTS)
        (claim,) = await renderer.claim(1, [])
        assert await renderer.claim(1, []) == []
        with monkeypatch.context() as patched:
            patched.setattr(api.store, "put", held_up)
            working = asyncio.create_task(renderer.work(claim))
            await begun.wait()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        (row,) = await api.world.sql("SELECT state, attempts FROM rendition")
        assert (row.state, row.attempts) == ("due", 0)
        assert {path.name for path in (api.store._objects._root / "videos").iterdir()} == before
        # Another has it by the time that it is done.
        (claim,) = await renderer.claim(1, [])
        await api.world.change("UPDATE rendition SET fence = fence + 1")
        await renderer.work(claim)
        (row,) = await api.world.sql("SELECT state, object_key FROM rendition")
        assert (row.state, row.object_key) == ("due", None)
        assert {path.name for path in (api.store._objects._root / "videos").iterdir()} == before
        renderer._encoder._pool.shutdown()
        assert renderer._encoder._sandbox is not None
        renderer._encoder._sandbox.close()

    call(body)


def test_what_browsers_play_is_encoded_where_somebody_insists(call, tmp_path):
    content = films.film(tmp_path / "x.mp4", films.H264, 1.0).read_bytes()

    async def body(api):
        video = await uploaded(api.a, content, "x.mp4")
        seen = await rendered(api.a, api.world.database, api.store, video, force=True)
        assert (seen["as_it_is"], seen["why_not"]) == (True, None)
        assert (seen["hls"], seen["stream"], seen["rendition"]["state"]) == ("rendition", "rendition", "done")
        made = (await api.a.get(f"/v1/videos/{video}/hls/init.mp4")).content
        other = await uploaded(api.a, content + b"\0\0\0\x08free", "x.mp4")
        assert (await api.a.get(f"/v1/videos/{other}/hls/init.mp4")).content != made
        broken = await uploaded(api.a, content_of(5000, 5), "x.webm")
        assert (await api.a.post(f"/v1/videos/{broken}/rendition?force=true")).status_code == 422

    call(body)


def test_what_browsers_would_stop_at_can_be_had_encoded(call, tmp_path):
    contents = {
        reason: written(tmp_path / "x.mp4", mix).read_bytes()
        for reason, mix in (
            ("its sound has gaps: it ends 5.0 s before the pictures", Mix(sound=(Tone(seconds=1.0),))),
            ("it is one picture with sound", Mix(times_s=[0.0])),
        )
    }

    async def body(api):
        for reason, content in contents.items():
            video = await uploaded(api.a, content, "x.mp4")
            seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()
            assert (seen["as_it_is"], seen["hls"], seen["why_not"]) == (False, None, reason)
            seen = await rendered(api.a, api.world.database, api.store, video)
            # What was wrong is no more, or the same would be said of it.
            assert (seen["hls"], seen["codecs"]) == ("rendition", "avc1.64000a,mp4a.40.2")

    call(body)


def test_what_browsers_play_is_not_encoded(call_shared, tmp_path):
    content = films.film(tmp_path / "x.mp4", films.H264, 1.0).read_bytes()

    async def body(api):
        video = await uploaded(api.a, content, "x.mp4")
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()
        assert (seen["as_it_is"], seen["hls"], seen["rendition"]) == (True, "original", None)
        answer = await api.a.post(f"/v1/videos/{video}/rendition")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")

    call_shared(body)


@pytest.mark.parametrize("odd", ["slow", "thin", "flat"])
def test_odd_ones_are_encoded_too(call, tmp_path, odd):
    full = Encoding(pixel_format="yuv444p", options={"preset": "ultrafast", "crf": "10"})
    times_s, shape, encoding = {
        # A picture every 4,000 seconds, and pictures that are a pixel wide, and a pixel high.
        "slow": ((0.0, 4000.0, 8000.0), (96, 128), films.HEVC),
        "thin": ((0.0, 0.5, 1.0), (64, 1), full),
        "flat": ((0.0, 0.5, 1.0), (1, 64), full),
    }[odd]
    pixels = [np.full((*shape, 3), colour, np.uint8) for colour in films.COLOURS[: len(times_s)]]
    path = write_video(tmp_path / "odd.mkv", pixels, fps=1, encoding=encoding, times_s=times_s)

    async def body(api):
        async with claimed(api, path.read_bytes()) as (video, renderer, claim):
            await renderer.work(claim)
        row = await row_of(api)
        assert (row.state, row.detail) == ("done", None)
        assert (row.width, row.height) == (max(2, shape[1]), max(2, shape[0]))
        content = (await api.a.get(f"/v1/videos/{video}/rendition/stream")).content
        with cast(InputContainer, av.open(io.BytesIO(content), "r")) as container:
            shown: list[Any] = list(container.decode(video=0))
        assert [frame.time for frame in shown] == pytest.approx(times_s, abs=1e-3)
        for frame, colour in zip(shown, films.COLOURS, strict=False):
            assert frame.to_ndarray(format="rgb24")[0, 0].tolist() == pytest.approx(colour, abs=25)

    call(body)
