"""The page in a real browser, opened from disk: it draws, moves, stays off the network and obeys its own policy."""

import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from pipeline.pictures import Picture
from pipeline.report import LostRange, Report
from pipeline.synthesis import write_video
from serving.report_html import render_html

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (Debian: apt-get install chromium)"),
]
QUIET = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]

#: WCAG contrast of a text colour against each ground that it is used on, in the theme that is on.
CONTRASTS = """() => {
  const probe = document.body.appendChild(document.createElement("i"));
  const light = (name) => {
    probe.style.color = `var(--${name})`;
    const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).map((v) => v / 255);
    const [r, g, b] = parts.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const pairs = [["accent", "paper"], ["on-accent", "accent"]];
  for (const ground of ["paper", "surface", "track", "notice"]) pairs.push(["ink", ground], ["muted", ground]);
  for (const ground of ["shot", "shot-odd"]) pairs.push(["ink", ground]);
  const lines = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => [`signal-${i}`, "surface"]);
  return [...pairs.map((p) => [p.join("/"), ratio(...p), 4.5]), ...lines.map((p) => [p.join("/"), ratio(...p), 3])];
}"""


class Visit:
    """An open page, and everything that it did wrong."""

    def __init__(self, context: "sync_api.BrowserContext", path: Path) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(10_000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append("a dialog opened"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def point_at(self, share: float, selector: str = ".signal .tl-track") -> None:
        """Move the pointer to a share of the time line's length."""
        track = self.page.locator(selector).first
        track.scroll_into_view_if_needed()
        box = track.bounding_box()
        assert box
        self.page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    # Chromium's own sandbox does not start for root, which is who runs tests in a container.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET + sandbox)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: "sync_api.Browser", tmp_path: Path) -> Iterator[Callable[..., Visit]]:
    """Writes a page and opens it, offline; afterwards, nothing may have gone wrong on it."""
    visits: list[Visit] = []

    def open_page(html: str, **options: object) -> Visit:
        path = tmp_path / "report.html"
        path.write_text(html, "utf-8")
        context = browser.new_context(offline=True, **options)  # type: ignore[arg-type]
        visits.append(Visit(context, path))
        return visits[-1]

    yield open_page
    for one in visits:
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith(("file:", "data:"))] == []
        one.page.context.close()


def test_pointing_shows_the_values_of_every_lane(
    visit: Callable[..., Visit], sample_report: Report, sample_thumbnails: list[Picture]
) -> None:
    page = visit(render_html(sample_report, sample_thumbnails))
    assert page.page.locator(".signal").count() == 5
    assert page.text('[data-row="motion"] .value') == ""
    page.point_at(25.5 / 60)
    shown = float(page.text('[data-row="motion"] .value'))
    cell = int(25.5 * 4)
    assert shown == pytest.approx(sample_report.features.signals["motion"][cell], abs=0.02)
    assert page.text('[data-row="red circle"] .value') == "0.97"
    assert page.text('[data-row="blue star"] .value') == ""
    assert page.text('[data-row="Shots"] .value') == "4"
    assert page.text('[data-row="Key segments"] .value') == "0.86"
    assert page.text(".flag").startswith("0:25.")
    page.page.mouse.move(2, 2)
    assert not page.page.locator(".crosshair").is_visible()


def test_choosing_a_segment_marks_it_everywhere_and_goes_there(
    visit: Callable[..., Visit], sample_report: Report, sample_thumbnails: list[Picture]
) -> None:
    page = visit(render_html(sample_report, sample_thumbnails))
    page.page.locator('[data-segment="1"]').click()
    assert page.page.locator('[data-card="1"]').get_attribute("class") == "card chosen"
    assert page.page.locator('[aria-pressed="true"][data-pick="1"]').count() == 2
    assert page.text(".now .time") == "0:47.1"
    assert page.text(".now .hit") == "In key segment 2, score 0.73"
    page.page.locator('[data-card="2"] .reasons').click()
    assert page.text(".now .time") == "0:07.0"
    assert page.page.locator(".card.chosen").count() == 1


def test_the_keyboard_moves_the_time(visit: Callable[..., Visit], sample_report: Report) -> None:
    page = visit(render_html(sample_report))
    ruler = page.page.get_by_role("slider")
    ruler.focus()
    for key, time in (("ArrowRight", "1.0"), ("PageDown", "6.4"), ("End", "60.0"), ("PageUp", "53.8"), ("Home", "0.0")):
        page.page.keyboard.press(key)
        assert ruler.get_attribute("aria-valuenow") == time


def test_a_video_beside_the_page_is_played_and_a_missing_one_does_no_harm(
    visit: Callable[..., Visit], sample_report: Report, sample_thumbnails: list[Picture], tmp_path: Path
) -> None:
    grey = (np.full((90, 160, 3), i % 256, np.uint8) for i in range(600))
    write_video(tmp_path / "a clip #1.mp4", grey, fps=10)
    page = visit(render_html(sample_report, sample_thumbnails, "a clip #1.mp4"))
    page.page.wait_for_function("document.querySelector('video')?.readyState >= 1")
    page.page.locator('[data-card="0"] .pick').click()
    page.page.wait_for_function("document.querySelector('video').currentTime >= 22")
    assert "0:2" in page.text(".now .time")

    absent = visit(render_html(sample_report, sample_thumbnails, "gone.mp4"))
    absent.page.wait_for_selector("#screen.still img")
    assert [line for line in absent.complaints if "ERR_FILE_NOT_FOUND" not in line] == []
    absent.complaints.clear()


def test_the_theme_follows_the_system_then_the_reader_and_lasts(
    visit: Callable[..., Visit], sample_report: Report
) -> None:
    page = visit(render_html(sample_report), color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.page.evaluate(ground) == "rgb(246, 247, 248)"
    page.page.get_by_role("button", name="Dark theme").click()
    assert page.page.evaluate(ground) == "rgb(17, 20, 21)"
    assert page.page.evaluate("localStorage.getItem('report-theme')") == "dark"
    # The next page of the same reader. Chromium hands what is stored from page to page when it pleases, seconds later
    # on a busy machine, so the test puts it there itself.
    later = visit(render_html(sample_report), color_scheme="light")
    later.page.add_init_script("localStorage.setItem('report-theme', 'dark')")
    later.page.reload()
    assert later.page.evaluate(ground) == "rgb(17, 20, 21)"
    assert later.page.get_by_role("button", name="Dark theme").get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_can_be_read(visit: Callable[..., Visit], sample_report: Report, theme: str) -> None:
    page = visit(render_html(sample_report), color_scheme=theme)
    weak = [(pair, round(ratio, 2)) for pair, ratio, least in page.page.evaluate(CONTRASTS) if ratio < least]
    assert weak == []


def test_hostile_names_are_shown_and_do_nothing(
    visit: Callable[..., Visit], hostile_report: Report, sample_thumbnails: list[Picture]
) -> None:
    page = visit(render_html(hostile_report, sample_thumbnails))
    assert "alert(1)" in page.text("h1")
    assert page.page.locator(".reasons li").first.inner_text().startswith("</script><script>alert(1)")
    assert page.page.locator("main script, img[src='x']").count() == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_odd_reports_draw_without_overflowing(
    visit: Callable[..., Visit],
    sample_report: Report,
    empty_report: Report,
    hostile_report: Report,
    make_long_report: Callable[[], Report],
    sample_thumbnails: list[Picture],
    width: int,
) -> None:
    replace = msgspec.structs.replace
    lost = LostRange(start_s=31.0, end_s=35.0, frames=4, reason="damaged packets")
    one_shot = replace(sample_report.shots[0], end_s=60.0)
    reports = {
        "empty": empty_report,
        "hostile": hostile_report,
        "long": make_long_report(),
        "lost": replace(sample_report, decode=replace(sample_report.decode, frames_lost=4, lost=(lost,))),
        "one shot": replace(
            sample_report, shots=(one_shot,), video=replace(sample_report.video, width=720, height=1280)
        ),
        "no length": replace(empty_report, video=replace(empty_report.video, duration_s=0.0)),
    }
    for name, report in reports.items():
        page = visit(render_html(report, sample_thumbnails), viewport={"width": width, "height": 800})
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.page.locator(".lost").count() == len(report.decode.lost), name
        assert page.page.locator(".card").count() == len(report.segments), name


def test_zooming_widens_the_time_line_around_the_play_head(
    visit: Callable[..., Visit], make_long_report: Callable[[], Report]
) -> None:
    page = visit(render_html(make_long_report()))
    width = page.page.evaluate("trackWidth()")
    for _ in range(3):
        page.page.get_by_role("button", name="Zoom in").click()
    assert page.page.evaluate("trackWidth()") == pytest.approx(8 * width, rel=0.01)
    assert page.text("#zoom-level") == "8×"


def test_the_frames_follow_the_pointer(
    visit: Callable[..., Visit], sample_report: Report, sample_thumbnails: list[Picture]
) -> None:
    page = visit(render_html(sample_report, sample_thumbnails))
    page.point_at(0.9)
    near = page.page.evaluate("document.querySelector('#screen img').naturalWidth")
    assert near == Image.open(io.BytesIO(sample_thumbnails[0].jpeg)).width
    assert page.page.evaluate("document.querySelector('#screen img').src === thumbAt(0.9 * duration).src")
