"""Writes `report.html`: the report, its thumbnails, and the video beside it where there is one."""

import os
from pathlib import Path

from pipeline.pictures import pictures
from pipeline.report import Report
from serving.local import LocalToolkit
from serving.report_html import render_html

#: Pictures on the time line, beside those of the segments.
STRIP = 24


def write_page(report: Report, video: Path, page: Path, toolkit: LocalToolkit) -> None:
    """Render the page; its thumbnails are decoded from `video` with what `toolkit` reads videos with.

    Raises:
        VideoError: the video can no longer be read.
    """
    duration_s = report.video.duration_s
    times_s = [segment.thumbnail_s for segment in report.segments]
    times_s += [duration_s * (n + 0.5) / STRIP for n in range(STRIP)]
    media = toolkit.open(video)
    found = pictures(media, toolkit.decoder, media.inspect(), times_s)
    page.parent.mkdir(parents=True, exist_ok=True)
    source = os.path.relpath(video.resolve(), page.parent.resolve())
    page.write_text(render_html(report, found, source), encoding="utf-8")
