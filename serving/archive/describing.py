"""What is known of a video, as an archive has it."""

import msgspec
import numpy as np
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.report import Tag
from pipeline.tracks import Track
from serving.archive.form import ArchivedCorrection, ArchivedLooks, ArchivedReport, ArchivedTags, ArchivedVideo
from serving.copies.keeping import track_of
from serving.db.media import Video
from serving.db.tagging import Correction, FoundTags


async def described_video(
    session: AsyncSession, tenant: str, video: Video, archived: tuple[ArchivedReport, ...]
) -> ArchivedVideo:
    """What is known of a video, but for what is in its reports."""
    said = select(Correction).where(Correction.tenant_id == tenant, Correction.video_id == video.id)
    found = select(FoundTags).where(FoundTags.tenant_id == tenant, FoundTags.video_id == video.id)
    looks = await track_of(session, tenant, video.id)
    return ArchivedVideo(
        id=video.id,
        title=video.title,
        labels=tuple(video.labels),
        user_metadata=video.user_metadata,
        filename=video.filename,
        size_bytes=video.size_bytes,
        sha256=video.sha256,
        created_at=video.created_at,
        updated_at=video.updated_at,
        reports=archived,
        corrections=tuple(
            ArchivedCorrection(
                vocabulary_id=row.vocabulary_id,
                label=row.label,
                from_s=row.from_s,
                to_s=row.to_s,
                accepted=row.accepted,
                judged_at=row.judged_at,
            )
            for row in (await session.exec(said.order_by(col(Correction.judged_at), col(Correction.id)))).all()
        ),
        found_tags=tuple(
            ArchivedTags(
                vocabulary_id=row.vocabulary_id, space=row.space, tags=msgspec.convert(row.tags, tuple[Tag, ...])
            )
            for row in (await session.exec(found.order_by(FoundTags.vocabulary_id))).all()
        ),
        looks=None if looks is None else _looks(looks),
    )


def _looks(track: Track) -> ArchivedLooks:
    return ArchivedLooks(pts_s=tuple(track.pts_s.tolist()), float16=track.vectors.astype(np.dtype("<f2")).tobytes())
