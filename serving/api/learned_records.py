"""What was learnt, as callers see it."""

from datetime import datetime
from typing import Literal, cast

import msgspec

from pipeline.record import Record
from serving.api.correction_records import LabelName
from serving.db.tagging import Learning
from serving.tagging.learned import Figures, Outcome, Standing, Told


class LabelRequest(Record, frozen=True, kw_only=True):
    """A label of the vocabulary."""

    label: LabelName
    """Any of its names."""


class LearnedView(Record, frozen=True, kw_only=True):
    """Something that was learnt for a label, of what was said of its tags."""

    id: str
    vocabulary_id: str
    label: str
    number: int
    """Counts what was learnt for the label, from 1."""
    standing: Standing
    """`holds`: the label is tagged by it. `followed`: by something that was learnt later. `undone`: that was undone.
    `other_space`: it was learnt of vectors of another model than searches are answered by; `other_words`: beside other
    prompts, or another threshold, than the label has."""
    kind: Literal["threshold", "head"]
    """Another threshold for what its words find, or a head in place of its words."""
    threshold: float
    space: str
    accepted: int
    """Examples that it was learnt from."""
    rejected: int
    before: Figures
    """Of the label's words and its threshold, on the examples."""
    after: Figures
    """Of what was learnt, on examples in videos that it was not learnt from (cross-validated)."""
    gained: int
    """Videos that got the tag by it."""
    lost: int
    """Videos that lost it."""
    gained_videos: tuple[str, ...]
    """The first of them, as `lost_videos`."""
    lost_videos: tuple[str, ...]
    created_at: datetime
    undone_at: datetime | None


class LearningView(Record, frozen=True, kw_only=True):
    """How it stands with learning for a label."""

    label: str
    state: Literal["due", "running", "done", "failed"]
    """`due`: a worker learns once nobody has said more for a few seconds."""
    changed_at: datetime
    """When something was said of it last."""
    outcome: Outcome | None
    """What came of it the last time."""


def learned_view(told: Told) -> LearnedView:
    """One as callers see it."""
    row = told.row
    return LearnedView(
        id=row.id,
        vocabulary_id=row.vocabulary_id,
        label=row.label,
        number=row.number,
        standing=told.standing,
        kind="threshold" if row.head is None else "head",
        threshold=row.threshold,
        space=row.space,
        accepted=row.accepted,
        rejected=row.rejected,
        before=msgspec.convert(row.before, Figures),
        after=msgspec.convert(row.after, Figures),
        gained=row.gained,
        lost=row.lost,
        gained_videos=tuple(row.gained_videos),
        lost_videos=tuple(row.lost_videos),
        created_at=row.created_at,
        undone_at=row.undone_at,
    )


def learning_view(row: Learning) -> LearningView:
    """A row as callers see it."""
    return LearningView(
        label=row.label,
        state=cast(Literal["due", "running", "done", "failed"], row.state),
        changed_at=row.changed_at,
        outcome=None if row.outcome is None else msgspec.convert(row.outcome, Outcome),
    )
