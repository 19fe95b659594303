"""Examples of a label: frames of the stretches of which somebody said something, from the vectors that are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.judging import Judgement
from pipeline.retagging import Samples, curves
from pipeline.spec import Label
from pipeline.tags import holding
from serving.db.media import Video
from serving.db.tagging import Correction
from serving.tagging.deriving import judgement
from serving.tagging.learning import Material
from serving.tagging.retagging import samples_of
from serving.tagging.standing import Standing

#: The latest that was said is learnt from, and no more than so many frames of each.
MOST, MOST_FRAMES = 2000, 64

#: Videos that are read at once.
_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class _Said:
    video: str
    judgement: Judgement


async def gathered(session: AsyncSession, standing: Standing, label: Label) -> Material:
    """The frames of all examples of a label. Of a frame of which several things were said, the latest holds."""
    place = standing.labels.labels.index(label)
    by_video: dict[str, list[Judgement]] = {}
    for one in await _said(session, standing, label):
        by_video.setdefault(one.video, []).append(one.judgement)
    parts: list[tuple[np.ndarray, ...]] = []
    examples, videos = 0, list(by_video)
    for first in range(0, len(videos), _AT_ONCE):
        some = videos[first : first + _AT_ONCE]
        durations_s = await _durations(session, standing.tenant, some)
        kept = await samples_of(session, standing, durations_s)
        # In the order in which it was said, so that the same examples teach the same, whatever their videos are called.
        for video in filter(kept.__contains__, some):
            samples = kept[video]
            rows, truth, example = frames_of(samples, by_video[video])
            p = curves(samples.vectors[rows], standing.labels, standing.likelihood)[:, place]
            number = np.full(len(rows), videos.index(video))
            parts.append((samples.vectors[rows], p, truth, example + examples, number))
            examples += len(by_video[video])
    dim = standing.space.dim
    nothing = (np.zeros((0, dim), np.float32), np.zeros(0), np.zeros(0, bool), np.zeros(0, int), np.zeros(0, int))
    columns = [np.concatenate(some) for some in zip(nothing, *parts, strict=True)]
    words = standing.labels.vectors[standing.labels.owner == place]
    return Material(*columns, words=words, scale=standing.likelihood.scale)


def frames_of(samples: Samples, said: Sequence[Judgement]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames of a video of which something was said, int64 [N]; whether they show it, bool [N]; by which judgement,
    int64 [N]. A stretch between two samples is that of the one that speaks for its middle."""
    count = len(samples.pts_s)
    by = np.full(count, -1)
    starts_s, ends_s = holding(samples.pts_s, samples.duration_s)
    for number, one in enumerate(said):
        end_s = samples.duration_s if one.end_s is None else one.end_s
        within = (samples.pts_s >= one.start_s) & (samples.pts_s < end_s)
        if not within.any():
            middle_s = (one.start_s + end_s) / 2.0
            within = (starts_s <= middle_s) & (middle_s < ends_s)
        rows = np.flatnonzero(within)
        if len(rows) > MOST_FRAMES:
            rows = rows[np.linspace(0, len(rows) - 1, MOST_FRAMES).astype(np.int64)]
        by[rows] = number
    rows = np.flatnonzero(by >= 0)
    accepted = np.array([one.accepted for one in said], bool)
    return rows, accepted[by[rows]], by[rows]


async def _said(session: AsyncSession, standing: Standing, label: Label) -> list[_Said]:
    query = (
        select(Correction)
        .where(
            Correction.tenant_id == standing.tenant,
            Correction.vocabulary_id == standing.vocabulary,
            col(Correction.label).in_((label.name, *label.aliases)),
        )
        .order_by(col(Correction.judged_at).desc(), col(Correction.id).desc())
        .limit(MOST)
    )
    rows = (await session.exec(query)).all()
    return [_Said(row.video_id, judgement(row)) for row in reversed(rows)]


async def _durations(session: AsyncSession, tenant: str, videos: Sequence[str]) -> dict[str, float]:
    query = select(Video.id, Video.duration_s).where(Video.tenant_id == tenant, col(Video.id).in_(videos))
    return {video: duration_s or 0.0 for video, duration_s in (await session.exec(query)).all()}
