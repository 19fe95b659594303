"""Answers about what was found in a library, as the command line reads them: searches, spaces, copies, recommendations,
taxonomies. What it needs of each, as `serving.answers`."""

from datetime import datetime
from typing import Any

import msgspec


class ReasonSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Why something was found, likewise."""

    signal: str
    """`look` or `words`."""
    about: str
    score: float
    weight: float = 1.0
    words: tuple[str, ...] = ()
    both: str | None = None


class ResultSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was found, likewise."""

    video_id: str
    title: str
    start_s: float
    end_s: float
    thumbnail_s: float
    score: float
    tags: tuple[str, ...]
    reasons: tuple[ReasonSeen, ...]


class RejectedSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The best of what was kept out, likewise."""

    video_id: str
    start_s: float
    score: float


class SearchSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found, likewise."""

    data: tuple[ResultSeen, ...]
    next_cursor: str | None
    best_rejected: RejectedSeen | None


class SpaceSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A space of vectors, likewise."""

    space: str
    model: str
    state: str
    videos: int
    library: int
    coverage: float
    given_up: int
    error: str | None


class SharedVideoSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One of two videos that share stretches, likewise."""

    video_id: str
    title: str
    share: float


class StretchSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What they share, likewise."""

    first_start_s: float
    first_end_s: float
    second_start_s: float
    second_end_s: float
    speed: float


class CopySeen(msgspec.Struct, frozen=True, kw_only=True):
    """Two videos that share stretches, likewise."""

    id: str
    first: SharedVideoSeen
    second: SharedVideoSeen
    relation: str
    likeness: float
    stretches: tuple[StretchSeen, ...]


class CopiesSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Copies of a video, or of a library, likewise."""

    data: tuple[CopySeen, ...]
    next_cursor: str | None
    state: str | None = None
    """Of a video: `done`, `pending`, `failed` or `not_looked_at`."""
    pending: int = 0
    """Of a library: videos whose copies are still to be looked for, and others that say nothing either."""
    failed: int = 0
    not_looked_at: int = 0


class ItemSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An item that a reason names, likewise."""

    video_id: str
    segment: int | None
    at_s: float


class BecauseSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Why something is recommended, likewise."""

    signal: str
    item: ItemSeen | None
    similarity: float


class StandInSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What is not recommended besides, likewise."""

    item: ItemSeen
    similarity: float
    copy: bool


class RecommendationSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is recommended, likewise."""

    video_id: str
    title: str
    segment: int | None
    start_s: float
    end_s: float
    score: float
    reasons: tuple[BecauseSeen, ...]
    stands_for: tuple[StandInSeen, ...]


class RecommendationsSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What is recommended, likewise."""

    data: tuple[RecommendationSeen, ...]
    left_out: tuple[StandInSeen, ...]
    way: str


class TaggingSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A run over a library, likewise."""

    id: str
    vocabulary_id: str
    reason: str
    state: str
    total: int | None
    done: int
    changed: int
    gained: int
    lost: int
    error: dict[str, Any] | None


class VocabularySeen(msgspec.Struct, frozen=True, kw_only=True):
    """A vocabulary in a list, likewise."""

    id: str
    name: str
    label_count: int
    applied_at: datetime | None


class CorrectionSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of a tag, likewise."""

    id: str
    label: str
    video_id: str
    start_s: float
    end_s: float | None
    verdict: str


class FiguresSeen(msgspec.Struct, frozen=True, kw_only=True):
    """How good it is to say that a label holds, likewise."""

    precision: float
    recall: float
    f1: float


class LearnedSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was learnt, likewise."""

    label: str
    number: int
    standing: str
    kind: str
    threshold: float
    accepted: int
    rejected: int
    before: FiguresSeen
    after: FiguresSeen
    gained: int
    lost: int
