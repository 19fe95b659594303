"""Rules of retention: how long videos are kept."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, delete, get, patch, post
from litestar.params import Parameter
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.record import Record
from serving.api.access import Principal, needs
from serving.api.page import DEFAULT_LIMIT, MAX_CURSOR, MAX_LIMIT, Page, decode_cursor, page_of
from serving.api.videos import Label
from serving.db.database import Database
from serving.db.rights import RetentionRule
from serving.errors import Conflict, NotFound
from serving.ids import new_id
from serving.rights import retention
from serving.rights.rules import Rule

RuleId = Annotated[str, Parameter(pattern=r"^ret_[0-9A-Z]{26}$", description="Id of a rule")]
Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]

#: Of a tenant; each video that may go is looked at by all of them.
MAX_RULES = 100

#: Id of a rule that is only thought of, in previews.
IMAGINED = "imagined"


class RuleRequest(Record, frozen=True, kw_only=True):
    """How long videos are to be kept."""

    label: Label | None = None
    """Videos that have this label; null: all that no rule with a label is about."""
    keep_days: Days | None
    """Days after they came; null: for ever."""


class RulePatch(Record, frozen=True, kw_only=True):
    """How long they are to be kept instead."""

    keep_days: Days | None
    """Days after they came; null: for ever."""


class RuleView(Record, frozen=True, kw_only=True):
    """How long videos are kept."""

    id: str
    label: str | None
    keep_days: int | None
    created_at: datetime
    updated_at: datetime


class DueView(Record, frozen=True, kw_only=True):
    """A video that would go."""

    video_id: str
    title: str
    created_at: datetime
    rule_id: str
    """By which rule; `imagined`: the one that was asked about."""
    due_at: datetime
    """When its time was over."""
    held: bool
    """It stays all the same: it is under a legal hold."""


class Retention(Controller):
    """`/v1/retention`"""

    path = "/v1/retention"
    tags = ("rights",)

    @get(operation_id="list_retention_rules", **needs("rights:manage"), summary="How long videos are kept")
    async def many(self, principal: Principal, database: Database) -> tuple[RuleView, ...]:
        """All rules. Of those for labels that a video has, the one that keeps longest holds; else the one without a
        label; else the video stays."""
        async with database.read(principal.tenant_id) as session:
            query = select(RetentionRule).where(RetentionRule.tenant_id == principal.tenant_id)
            return tuple(_view(row) for row in (await session.exec(query.order_by(col(RetentionRule.id)))).all())

    @post(operation_id="create_retention_rule", **needs("rights:manage"), summary="Say how long videos are kept")
    async def create(self, principal: Principal, database: Database, data: RuleRequest) -> RuleView:
        """Make a rule. Within the hour, videos are erased whose time is over by it: look at the preview first. There is
        one for each label, and one without."""
        row = RetentionRule(id=new_id("ret"), tenant_id=principal.tenant_id, label=data.label, keep_days=data.keep_days)
        async with database.write("retention.write", principal.tenant_id) as session:
            await _require_room(session, principal.tenant_id)
            session.add(row)
            try:
                await session.flush()
            except IntegrityError:
                raise Conflict("there is a rule for this label already; change that one") from None
            await session.refresh(row)
        return _view(row)

    @patch("/{rule_id:str}", operation_id="change_retention_rule", **needs("rights:manage"), summary="Change a rule")
    async def change(self, principal: Principal, database: Database, rule_id: RuleId, data: RulePatch) -> RuleView:
        """Keep videos longer or shorter. As with a new one, what is over by it goes within the hour."""
        async with database.write("retention.write", principal.tenant_id) as session:
            row = await _find(session, principal.tenant_id, rule_id)
            row.keep_days, row.updated_at = data.keep_days, text("now()")  # type: ignore[assignment]
            session.add(row)
            await session.flush()
            await session.refresh(row)
        return _view(row)

    @delete("/{rule_id:str}", operation_id="delete_retention_rule", **needs("rights:manage"), summary="Drop a rule")
    async def remove(self, principal: Principal, database: Database, rule_id: RuleId) -> None:
        """Videos that it was about are kept as the other rules say; without any, for ever."""
        async with database.write("retention.write", principal.tenant_id) as session:
            await session.delete(await _find(session, principal.tenant_id, rule_id))

    @get("/preview", operation_id="preview_retention", **needs("rights:manage"), summary="What would go now")
    async def preview(
        self,
        principal: Principal,
        database: Database,
        keep_days: Annotated[
            int | None,
            Parameter(ge=1, le=36_500, required=False, description="As if there were this rule, too, or instead."),
        ] = None,
        label: Annotated[
            str | None, Parameter(min_length=1, max_length=100, required=False, description="The label of that rule.")
        ] = None,
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
        cursor: Annotated[str | None, Parameter(max_length=MAX_CURSOR, required=False)] = None,
    ) -> Page[DueView]:
        """Videos whose time is over by the rules that are there, oldest first; with `keep_days`, also by a rule that
        is not made yet. Nothing is erased."""
        async with database.read(principal.tenant_id) as session:
            rules = await retention.rules_of(session, principal.tenant_id)
        if keep_days is not None:
            rules = [rule for rule in rules if rule.label != label] + [Rule(IMAGINED, label, keep_days)]
        after = None if cursor is None else decode_cursor(cursor, tuple[datetime, str])
        found = []
        async for one in retention.over(database, principal.tenant_id, rules, after):
            found.append(one)
            if len(found) > limit:
                break
        return page_of(found, limit, _due, lambda one: (one.created_at, one.video_id))


async def _find(session: AsyncSession, tenant: str, rule_id: str) -> RetentionRule:
    query = select(RetentionRule).where(RetentionRule.tenant_id == tenant, RetentionRule.id == rule_id)
    row = (await session.exec(query.with_for_update())).one_or_none()
    if row is None:
        raise NotFound("there is no such rule")
    return row


async def _require_room(session: AsyncSession, tenant: str) -> None:
    there = (await session.exec(select(RetentionRule.id).where(RetentionRule.tenant_id == tenant))).all()
    if len(there) >= MAX_RULES:
        raise Conflict(f"{MAX_RULES} rules are there already; drop some first")


def _view(row: RetentionRule) -> RuleView:
    return RuleView(
        id=row.id, label=row.label, keep_days=row.keep_days, created_at=row.created_at, updated_at=row.updated_at
    )


def _due(one: retention.Due) -> DueView:
    return DueView(
        video_id=one.video_id,
        title=one.title,
        created_at=one.created_at,
        rule_id=one.rule.id,
        due_at=one.since,
        held=one.held,
    )
