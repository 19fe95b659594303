"""A report as one HTML page: a single file that opens from disk, needs no network and runs no foreign code.

    page = render_html(report, [Picture(3.0, jpeg), ...], "holiday.mp4")

`page.html` is the frame, `*.css` and `*.js` are what it holds; the page draws itself from the report's own JSON. Names
and labels come from strangers, so they only ever travel as escaped text or as JSON, and the page's
Content-Security-Policy names its styles and scripts by hash: whatever slipped through would still not run.
"""

import base64
import hashlib
import html
import json
import math
import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from string import Template
from typing import Any
from urllib.parse import quote

import msgspec

from pipeline.pictures import Picture
from pipeline.report import Report

_STYLES = ("style.css", "timeline.css", "panels.css")
_SCRIPTS = ("dom.js", "timeline.js", "cards.js", "details.js", "page.js")


def render_html(report: Report, thumbnails: Sequence[Picture] = (), video_src: str | None = None) -> str:
    """The page as text; write it as UTF-8.

    Args:
        thumbnails: in any order; key segments and shots look best with one inside each. None at all is fine.
        video_src: path of the video, relative to where the page will lie. The page plays it if it is there, and makes
            do with the thumbnails if not.
    """
    style, script, theme = _joined(*_STYLES), _joined(*_SCRIPTS), _joined("theme.js")
    name = _text(PurePosixPath(report.video.path).name or "video")
    return _template().substitute(
        policy=html.escape(_policy(style, script, theme)),
        title=html.escape(f"{name} · video report"),
        name=html.escape(name),
        summary=_summary(report),
        style=style,
        theme=theme,
        data=_data(report, thumbnails, video_src),
        script=script,
    )


def _policy(style: str, *scripts: str) -> str:
    """Nothing may load but what the page itself carries, and a video file beside it."""
    allowed = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return (
        f"default-src 'none'; style-src 'sha256-{_sha256(style)}'; script-src {allowed}; "
        "img-src data:; media-src 'self' file: blob:; base-uri 'none'; form-action 'none'"
    )


def _data(report: Report, thumbnails: Sequence[Picture], video_src: str | None) -> str:
    """The JSON that the page draws, safe inside a `<script>` element."""
    # The vectors are by far the largest part of a report, and the page has no use for them.
    shown = msgspec.structs.replace(report, features=msgspec.structs.replace(report.features, embeddings=None))
    pictures = sorted(thumbnails, key=lambda thumbnail: thumbnail.time_s)
    data = {
        "report": _tidy(msgspec.to_builtins(shown)),
        "thumbs": [
            {"t": round(picture.time_s, 3), "src": f"data:image/jpeg;base64,{base64.b64encode(picture.jpeg).decode()}"}
            for picture in pictures
        ],
        "video": None if video_src is None else _path_url(video_src),
    }
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Inside a JSON string "<" may be written as an escape; then no text can close the element or open another.
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _path_url(path: str) -> str:
    """A path as a relative URL: `#`, `?` and `%` are escaped, and no scheme or host can be smuggled in."""
    escaped = quote(os.fsencode(path), safe="/")
    return "/" + escaped.lstrip("/") if escaped.startswith("/") else escaped


def _tidy(value: Any) -> Any:
    """The same value fit for JSON: four decimals (no screen shows more), no NaN, no lone surrogates."""
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_text(key): _tidy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tidy(item) for item in value]
    return value


def _text(value: str) -> str:
    """A string that UTF-8 can hold: file names need not be valid Unicode."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _summary(report: Report) -> str:
    """What a reader without scripts gets: the key segments and their reasons."""
    items = (
        f"<li>{segment.start_s:.1f}–{segment.end_s:.1f} s, score {segment.score:.2f}: "
        f"{html.escape(_text('; '.join(segment.reasons)))}</li>"
        for segment in report.segments
    )
    return f"<p>{len(report.shots)} shots, {len(report.segments)} key segments.</p><ol>{''.join(items)}</ol>"


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _joined(*names: str) -> str:
    return "\n".join(files("serving.report_html").joinpath(name).read_text("utf-8") for name in names)


@cache
def _template() -> Template:
    return Template(_joined("page.html"))
