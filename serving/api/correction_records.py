"""What is said of tags, as callers say and see it."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar.params import Parameter

from pipeline.record import Record
from serving.db.tagging import Correction
from serving.tagging.corrections import Saying
from serving.tagging.deriving import TO_THE_END

Verdict = Literal["accepted", "rejected"]

CorrectionId = Annotated[str, Parameter(pattern=r"^cor_[0-9A-Z]{26}$", description="Id of a correction")]
LabelName = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class CorrectionRequest(Record, frozen=True, kw_only=True):
    """What is so, whatever a model finds."""

    video_id: Annotated[str, msgspec.Meta(pattern=r"^vid_[0-9A-Z]{26}$")]
    label: LabelName
    """Any of its names, or a category."""
    verdict: Verdict
    vocabulary: Annotated[str, msgspec.Meta(pattern=r"^(voc_[0-9A-Z]{26}|[a-z0-9][a-z0-9_-]{0,99})$")] | None = None
    """Id or name of the vocabulary whose label it is; left out: of the tags of the video's report, for which nothing is
    learnt."""
    start_s: Seconds | None = None
    """The stretch, to `end_s`; without either, the whole video."""
    end_s: Seconds | None = None
    segment: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | None = None
    """Instead: a key segment of the latest report, by its place."""


class CorrectionView(Record, frozen=True, kw_only=True):
    """What was said of a label in a stretch of a video."""

    id: str
    vocabulary_id: str | None
    """None: of the tags of its report."""
    label: str
    video_id: str
    start_s: float
    end_s: float | None
    """None: to the end of the video."""
    verdict: Verdict
    created_at: datetime
    judged_at: datetime
    """When it was said last; where stretches overlap, the latest holds."""
    links: dict[str, str]


def saying(data: CorrectionRequest) -> Saying:
    """What is asked."""
    return Saying(
        label=data.label,
        video_id=data.video_id,
        accepted=data.verdict == "accepted",
        vocabulary=data.vocabulary,
        start_s=data.start_s,
        end_s=data.end_s,
        segment=data.segment,
    )


def view(row: Correction) -> CorrectionView:
    """A row as callers see it."""
    links = {"video": f"/v1/videos/{row.video_id}"}
    if row.vocabulary_id is not None:
        links["vocabulary"] = f"/v1/vocabularies/{row.vocabulary_id}"
    return CorrectionView(
        id=row.id,
        vocabulary_id=row.vocabulary_id,
        label=row.label,
        video_id=row.video_id,
        start_s=row.from_s,
        end_s=None if row.to_s == TO_THE_END else row.to_s,
        verdict="accepted" if row.accepted else "rejected",
        created_at=row.created_at,
        judged_at=row.judged_at,
        links=links,
    )
