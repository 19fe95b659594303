"""A comparison of two models as one HTML page: a single file that opens from disk and needs no network.

    page = render_html(comparison, pictures)

`page.html` is the frame, `compare.css` and `page.js` are what it holds besides the building blocks of the report's
page; see `serving.html_page` for how texts of strangers are kept from acting.
"""

import html
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import msgspec

from pipeline.pictures import Picture
from serving import html_page, report_html
from serving.models_compare_console import summary
from serving.models_compare_run import Comparison

HERE = "serving.compare_html"


def render_html(comparison: Comparison, pictures: Sequence[Sequence[Picture]] = ()) -> str:
    """The page as text; write it as UTF-8.

    Args:
        pictures: for each video, of the frames that the models disagree on, as many as there are.
    """
    style = html_page.joined(report_html.HERE, "style.css", "panels.css") + html_page.joined(HERE, "compare.css")
    script = html_page.joined(report_html.HERE, "elements.js", "theming.js") + html_page.joined(HERE, "page.js")
    theme = html_page.joined(report_html.HERE, "theme.js")
    a, b = (html_page.text(one.asked) for one in (comparison.a, comparison.b))
    return html_page.template(HERE).substitute(
        policy=html.escape(html_page.policy(style, script, theme, media="'none'")),
        title=html.escape(f"{a} and {b} · model comparison"),
        a=html.escape(a),
        b=html.escape(b),
        summary="".join(_summary(comparison)),
        style=style,
        theme=theme,
        data=html_page.embedded(_data(comparison, pictures)),
        script=script,
    )


def _data(comparison: Comparison, pictures: Sequence[Sequence[Picture]]) -> dict[str, object]:
    """What the page draws."""
    return {
        "comparison": msgspec.to_builtins(comparison),
        "thumbs": [
            [{"t": one.time_s, "src": html_page.inlined(one.jpeg)} for one in of_a_video] for of_a_video in pictures
        ],
    }


def _summary(comparison: Comparison) -> Iterator[str]:
    """What a reader without scripts gets: the measures of each video."""
    for one in comparison.videos:
        name = html.escape(html_page.text(PurePosixPath(one.path).name))
        lines = "".join(f"<li>{html.escape(html_page.text(line))}</li>" for line in summary(one))
        yield f"<h2>{name}</h2><ul>{lines}</ul>"
