"""A report as one HTML page: a single file that opens from disk, needs no network and runs no foreign code.

    page = render_html(report, [Picture(3.0, jpeg), ...], "holiday.mp4")

`page.html` is the frame, `*.css` and `*.js` are what it holds; the page draws itself from the report's own JSON. Names
and labels come from strangers, so they only ever travel as escaped text or as JSON, and the page's
Content-Security-Policy names its styles and scripts by hash: whatever slipped through would still not run.
"""

import html
import os
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import quote

import msgspec

from pipeline.pictures import Picture
from pipeline.report import Report
from serving import html_page

HERE = "serving.report_html"
"""Where the files of the page lie, some of which other pages use, too."""

STYLES = ("style.css", "timeline.css", "panels.css")
_SCRIPTS = ("elements.js", "dom.js", "timeline.js", "cards.js", "details.js", "theming.js", "page.js")


def render_html(report: Report, thumbnails: Sequence[Picture] = (), video_src: str | None = None) -> str:
    """The page as text; write it as UTF-8.

    Args:
        thumbnails: in any order; key segments and shots look best with one inside each. None at all is fine.
        video_src: path of the video, relative to where the page will lie. The page plays it if it is there, and makes
            do with the thumbnails if not.
    """
    style, script, theme = (html_page.joined(HERE, *names) for names in (STYLES, _SCRIPTS, ("theme.js",)))
    name = html_page.text(PurePosixPath(report.video.path).name or "video")
    return html_page.template(HERE).substitute(
        policy=html.escape(html_page.policy(style, script, theme)),
        title=html.escape(f"{name} · video report"),
        name=html.escape(name),
        summary=_summary(report),
        style=style,
        theme=theme,
        data=_data(report, thumbnails, video_src),
        script=script,
    )


def _data(report: Report, thumbnails: Sequence[Picture], video_src: str | None) -> str:
    """The JSON that the page draws, safe inside a `<script>` element."""
    # The vectors are by far the largest part of a report, and the page has no use for them.
    shown = msgspec.structs.replace(report, features=msgspec.structs.replace(report.features, embeddings=None))
    pictures = sorted(thumbnails, key=lambda thumbnail: thumbnail.time_s)
    data = {
        "report": msgspec.to_builtins(shown),
        "thumbs": [{"t": round(picture.time_s, 3), "src": html_page.inlined(picture.jpeg)} for picture in pictures],
        "video": None if video_src is None else _path_url(video_src),
    }
    return html_page.embedded(data)


def _path_url(path: str) -> str:
    """A path as a relative URL: `#`, `?` and `%` are escaped, and no scheme or host can be smuggled in."""
    escaped = quote(os.fsencode(path), safe="/")
    return "/" + escaped.lstrip("/") if escaped.startswith("/") else escaped


def _summary(report: Report) -> str:
    """What a reader without scripts gets: the key segments and their reasons."""
    items = (
        f"<li>{segment.start_s:.1f}–{segment.end_s:.1f} s, score {segment.score:.2f}: "
        f"{html.escape(html_page.text('; '.join(segment.reasons)))}</li>"
        for segment in report.segments
    )
    return f"<p>{len(report.shots)} shots, {len(report.segments)} key segments.</p><ol>{''.join(items)}</ol>"
