"""Retention: videos go when the rule that holds for them says so, unless they are under a legal hold."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.audit.signing import AuditSigner
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.db.rights import LegalHold, RetentionRule
from serving.db.statements import execute
from serving.errors import Held, NotFound, ServerError
from serving.rights.erasing import erase, finish, locked, signer_of
from serving.rights.rules import Rule, due, ruling
from serving.storage.store import Store

_LOG = logging.getLogger(__name__)

#: Videos that are looked at in one transaction.
_AT_ONCE: Final = 500

#: Tenants of each of whom one video is erased at a time.
_TENANTS_AT_ONCE: Final = 4

_NOW: Final = select(func.now())

_TENANTS: Final = text("SELECT DISTINCT tenant_id FROM retention_rule WHERE keep_days IS NOT NULL")


@dataclass(frozen=True, slots=True)
class Due:
    """A video whose time is over."""

    video_id: str
    title: str
    created_at: datetime
    rule: Rule
    since: datetime
    held: bool
    """Whether it stays all the same, under a legal hold."""


async def rules_of(session: AsyncSession, tenant: str, *, lock: bool = False) -> list[Rule]:
    """A tenant's rules; `lock`: which nobody changes for the rest of the transaction."""
    query = select(RetentionRule).where(RetentionRule.tenant_id == tenant).order_by(col(RetentionRule.id))
    rows = (await session.exec(query.with_for_update(read=True) if lock else query)).all()
    return [Rule(row.id, row.label, row.keep_days) for row in rows]


async def over(
    database: Database, tenant: str, rules: Sequence[Rule], after: tuple[datetime, str] | None = None
) -> AsyncIterator[Due]:
    """The tenant's videos whose time is over by some rules, oldest first.

    Args:
        after: begin behind this place: when a video came, and its id.
    """
    days = [rule.keep_days for rule in rules if rule.keep_days is not None]
    if not days:
        return
    async with database.read(tenant) as session:
        now = (await session.exec(_NOW)).one()
    while True:
        async with database.read(tenant) as session:
            found = (await session.exec(_page(tenant, now - timedelta(days=min(days)), after))).all()
        for video_id, title, labels, created_at, held in found:
            rule = ruling(labels, rules)
            since = None if rule is None else due(created_at, rule)
            if rule is not None and since is not None and since <= now:
                yield Due(video_id, title, created_at, rule, since, held is not None)
        if len(found) < _AT_ONCE:
            return
        after = found[-1][3], found[-1][0]


def _page(tenant: str, until: datetime, after: tuple[datetime, str] | None) -> Any:
    columns = (Video.id, Video.title, Video.labels, Video.created_at, LegalHold.video_id)
    query = (
        select(*columns)  # type: ignore[call-overload]
        .join(LegalHold, col(LegalHold.video_id) == col(Video.id), isouter=True)
        .where(Video.tenant_id == tenant, col(Video.created_at) <= until)
    )
    if after is not None:
        query = query.where(func.row(Video.created_at, Video.id) > func.row(*after))
    return query.order_by(col(Video.created_at), col(Video.id)).limit(_AT_ONCE)


async def apply(database: Database, store: Store) -> int:
    """Erase all videos whose time is over; how many there were. Tenants take turns, some at once, and one that cannot
    be erased is in nobody's way. Several processes may do it at once."""
    async with database.read(SYSTEM) as session:
        tenants = list((await execute(session, _TENANTS)).scalars())
    signer = signer_of(database, store)
    turns = deque([(tenant, _over_now(database, tenant)) for tenant in tenants])
    done = 0
    while turns:
        # One of each tenant: two of the same might wait for each other's rows.
        going = [turns.popleft() for _ in range(min(len(turns), _TENANTS_AT_ONCE))]
        erased = await asyncio.gather(*(_next_erased(database, store, signer, *turn) for turn in going))
        done += sum(found or 0 for found in erased)
        turns += [turn for turn, found in zip(going, erased, strict=True) if found is not None]
    return done


async def _over_now(database: Database, tenant: str) -> AsyncIterator[str]:
    """Ids of a tenant's videos that are to go."""
    async with database.read(tenant) as session:
        rules = await rules_of(session, tenant)
    async for one in over(database, tenant, rules):
        if not one.held:
            yield one.video_id


async def _next_erased(
    database: Database, store: Store, signer: AuditSigner, tenant: str, videos: AsyncIterator[str]
) -> bool | None:
    """Whether the next of a tenant's videos was erased; None where there is none any more."""
    video_id = await anext(videos, None)
    if video_id is None:
        return None
    try:
        return await _erase(database, store, signer, tenant, video_id)
    except Exception as error:  # noqa: BLE001 - whatever it is, others are to go
        unexpected = None if isinstance(error, ServerError) else error
        said = "%s of %s cannot be erased, though its time is over (%s); tried again later"
        _LOG.warning(said, video_id, tenant, error or type(error).__name__, exc_info=unexpected)
        return False


async def _erase(database: Database, store: Store, signer: AuditSigner, tenant: str, video_id: str) -> bool:
    """Erase one, if its time is over still: its labels, and the rules, may be others by now. That is judged once
    neither can change any more, so that nothing goes that was to stay while it was waited for."""
    try:
        async with database.write("video.delete", tenant) as session:
            video = await locked(session, tenant, video_id)
            rule = ruling(video.labels, await rules_of(session, tenant, lock=True))
            since = None if rule is None else due(video.created_at, rule)
            if rule is None or since is None or since > (await session.exec(_NOW)).one():
                # With an error, so that of what was done for it nothing stays either.
                raise _NotDue("it is to stay by now")
            erasure = await erase(session, video, "retention", rule.id)
    except (NotFound, Held, _NotDue) as error:
        # Somebody was quicker, in either direction.
        _LOG.info("%s: %s", video_id, error)
        return False
    await finish(database, store, signer, erasure)
    return True


class _NotDue(Exception):
    """A video whose time is not over, or not any more."""
