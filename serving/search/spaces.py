"""The spaces of a tenant: which one answers, which ones are filled beside it, and how far they are.

What answers is changed in one transaction, and changed back in another: the space that answered before is filled on.
"""

from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.database import SYSTEM, Database
from serving.db.search import Space
from serving.db.statements import execute
from serving.errors import Conflict, NotFound
from serving.search.asking import Answer
from serving.search.indexes import index_name, is_whole

State = Literal["active", "shadow", "side", "leaving"]
"""Of spaces that are seen; see `serving.db.search.Space`."""

#: Share of the videos that a space has to have before it answers, where nobody says otherwise: all.
WHOLE: Final = 1.0

#: Videos that are in any space; without vectors there is nothing to put into another one.
_COUNTS = text(
    """
    SELECT s.space,
        (SELECT count(*) FROM video v WHERE v.tenant_id = s.tenant_id
            AND EXISTS (SELECT FROM moment m WHERE m.video_id = v.id AND m.space = s.space)) AS videos,
        (SELECT count(*) FROM video v WHERE v.tenant_id = s.tenant_id
            AND EXISTS (SELECT FROM moment m WHERE m.video_id = v.id)) AS library,
        (SELECT count(*) FROM space_due d WHERE d.tenant_id = s.tenant_id AND d.space = s.space
            AND d.next_at = 'infinity') AS given_up,
        coalesce(s.error, (SELECT d.error FROM space_due d WHERE d.tenant_id = s.tenant_id AND d.space = s.space
            AND d.error IS NOT NULL ORDER BY d.next_at DESC, d.video_id LIMIT 1)) AS error
    FROM space s WHERE s.tenant_id = :tenant AND (cast(:space AS text) IS NULL OR s.space = :space)
    """
)

#: While a space is filled in the shadow, videos lack it, or the one that answers, where they are in another one only.
_LACK = text(
    """
    INSERT INTO space_due (tenant_id, space, video_id)
    SELECT s.tenant_id, s.space, v.id FROM space s JOIN video v ON v.tenant_id = s.tenant_id
    WHERE s.state IN ('active', 'shadow') AND (cast(:tenant AS text) IS NULL OR s.tenant_id = :tenant)
        AND EXISTS (SELECT FROM space x WHERE x.tenant_id = s.tenant_id AND x.state = 'shadow')
        AND EXISTS (SELECT FROM moment m WHERE m.video_id = v.id)
        AND NOT EXISTS (SELECT FROM moment m WHERE m.video_id = v.id AND m.space = s.space)
    ON CONFLICT (space, video_id) DO NOTHING
    """
)
#: Rows of a space that is removed, in one transaction.
_AT_ONCE: Final = 2000
_LEAVING = """
    DELETE FROM {table} WHERE ctid = ANY(ARRAY(
        SELECT r.ctid FROM {table} r JOIN space s ON s.tenant_id = r.tenant_id AND s.space = r.space
        WHERE s.state = 'leaving' LIMIT :most FOR UPDATE OF r SKIP LOCKED
    )) RETURNING 1
    """
_MOMENTS_LEAVING = text(_LEAVING.format(table="moment"))
_SEGMENTS_LEAVING = text(_LEAVING.format(table="segment_vector"))
_VIDEOS_LEAVING = text(_LEAVING.format(table="video_vector"))

#: Its row stays: reports that keep its vectors would bring it back (`catching_up`).
_SPACES_LEAVING = text(
    """
    UPDATE space s SET state = 'removed' WHERE s.state = 'leaving'
        AND NOT EXISTS (SELECT FROM moment m WHERE m.tenant_id = s.tenant_id AND m.space = s.space) RETURNING 1
    """
)

_MADE = text(
    """
    INSERT INTO space (tenant_id, space, dim, model, scale, bias, state)
    VALUES (:tenant, :space, :dim, :model, :scale, :bias, 'shadow')
    ON CONFLICT (tenant_id, space) DO UPDATE SET state = 'shadow', model = excluded.model, retry_at = NULL, error = NULL
    """
)
_ONE_BY_ONE = text("SELECT pg_advisory_xact_lock(hashtextextended('space of ' || :tenant, 0))")
_TO = text("UPDATE space SET state = :state WHERE tenant_id = :tenant AND space = :space")
_FORGET_DUE = text("DELETE FROM space_due WHERE tenant_id = :tenant AND space = :space")
_AGAIN = text(
    """
    UPDATE space_due SET next_at = now(), attempts = 0, error = NULL
    WHERE tenant_id = :tenant AND space = :space AND next_at = 'infinity'
    """
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A space, and how far it is."""

    space: Space
    videos: int
    """That are in it."""
    library: int
    """Videos that are in any space of the tenant."""
    given_up: int
    """Videos that could not be put into it."""
    error: str | None
    """Why, of one of them, or why one has to wait."""
    indexed: bool
    """Whether its graph is there; small spaces need none."""

    @property
    def coverage(self) -> float:
        """Share of the library's videos that are in it, 0 to 1."""
        return self.videos / self.library if self.library else 1.0


async def standings(session: AsyncSession, tenant: str, name: str | None = None) -> list[Standing]:
    """All spaces of a tenant, the one that answers first; or the one of that name.

    Raises:
        NotFound: there is none of that name.
    """
    query = select(Space).where(Space.tenant_id == tenant, Space.state != "removed")
    if name is not None:
        query = query.where(Space.space == name)
    found = (await session.exec(query.order_by(col(Space.created_at), col(Space.space)))).all()
    if name is not None and not found:
        raise NotFound(f"there is no space {name}")
    counts = {row.space: row for row in (await execute(session, _COUNTS, tenant=tenant, space=name)).all()}
    indexed = {one.space for one in found if await is_whole(session, index_name("moment", one.space))}
    return [
        Standing(one, row.videos, row.library, row.given_up, row.error and row.error["detail"], one.space in indexed)
        for one in sorted(found, key=lambda one: one.state != "active")
        if (row := counts.get(one.space)) is not None
    ]


async def active_space(session: AsyncSession, tenant: str) -> Space | None:
    """The one that searches are answered from; None where nothing was analysed."""
    query = select(Space).where(Space.tenant_id == tenant, Space.state == "active")
    return (await session.exec(query)).one_or_none()


async def build(session: AsyncSession, tenant: str, model: str, described: Answer) -> None:
    """Have a space filled in the shadow. What is there of it stays, and what was given up is tried again.

    Args:
        model: what jobs ask for to get its vectors.
        described: what that model says of itself.

    Raises:
        Conflict: it answers already, is about to be removed, or there is nothing to be filled from.
    """
    states = await _locked(session, tenant)
    if "active" not in states.values():
        raise Conflict("no video was analysed yet: the model of the first job makes the space that answers")
    if (state := states.get(described.space)) in ("active", "leaving"):
        told = "is the one that answers" if state == "active" else "is being removed; wait until it is gone"
        raise Conflict(f"the space {described.space} of {model} {told}")
    await execute(
        session,
        _MADE,
        tenant=tenant,
        space=described.space,
        dim=described.dim,
        model=model,
        scale=described.scale,
        bias=described.bias,
    )
    await execute(session, _AGAIN, tenant=tenant, space=described.space)
    await lack(session, tenant)


async def activate(session: AsyncSession, tenant: str, name: str, least_coverage: float = WHOLE) -> bool:
    """Have searches answered from a space from the end of this transaction on; the one before is filled on, and may be
    activated again. False: it is the one that answers already.

    Raises:
        NotFound: there is none of that name.
        Conflict: too few videos are in it, or it is about to be removed.
    """
    states = await _locked(session, tenant)
    (standing,) = await standings(session, tenant, name)
    if standing.space.state == "active":
        return False
    if standing.space.state == "leaving":
        raise Conflict(f"the space {name} is being removed")
    if standing.coverage < least_coverage:
        raise Conflict(
            f"{standing.videos} of {standing.library} videos are in the space {name}: wait until all are, or say by "
            "least_coverage that so many will do"
        )
    for before, state in states.items():
        if state == "active":
            await execute(session, _TO, tenant=tenant, space=before, state="shadow")
    await execute(session, _TO, tenant=tenant, space=name, state="active")
    await lack(session, tenant)
    return True


async def leave(session: AsyncSession, tenant: str, name: str) -> None:
    """Have a space removed; that takes a while, and nobody sees it meanwhile.

    Raises:
        NotFound: there is none of that name.
        Conflict: it is the one that answers.
    """
    states = await _locked(session, tenant)
    if states.get(name, "removed") == "removed":
        raise NotFound(f"there is no space {name}")
    if states[name] == "active":
        raise Conflict(f"searches are answered from the space {name}: activate another one first")
    await execute(session, _TO, tenant=tenant, space=name, state="leaving")
    await execute(session, _FORGET_DUE, tenant=tenant, space=name)


async def remove_leaving(database: Database) -> int:
    """Remove spaces that are to be, some rows at a time; of how many the last ones went."""
    for some in (_MOMENTS_LEAVING, _SEGMENTS_LEAVING, _VIDEOS_LEAVING):
        removed = _AT_ONCE
        while removed == _AT_ONCE:
            async with database.write("space.removed", SYSTEM) as session:
                removed = len((await execute(session, some, most=_AT_ONCE)).all())
    async with database.write("space.removed", SYSTEM) as session:
        return len((await execute(session, _SPACES_LEAVING)).all())


async def lack(session: AsyncSession, tenant: str | None) -> None:
    """Note which videos of a tenant, or of all (None), are to be put into which space."""
    await execute(session, _LACK, tenant=tenant)


async def space_lock(session: AsyncSession, tenant: str) -> None:
    """Nobody else makes or changes spaces of the tenant until the end of the transaction."""
    await execute(session, _ONE_BY_ONE, tenant=tenant)


async def _locked(session: AsyncSession, tenant: str) -> dict[str, str]:
    """Space -> its state, as it stays until the end of the transaction."""
    await space_lock(session, tenant)
    # Who puts a video into a space refers to it, and need not wait.
    query = select(Space.space, Space.state).where(Space.tenant_id == tenant).with_for_update(key_share=True)
    return {row[0]: row[1] for row in (await session.exec(query)).all()}
