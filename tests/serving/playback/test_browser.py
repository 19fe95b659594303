"""Videos in a real browser, on another origin than the API: the page of docs/playback.md plays, seeks and scrubs them.

What is looked at is what is on the screen: each half second of a film has a colour of its own.
"""

import asyncio
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from fractions import Fraction
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace
from PIL import Image

from pipeline.remux import playable
from serving.db.database import Database
from tests.serving.api.conftest import SETTINGS, made_key, served
from tests.serving.jobs.conftest import World
from tests.serving.pictures.test_browser import frontend, give_hls
from tests.serving.playback import films
from tests.serving.playback.conftest import uploaded
from tests.serving.playback.mixes import Mix, Tone, written
from tests.serving.playback.rendering import rendered
from tests.serving.sealing import store_at

async_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (Debian: apt-get install chromium)"),
]
PAGE = Path(__file__).parents[3] / "docs" / "playback.md"
QUIET = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--autoplay-policy=no-user-gesture-required", "--mute-audio"]  # fmt: skip

#: Of a channel. The films do not say which matrix their colours are of, and Chromium takes another one by HLS; their
#: colours are further apart than that.
NEAR = 35

#: Goes to a time; what is shown then, when that says it is, and how long the video says it is.
SEEK = """async (time) => {
  const video = document.querySelector("video");
  await new Promise((done, wrong) => {
    video.addEventListener("error", () => wrong(video.error.message), {once: true});
    video.requestVideoFrameCallback((_, frame) => done(frame));
    video.currentTime = time;
  });
  await new Promise((done) => setTimeout(done, 50));
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  pen.drawImage(video, 0, 0, 16, 16);
  return {time: video.currentTime, colour: [...pen.getImageData(8, 8, 1, 1).data].slice(0, 3),
    duration: video.duration, width: video.videoWidth};
}"""

#: Plays for a while.
PLAY = """async () => {
  const video = document.querySelector("video");
  const began = video.currentTime;
  await video.play();
  await new Promise((done) => { const look = () =>
    video.currentTime > began + 0.7 ? done() : setTimeout(look, 20); look(); });
  video.pause();
  return {played: video.currentTime - began, frames: video.getVideoPlaybackQuality().totalVideoFrames,
    sound: video.webkitAudioDecodedByteCount};
}"""

#: As somebody who drags a handle: the last place is where it ends.
SCRUB = """async (times) => {
  const video = document.querySelector("video");
  for (const time of times) { video.currentTime = time; await new Promise((done) => setTimeout(done, 15)); }
  while (video.seeking) await new Promise((done) => setTimeout(done, 20));
  return video.currentTime;
}"""

READY = "() => document.querySelector('video').readyState >= 2 || document.querySelector('video').error"


def _in_browser(
    url: str, folder: Path, content: bytes, look: Callable, *, ways: tuple[str, ...], prepare: Callable | None = None
) -> None:
    """Runs `async def look(page, requests, by)` on the page with a video, by ranges and by HLS."""
    _all_in_browser(url, folder, {"film.mp4": content}, look, ways=ways, prepare=prepare)


def _all_in_browser(
    url: str,
    folder: Path,
    contents: dict[str, bytes],
    look: Callable,
    *,
    ways: tuple[str, ...],
    prepare: Callable | None = None,
) -> None:
    """The same with each of several videos.

    Args:
        ways: by which it is played.
        prepare: `async def prepare(client, video, store, database)`, before URLs are asked for.
    """
    shown = folder / "page"
    shown.mkdir()
    (shown / "favicon.ico").touch()
    give_hls(shown)

    async def main(origin: str) -> None:
        async with AsyncExitStack() as stack:
            database = Database(url)
            stack.push_async_callback(database.close)
            await World.made(database)
            settings = replace(SETTINGS, server=replace(SETTINGS.server, cors_origins=origin))
            store = store_at(folder / "objects")
            address = await stack.enter_async_context(served(url, store, settings))
            headers = {"Authorization": f"Bearer {await made_key(database, 'a')}"}
            client = await stack.enter_async_context(
                httpx.AsyncClient(base_url=address, headers=headers, timeout=60, verify=False)
            )
            (example,) = re.findall(r"```html\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
            (shown / "index.html").write_text(example.replace("http://127.0.0.1:8000", address))
            playwright = await stack.enter_async_context(async_api.async_playwright())
            sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET + sandbox)
            stack.push_async_callback(browser.close)
            for name, content in contents.items():
                video = await uploaded(client, content, name)
                if prepare is not None:
                    await prepare(client, video, store, database)
                asked = {"purposes": ["stream", "hls", "rendition"]}
                urls = (await client.post(f"/v1/videos/{video}/urls", json=asked)).json()
                (shown / "urls.json").write_text(json.dumps(urls))
                for by in ways:
                    page = await browser.new_page()
                    requests: list = []
                    page.on("request", lambda request, kept=requests: kept.append(request))
                    await page.goto(f"{origin}/index.html?by={by}")
                    await page.wait_for_function(READY, timeout=30_000)
                    await look(page, requests, by if len(contents) == 1 else name)
                    await page.screenshot(path=folder / f"{by}.png")
                    await page.close()

    with frontend(shown) as origin:
        asyncio.run(main(origin))
    for by in ways:
        Image.open(io.BytesIO((folder / f"{by}.png").read_bytes())).verify()


async def _is_the_film(page, requests: list, by: str) -> None:
    for time in (0.25, 6.75, 1.25, 9.25, 4.75):
        seen = await page.evaluate(SEEK, time)
        assert seen["time"] == pytest.approx(time, abs=0.001), by
        assert seen["duration"] == pytest.approx(10.0, abs=0.1)
        assert seen["colour"] == pytest.approx(films.colour_at(time), abs=NEAR), f"{by} at {time}"
        assert seen["width"] == films.WIDTH
    await page.evaluate(SEEK, 2.1)
    played = await page.evaluate(PLAY)
    assert played["played"] >= 0.7
    assert played["frames"] >= 15
    assert played["sound"] > 1000
    assert await page.evaluate(SCRUB, [n / 2 for n in range(19)]) == pytest.approx(9.0, abs=0.001)
    assert (await page.evaluate(SEEK, 9.2))["colour"] == pytest.approx(films.colour_at(9.2), abs=NEAR)
    if by == "stream" or os.environ.get("HLS_JS"):
        # Chromium's own HLS does not survive this.
        assert await page.evaluate(SCRUB, [seen["duration"]]) == pytest.approx(seen["duration"], abs=0.1)
        assert (await page.evaluate(SEEK, 3.2))["colour"] == pytest.approx(films.colour_at(3.2), abs=NEAR)
    asked = {request.url.partition("?")[0].rpartition("/")[2] for request in requests}
    if by != "hls":
        assert asked & {"stream", "index.m3u8"} == {"stream"}
        assert "bytes=0-" in [request.headers.get("range") for request in requests]
    else:
        assert {"index.m3u8", "init.mp4", "0.m4s", "2.m4s"} <= asked
    assert "signature" in requests[-1].url


def test_it_plays_seeks_and_scrubs(url, tmp_path):
    content = films.film(tmp_path / "film.mp4", films.H264).read_bytes()
    _in_browser(url, tmp_path, content, _is_the_film, ways=("stream", "hls"))


def test_one_that_browsers_do_not_play_is_played_once_it_is_encoded(url, tmp_path):
    content = films.film(tmp_path / "film.mp4", films.HEVC).read_bytes()

    async def prepare(client, video, store, database) -> None:
        seen = await rendered(client, database, store, video)
        assert (seen["hls"], seen["stream"]) == ("rendition", "rendition")

    _in_browser(url, tmp_path, content, _is_the_film, ways=("hls", "rendition"), prepare=prepare)


_FLAC, _OPUS = (Tone("flac"),), (Tone("libopus"),)
_BETWEEN = {"x264-params": "keyint=50:bframes=3:b-adapt=0:b-pyramid=normal"}

#: Of all that is said to be played as it is, something, and what is on the brink of not being.
PLAYED = {
    "h264-aac.mp4": Mix(options=_BETWEEN),
    "h264-flac.mp4": Mix(sound=_FLAC),
    "h264-opus.mp4": Mix(sound=_OPUS),
    "h264-flac.mkv": Mix(sound=_FLAC, options=_BETWEEN),
    "vp9-opus.webm": Mix("libvpx-vp9", _OPUS),
    "vp9-aac.mp4": Mix("libvpx-vp9"),
    "vp9.webm": Mix("libvpx-vp9", ()),
    "av1-opus.webm": Mix("libsvtav1", _OPUS),
    "av1-flac.mkv": Mix("libsvtav1", _FLAC),
    "wide.mp4": Mix(aspect=Fraction(2)),
    "gaps.mkv": Mix(sound=(Tone(start_s=0.45, seconds=4.6, hole=(2.0, 2.05)),)),
}


def test_whatever_is_said_to_be_played_as_it_is_is_played(url, tmp_path):
    used = {mix.codec for mix in PLAYED.values()}, {tone.codec for mix in PLAYED.values() for tone in mix.sound}
    assert [len(each) for each in used] == [len(playable._VIDEO), len(playable._SOUND)]

    async def prepare(client, video, store, database) -> None:
        seen = (await client.get(f"/v1/videos/{video}/playback")).json()
        assert (seen["as_it_is"], seen["why_not"], seen["hls"]) == (True, None, "original")

    async def look(page, requests, name) -> None:
        played = await page.evaluate(PLAY)
        assert played["played"] >= 0.7, name
        assert (played["sound"] > 1000) == bool(PLAYED[name].sound), name
        # In the second segment, where sound may be over, and back in the first.
        for time in (5.75, 4.75, 0.25):
            seen = await page.evaluate(SEEK, time)
            assert seen["colour"] == pytest.approx(films.colour_at(time), abs=NEAR), f"{name} at {time}"
            assert seen["width"] == films.WIDTH * PLAYED[name].aspect, name
            assert seen["duration"] == pytest.approx(6.0, abs=0.1), name

    contents = {name: written(tmp_path / name, mix).read_bytes() for name, mix in PLAYED.items()}
    _all_in_browser(url, tmp_path, contents, look, ways=("hls",), prepare=prepare)
