"""The page of docs/pictures.md in a real browser, on another origin than the API."""

import asyncio
import base64
import functools
import http.server
import io
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from pipeline.synthesis import AUDIO_RATE_HZ
from serving.db.database import Database
from tests.serving.api.conftest import SETTINGS, made_key, served
from tests.serving.jobs.conftest import World
from tests.serving.pictures.films import FPS, analyzed, film, number_of, put
from tests.serving.sealing import store_at

async_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (Debian: apt-get install chromium)"),
]
PAGE = Path(__file__).parents[3] / "docs" / "pictures.md"
QUIET = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]


#: What the player shows, as a picture.
_FRAME = """() => {
  const video = document.querySelector("video"), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.toDataURL("image/png");
}"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def frontend(folder: Path) -> Iterator[str]:
    """A server of files, as frontends have; its origin."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


#: Where no hls.js is: what plays HLS then is Chromium.
_STAND_IN = """export default class {
  loadSource(url) { this.url = url; }
  attachMedia(video) { video.src = this.url; }
}"""


def give_hls(folder: Path) -> None:
    """Put what pages import beside them: hls.js, where the variable HLS_JS says where its `dist/hls.mjs` is."""
    where = os.environ.get("HLS_JS")
    (folder / "hls.mjs").write_bytes(Path(where).read_bytes() if where else _STAND_IN.encode())


def test_a_page_shows_the_storyboard_and_the_chapters(url, tmp_path, hostile_report, sample_report):
    # Sound begins a second before the pictures.
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(7 * AUDIO_RATE_HZ) / AUDIO_RATE_HZ)
    late = film(tmp_path / "late.mp4", times_s=[1 + number / FPS for number in range(60)], audio=tone)
    folder = tmp_path / "page"
    folder.mkdir()
    give_hls(folder)
    (folder / "favicon.ico").touch()

    async def main(origin: str) -> None:
        async with AsyncExitStack() as stack:
            database = Database(url)
            stack.push_async_callback(database.close)
            world = await World.made(database)
            settings = replace(SETTINGS, server=replace(SETTINGS.server, cors_origins=origin))
            address = await stack.enter_async_context(served(url, store_at(tmp_path / "objects"), settings))
            headers = {"Authorization": f"Bearer {await made_key(database, 'a')}"}
            client = await stack.enter_async_context(
                httpx.AsyncClient(base_url=address, headers=headers, timeout=60, verify=False)
            )
            video = await put(client, late)
            shots = [
                replace(sample_report.shots[1], start_s=n * 1.5, end_s=n * 1.5 + 1.5, transition="cut")
                for n in range(4)
            ]
            report = replace(hostile_report, video=sample_report.video, shots=tuple(shots), segments=())

            await analyzed(SimpleNamespace(a=client, world=world), video, report, 6.0)
            shown = (await client.get(f"/v1/videos/{video}/pictures")).json()
            shown["chapters_url"] += "&by=shots"
            (folder / "pictures.json").write_text(json.dumps(shown))
            urls = await client.post(f"/v1/videos/{video}/urls", json={"purposes": ["hls"]})
            (folder / "urls.json").write_text(urls.text)
            (example,) = re.findall(r"```html\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
            (folder / "index.html").write_text(example.replace("http://127.0.0.1:8000", address), "utf-8")
            await _look(f"{origin}/index.html", [tag.label for tag in report.tags])

    with frontend(folder) as origin:
        asyncio.run(main(origin))


async def _look(address: str, labels: list[str]) -> None:
    # Chromium's own sandbox does not start for root, which is who runs tests in a container.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET + sandbox)
        page = await browser.new_page(viewport={"width": 760, "height": 760})
        page.set_default_timeout(60_000)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append("a dialog opened"))
        await page.goto(address)
        await page.wait_for_selector("body[data-ready]", state="attached")

        cues = "kind => [...[...document.querySelector('video').textTracks].find(t => t.kind === kind).cues]"
        spans = await page.evaluate(f"({cues})('metadata').map(c => [c.startTime, c.endTime])")
        assert spans == [[n, n + 1] for n in range(6)]
        spans = await page.evaluate(f"({cues})('chapters').map(c => [c.startTime, c.endTime])")
        assert spans == [[n * 1.5, n * 1.5 + 1.5] for n in range(4)]
        titles = await page.locator("#chapters li").all_inner_texts()
        assert len(titles) == 4
        assert any(labels[0][:30] in title for title in titles), titles
        assert await page.locator("#chapters script, #chapters img").count() == 0

        # Before it knows the video, a player is of another height, and says that it is wherever it was sent.
        await page.wait_for_function("document.querySelector('video').readyState >= 2")
        bar = await page.locator("#bar").bounding_box()
        for second in (0, 3, 4):
            await page.mouse.move(bar["x"] + bar["width"] * (second + 0.5) / 6, bar["y"] + bar["height"] / 2)
            await page.wait_for_function("document.querySelector('#preview img').naturalWidth > 0")
            assert await page.evaluate("document.querySelector('#preview img').naturalWidth") == 6 * 160
            picture = Image.open(io.BytesIO(await page.locator("#preview").screenshot()))
            assert second <= number_of(picture) / FPS < second + 1
        await page.locator("#chapters li").nth(2).click()
        there = "(v => v.currentTime === 3 && !v.seeking && v.readyState >= 2)(document.querySelector('video'))"
        await page.wait_for_function(there)
        shot = await page.evaluate(_FRAME)
        assert number_of(Image.open(io.BytesIO(base64.b64decode(shot.partition(",")[2])))) == 3 * FPS
        poster = "(async () => { const i = new Image(); i.src = document.querySelector('video').poster;"
        assert await page.evaluate(f"{poster} await i.decode(); return i.naturalWidth }})()") == 160
        if os.environ.get("SCREENSHOTS"):
            await page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / "pictures.png")
        assert complaints == []
        await browser.close()
