"""Runs over a library as callers see them."""

from datetime import datetime
from typing import Annotated, Any, Literal, cast

import msgspec
from litestar.params import Parameter

from pipeline.record import Record
from pipeline.report import Tag
from serving.db.tagging import Tagging
from serving.tagging.deriving import Tagged
from serving.tagging.runs import Reason

State = Literal["queued", "running", "succeeded", "failed", "canceled"]

TaggingId = Annotated[str, Parameter(pattern=r"^tgg_[0-9A-Z]{26}$", description="Id of a tagging")]


class TaggingView(Record, frozen=True, kw_only=True):
    """A run over your library, in which every video is tagged anew by one vocabulary."""

    id: str
    vocabulary_id: str
    reason: Reason
    """`applied` and `replaced`: the vocabulary was. `learned`: something was learnt for a label; `undone`: that was.
    `space`: searches are answered from another space now."""
    state: State
    space: str | None
    """Whose vectors are read; none before it began, as `total`."""
    total: int | None
    """Videos that there were when it began."""
    done: int
    changed: int
    """Videos whose tags are others now."""
    gained: int
    """Tags that videos have now, and had not."""
    lost: int
    decodes: int
    """Frames that were decoded for it: none."""
    texts: int
    """Texts that a model was asked for: those that it never was before."""
    error: dict[str, Any] | None
    """Why it failed, or waits for another attempt."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]


class VideoTag(Tag, frozen=True, kw_only=True):
    """A tag that a video has, and from whom."""

    vocabulary: str | None = None
    """Name of the vocabulary that stands for your library and found it; none: the video's latest report."""
    vocabulary_id: str | None = None


def view(row: Tagging) -> TaggingView:
    """A row as callers see it."""
    return TaggingView(
        id=row.id,
        vocabulary_id=row.vocabulary_id,
        reason=cast(Reason, row.reason),
        state=cast(State, row.state),
        space=row.space,
        total=row.total,
        done=row.done,
        changed=row.changed,
        gained=row.gained,
        lost=row.lost,
        decodes=row.decodes,
        texts=row.texts,
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        links={"self": f"/v1/taggings/{row.id}", "vocabulary": f"/v1/vocabularies/{row.vocabulary_id}"},
    )


def tag_views(tagged: Tagged) -> tuple[VideoTag, ...]:
    """The tags of one origin as callers see them."""
    whose = tagged.vocabulary
    name, which = (None, None) if whose is None else (whose.name, whose.id)
    return tuple(VideoTag(vocabulary=name, vocabulary_id=which, **msgspec.structs.asdict(tag)) for tag in tagged.tags)
