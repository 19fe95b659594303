"""The page of a comparison, in a real browser and opened from disk: it draws, stays off the network, can be read."""

import base64
import hashlib
import io
import re
from collections.abc import Callable

import msgspec
import pytest
from PIL import Image
from rich.console import Console

from pipeline.comparing import Cosines, LabelAgreement, Neighbourhoods, SegmentChange, Span
from pipeline.pictures import Picture
from pipeline.report import Notice
from pipeline.saying import Said
from pipeline.side_by_side import Disagreement, Saying, VideoComparison
from serving.compare_html import render_html
from serving.models_bench_machine import Machine
from serving.models_bench_measure import Rate
from serving.models_compare_console import print_comparison
from serving.models_compare_run import Compared, Comparison
from tests.serving import test_report_browser as pages

browser, visit = pages.browser, pages.visit

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u2028[red]\udcff"

#: Of the texts on the marks of the two models, beside those of every page.
CONTRASTS = pages.CONTRASTS.replace("const pairs = [", 'const pairs = [["surface", "a"], ["surface", "b"], ')

Visits = Callable[..., pages.Visit]


def span(start_s: float, end_s: float) -> Span:
    return Span(start_s=start_s, end_s=end_s)


def label(name: str, a: Span | None, b: Span | None) -> LabelAgreement:
    ranges = [() if one is None else (one,) for one in (a, b)]
    return LabelAgreement(
        label=name,
        both_s=1.5,
        only_a_s=2.5,
        only_b_s=0.0,
        agreement=0.375,
        share_a=0.4,
        share_b=0.15,
        ranges_a=ranges[0],
        ranges_b=ranges[1],
    )


def frame(time_s: float, name: str) -> Disagreement:
    return Disagreement(
        time_s=time_s,
        labels=0.81,
        neighbours=0.25,
        a=Saying(labels=(Said(label=name, probability=0.94, holds=True),), most_like_s=2.0),
        b=Saying(labels=(Said(label="stripes", probability=0.13, holds=False),), most_like_s=7.5),
    )


def compared(name: str, per_s: float) -> Compared:
    rate = Rate(batch=16, per_s=per_s, per_cpu_s=per_s * 2, matrix_share=0.21, peak_bytes=3 << 20, turns=3, spread=0.1)
    return Compared(
        asked=name,
        name=name,
        version="1",
        space="a" * 16,
        kind="embedding",
        dim=192,
        device="cpu",
        dtype="float32",
        load_s=1.25,
        memory_bytes=20 << 20,
        gflop=0.0417,
        images=rate,
    )


def comparison(name: str = "bundled", labels: int = 2) -> Comparison:
    video = VideoComparison(
        path=f"a folder/{name.replace('/', '')}.mp4",
        duration_s=10.0,
        width=320,
        height=180,
        frames=20,
        labels=labels,
        agreement=0.375,
        tags=tuple(label(f"{name} {n}", span(1, 5), span(3.5, 5) if n % 2 else None) for n in range(labels)),
        neighbourhoods=Neighbourhoods(frames=20, spearman=0.912, nearest=3, overlap=0.7, by_chance=3 / 19),
        cosines=Cosines(mean=0.9991, lowest=0.9876, lowest_s=4.0),
        segments=SegmentChange(overlap=0.5, kept=1, a=(span(0, 4),), b=(span(0, 2), span(6, 8))),
        disagreements=(frame(4.0, name), frame(1.0, name)),
        notices=(Notice(code="label_left_out", message=name),),
    )
    machine = Machine(
        time="2026-11-26T12:00:00+00:00",
        cpu="a CPU",
        cpu_flags=(),
        cores=2,
        memory_gib=8.0,
        gpu=None,
        system="Linux",
        python="3.11",
        versions={},
        load_average=(0.5, 0.5, 0.5),
        matrix_gflops={"float32": 50.0},
    )
    return Comparison(
        machine=machine,
        frame=(180, 320),
        a=compared(name, 100.0),
        b=compared("other", 150.0),
        encoder=None,
        videos=(video,),
        agreement=0.375,
        notices=(Notice(code="not_isolated", message=name),),
    )


@pytest.fixture(scope="module")
def pictures() -> list[tuple[Picture, ...]]:
    out = io.BytesIO()
    Image.new("RGB", (320, 180), (200, 30, 40)).save(out, "JPEG")
    return [tuple(Picture(time_s, out.getvalue()) for time_s in (4.0, 1.0))]


def test_nothing_is_loaded_from_elsewhere_and_only_what_is_there_may_run(pictures):
    text = render_html(comparison(), pictures)
    assert not re.findall(r"(?:https?:)?//[a-z][\w.-]+", text.replace("http://www.w3.org/2000/svg", ""))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    assert policy[1].startswith("default-src &#x27;none&#x27;")
    assert "unsafe" not in policy[1]
    code = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", text, re.DOTALL)
    digests = {base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in code}
    assert set(re.findall(r"sha256-([^&]+)&#x27;", policy[1])) == digests
    assert len(digests) == 3


@pytest.mark.slow
@pytest.mark.skipif(pages.CHROMIUM is None, reason="no Chromium on the PATH (Debian: apt-get install chromium)")
class TestInABrowser:
    def test_it_says_what_was_measured(self, visit: Visits, pictures):
        page = visit(render_html(comparison(), pictures))
        assert page.text("h1") == "A bundled against B other"
        facts = page.page.locator("#facts").inner_text()
        assert "38\u202f%" in facts
        assert "faster: B" in facts
        assert "1.5×" in facts
        measures = page.page.locator("#videos .facts").inner_text()
        for said in ("0.912", "70\u202f%", "16\u202f% by chance", "0.9991", "1 of 1 kept"):
            assert said in measures
        assert page.page.get_by_role("row", name="Images a second").inner_text().split("\t")[1:] == [
            "100, 16 at a time",
            "150, 16 at a time",
        ]
        lanes = page.page.locator("tbody .lanes [role=img]")
        assert lanes.nth(0).get_attribute("aria-label") == "A: 0:01.0 – 0:05.0. B: nowhere."
        bar, track = (page.page.locator(f"tbody tr:nth-child(2) .lane.b{rest}").bounding_box() for rest in (" i", ""))
        assert bar
        assert track
        assert (bar["x"] - track["x"]) / track["width"] == pytest.approx(0.35, abs=0.01)
        assert bar["width"] / track["width"] == pytest.approx(0.15, abs=0.01)

    def test_the_frames_are_shown_with_what_each_says(self, visit: Visits, pictures):
        page = visit(render_html(comparison(), pictures))
        card = page.page.locator(".card").first
        assert card.locator("img").get_attribute("alt") == "Frame at 0:04.0"
        assert page.page.evaluate("document.querySelector('.card img').naturalWidth") == 320
        words = card.locator(".words").inner_text()
        assert "bundled 0.94 · most like 0:02.0" in words
        assert "nothing; nearest is stripes 0.13 · most like 0:07.5" in words
        assert "labels differ by 0.81; 25\u202f% of the nearest frames the same" in card.inner_text()

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_every_colour_can_be_read(self, visit: Visits, theme: str):
        page = visit(render_html(comparison()), color_scheme=theme)
        weak = [(pair, round(ratio, 2)) for pair, ratio, least in page.page.evaluate(CONTRASTS) if ratio < least]
        assert weak == []

    def test_the_theme_can_be_changed(self, visit: Visits):
        page = visit(render_html(comparison()), color_scheme="light")
        page.page.get_by_role("button", name="Dark theme").click()
        assert page.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 20, 21)"

    @pytest.mark.parametrize("width", [390, 1280])
    def test_names_of_strangers_are_shown_and_do_nothing(self, visit: Visits, pictures, width: int):
        page = visit(render_html(comparison(ATTACK, labels=45), pictures), viewport={"width": width, "height": 800})
        assert "alert(1)" in page.text("h1")
        assert page.page.locator("main script, img[src='x']").count() == 0
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.page.locator("details summary").inner_text() == "15 more labels"

    def test_what_was_not_compared_leaves_no_hole(self, visit: Visits):
        one = comparison()
        bare = msgspec.structs.replace(
            one.videos[0],
            labels=0,
            agreement=None,
            tags=(),
            neighbourhoods=None,
            cosines=None,
            segments=None,
            disagreements=(),
            notices=(),
        )
        page = visit(render_html(msgspec.structs.replace(one, videos=(bare,), agreement=None, notices=())))
        shown = page.page.locator("#videos").inner_text()
        assert "They disagree on no frame." in shown
        assert "NaN" not in shown
        assert "null" not in shown


def test_the_console_has_the_same_in_80_columns(capsys):
    print_comparison(comparison(ATTACK), Console(width=80, highlight=False))
    said = capsys.readouterr().out
    assert "rank correlation 0.912; 70% of the 3 nearest are the same (16% by chance)" in said
    assert "cosine 0.99910 on average, 0.98760 at 0:04.0" in said
    assert "50% of the time that either chose is in both; 1 of 1 of A are kept by B, which has 2" in said
    assert "nothing (at most stripes" in said
    assert "[red]" in said
    assert max(len(line) for line in said.splitlines() if "─" in line) <= 80
