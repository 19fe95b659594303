"""The page as text: whole, self-contained, and deaf to what strangers write. `test_report_browser.py` opens it."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser

import msgspec
import pytest

from pipeline.pictures import Picture
from pipeline.report import Report
from serving.report_html import render_html


class Page(HTMLParser):
    """What an HTML parser makes of the page: its elements, and the text of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.raw.append((self.cdata_elem, data))

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def data(self) -> dict:
        blocks = [text for tag, text in self.raw if tag == "script" and text.startswith('{"report"')]
        return json.loads("".join(blocks))

    @property
    def policy(self) -> str:
        return next(a["content"] or "" for a in self.attributes("meta") if "http-equiv" in a)


def test_it_carries_the_report_without_the_vectors(sample_report: Report, sample_thumbnails: list[Picture]) -> None:
    text = render_html(sample_report, sample_thumbnails, "harbour.mp4")
    data = Page(text).data
    assert [segment["score"] for segment in data["report"]["segments"]] == pytest.approx([0.86, 0.73, 0.61, 0.41])
    assert data["video"] == "harbour.mp4"
    assert base64.b64decode(data["thumbs"][0]["src"].partition(",")[2]) == sample_thumbnails[0].jpeg
    assert data["report"]["features"]["embeddings"] is None
    assert sample_report.features.embeddings is not None
    assert sample_report.features.embeddings.float16_base64 not in text
    assert "2026-11 Harbour festival, camera 2.mp4</bdi></h1>" in text


def test_nothing_is_loaded_from_elsewhere(sample_report: Report) -> None:
    text = render_html(sample_report, video_src="harbour.mp4")
    # The name of the SVG language looks like an address, and is none.
    assert not re.findall(r"(?:https?:)?//[a-z][\w.-]+", text.replace("http://www.w3.org/2000/svg", ""))
    page = Page(text)
    assert not [a for _, a in page.elements if "src" in a or "style" in a or any(name.startswith("on") for name in a)]
    assert [a["href"] for a in page.attributes("link")] == ["data:,"]


def test_the_policy_allows_exactly_the_scripts_and_the_style_of_the_page(sample_report: Report) -> None:
    page = Page(render_html(sample_report))
    assert page.policy.startswith("default-src 'none'")
    assert "unsafe" not in page.policy
    code = [text for tag, text in page.raw if tag == "style" or not text.startswith('{"report"')]
    assert len(code) == 3
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code}
    assert set(re.findall(r"'sha256-([^']+)'", page.policy)) == digests


def test_hostile_text_stays_text(hostile_report: Report, sample_report: Report) -> None:
    page, clean = Page(render_html(hostile_report)), Page(render_html(sample_report))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in clean.elements]
    assert page.policy == clean.policy
    assert page.data["report"]["segments"][0]["reasons"] == list(hostile_report.segments[0].reasons)


def test_broken_unicode_and_numbers_that_json_lacks(hostile_report: Report) -> None:
    signals = {"motion": (float("nan"), float("inf"), 0.123456)}
    features = msgspec.structs.replace(hostile_report.features, pts_s=(0.0, 1.0, 2.0), signals=signals)
    text = render_html(msgspec.structs.replace(hostile_report, features=features))
    text.encode("utf-8")
    assert Page(text).data["report"]["features"]["signals"]["motion"] == [None, None, 0.1235]


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("clips/a b#1?.mp4", "clips/a%20b%231%3F.mp4"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("//example.org/x.mp4", "/example.org/x.mp4"),
        ("50%.mp4", "50%25.mp4"),
        ("größe\udcff.mp4", "gr%C3%B6%C3%9Fe%FF.mp4"),
    ],
)
def test_the_video_is_a_path_and_never_another_address(sample_report: Report, path: str, url: str) -> None:
    assert Page(render_html(sample_report, video_src=path)).data["video"] == url


def test_nothing_found_and_much_found(empty_report: Report, make_long_report: Callable[[], Report]) -> None:
    assert Page(render_html(empty_report)).data["thumbs"] == []
    long = render_html(make_long_report())
    assert len(Page(long).data["report"]["shots"]) == 300
    assert len(long) < 2_000_000
