"""What a video looks like, in the database: written in the transaction that its job succeeds in, and read again."""

from typing import Final

import numpy as np
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.tracks import Track, shows
from serving.db.copies import LOOKS_DIM
from serving.db.statements import execute
from serving.db.vectors import literals, matrix
from serving.jobs.events import notify

#: Wakes those who look for copies.
COPIES_CHANNEL: Final = "automations_copies"

#: Rows of one statement: about a megabyte.
_AT_ONCE: Final = 1000

_GONE = text("DELETE FROM look WHERE tenant_id = :tenant AND video_id = :video")

_LOOKS = text(
    """
    INSERT INTO look (tenant_id, video_id, position, pts_s, vector)
    SELECT :tenant, :video, position, pts_s, vector::halfvec
    FROM unnest(cast(:position AS int[]), cast(:pts_s AS float8[]), cast(:vector AS text[]))
        AS new (position, pts_s, vector)
    """
)

_DUE = text(
    """
    INSERT INTO video_looks (tenant_id, video_id, blank_s, state, attempts, fence)
    VALUES (:tenant, :video, cast(:blank_s AS float8[]), 'due', 0, 0)
    ON CONFLICT (video_id) DO UPDATE SET blank_s = excluded.blank_s, state = 'due', next_at = now(), attempts = 0,
        fence = video_looks.fence + 1
    """
)

_DUE_AGAIN = text(
    """
    UPDATE video_looks SET state = 'due', next_at = now(), attempts = 0, fence = fence + 1
    WHERE tenant_id = :tenant AND video_id = :video
    """
)

_BLANK = text("SELECT blank_s FROM video_looks WHERE tenant_id = :tenant AND video_id = :video")

_SEEN = text(
    """
    SELECT pts_s, halfvec_send(vector) AS sent FROM look
    WHERE tenant_id = :tenant AND video_id = :video ORDER BY position
    """
)


async def write_looks(session: AsyncSession, tenant: str, video: str, looks: Track | None) -> None:
    """What a video looks like, in place of what was known; and that its copies are to be looked for.

    Args:
        looks: None: what is known stays. Of a video of which nothing is known, nothing is written then.
    """
    this = {"tenant": tenant, "video": video}
    if looks is None:
        await execute(session, _DUE_AGAIN, **this)
    else:
        await execute(session, _GONE, **this)
        shown = shows(looks)
        places = np.flatnonzero(shown)
        for first in range(0, len(places), _AT_ONCE):
            some = places[first : first + _AT_ONCE]
            await execute(
                session,
                _LOOKS,
                **this,
                position=some.tolist(),
                pts_s=looks.pts_s[some].tolist(),
                vector=literals(looks.vectors[some]),
            )
        await execute(session, _DUE, **this, blank_s=looks.pts_s[~shown].tolist())
    await notify(session, COPIES_CHANNEL)


async def track_of(session: AsyncSession, tenant: str, video: str) -> Track | None:
    """What a video looks like; None where that is not known."""
    this = {"tenant": tenant, "video": video}
    blank = (await execute(session, _BLANK, **this)).one_or_none()
    if blank is None:
        return None
    rows = (await execute(session, _SEEN, **this)).all()
    pts_s = np.array([*(row.pts_s for row in rows), *blank.blank_s], np.float64)
    vectors = np.zeros((len(pts_s), LOOKS_DIM), np.float32)
    vectors[: len(rows)] = matrix([row.sent for row in rows], LOOKS_DIM)
    order = np.argsort(pts_s, kind="stable")
    return Track(vectors[order], pts_s[order])
