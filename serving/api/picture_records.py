"""What there is to show of a video, as callers see it."""

from datetime import datetime

from pipeline.record import Record


class PosterView(Record, frozen=True, kw_only=True):
    """The picture that stands for a video, and why it is that one."""

    url: str
    at_s: float
    """When its frame begins, seconds."""
    score: float
    """0 to 1; the sum of"""
    parts: dict[str, float]
    """`sharpness`, `exposure`, `contrast`, `colour`, and `moment`: in how good a key segment it is."""
    reasons: tuple[str, ...]
    """The same in words, strongest first."""


class StoryboardView(Record, frozen=True, kw_only=True):
    """Small pictures of all of a video. Picture `n` stands for the time from `n * interval_s` on; it is on sheet
    `n / (columns * rows)`, and sheets are filled row by row."""

    track_url: str
    """The same as WebVTT."""
    sheet_urls: tuple[str, ...]
    interval_s: float
    pictures: int
    columns: int
    rows: int
    """The last sheet may have fewer."""
    width: int
    """Of a picture, pixels; as is"""
    height: int


class PicturesView(Record, frozen=True, kw_only=True):
    """What there is to show of a video. All URLs are signed and relative to the server: a browser needs no key for
    them."""

    expires_at: datetime
    """When the URLs are no longer good."""
    poster: PosterView
    thumbnail_url: str
    """Of the first frame; with `&at_s=12.5` behind it, of another."""
    storyboard: StoryboardView
    chapters_url: str | None
    """None, as the next, where there is no report yet."""
    tags_url: str | None
