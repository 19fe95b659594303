"""Vocabularies in the database: the transactions of a tenant."""

import re
from collections.abc import Callable
from typing import Final

import msgspec
from sqlalchemy import func, text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.spec import Label
from serving.db.accounts import Tenant
from serving.db.database import Database
from serving.db.vocabularies import Vocabulary
from serving.errors import Conflict, NotFound
from serving.ids import new_id
from serving.tagging import due, runs
from serving.tagging.forgetting import forget
from serving.vocabularies import builtin

#: Of one tenant.
MAX_VOCABULARIES: Final = 1000

ID: Final = re.compile(r"voc_[0-9A-Z]{26}")


async def create(database: Database, tenant: str, name: str, description: str, labels: tuple[Label, ...]) -> Vocabulary:
    """A new one. Raises Conflict: the name is taken, or there are as many as there may be."""
    _require_free(name)
    async with database.write("vocabulary.write", tenant) as session:
        await _alone(session, tenant)
        count = select(func.count()).select_from(Vocabulary).where(Vocabulary.tenant_id == tenant)
        if (await session.exec(count)).one() >= MAX_VOCABULARIES:
            raise Conflict(f"there are {MAX_VOCABULARIES} vocabularies already; delete one first")
        await _require_unused(session, tenant, name, None)
        row = Vocabulary(
            id=new_id("voc"), tenant_id=tenant, name=name, description=description, labels=msgspec.to_builtins(labels)
        )
        session.add(row)
        await session.flush()
        await session.refresh(row)
        return row


async def replace(
    database: Database,
    tenant: str,
    which: str,
    name: str,
    description: str,
    labels: tuple[Label, ...],
    require: Callable[[int], None],
) -> Vocabulary:
    """Another content under the same id. Where it stands for the library, that is tagged anew.

    Args:
        which: its id or name.
        require: is told the version that there is, and raises where that is not the one that was meant.

    Raises:
        NotFound: the tenant has none of this id or name.
        Conflict: it is built in, or the new name is taken.
    """
    require_own(which)
    _require_free(name)
    async with database.write("vocabulary.write", tenant) as session:
        await _alone(session, tenant)
        row = await find(session, tenant, which, lock=True)
        require(row.version)
        await _require_unused(session, tenant, name, row.id)
        before = row.labels
        row.name, row.description, row.labels = name, description, msgspec.to_builtins(labels)
        row.version += 1
        row.updated_at = text("now()")  # type: ignore[assignment]
        session.add(row)
        await session.flush()
        await session.refresh(row)
        if row.applied_at is not None and row.labels != before:
            await runs.begin(session, tenant, row.id, "replaced")
        await due.learn_again(session, row, msgspec.convert(before, tuple[Label, ...]))
        return row


async def remove(database: Database, tenant: str, which: str, require: Callable[[int], None]) -> None:
    """Delete one; jobs that used it have their labels. Raises as `replace`."""
    require_own(which)
    async with database.write("vocabulary.write", tenant) as session:
        await _alone(session, tenant)
        row = await find(session, tenant, which, lock=True)
        require(row.version)
        await forget(session, row)
        await session.delete(row)


async def find(session: AsyncSession, tenant: str, which: str, *, lock: bool = False) -> Vocabulary:
    """A tenant's own, by id or name. `lock`: for the rest of the transaction. Raises NotFound."""
    column = Vocabulary.id if ID.fullmatch(which) else Vocabulary.name
    query = select(Vocabulary).where(Vocabulary.tenant_id == tenant, column == which)
    row = (await session.exec(query.with_for_update(key_share=True) if lock else query)).one_or_none()
    if row is None:
        raise NotFound("there is no such vocabulary")
    return row


async def _alone(session: AsyncSession, tenant: str) -> None:
    """Writers of a tenant take turns, so that two at once neither take one name nor count alike."""
    await session.get_one(Tenant, tenant, with_for_update={"key_share": True})


async def _require_unused(session: AsyncSession, tenant: str, name: str, by: str | None) -> None:
    taken = select(Vocabulary.id).where(Vocabulary.tenant_id == tenant, Vocabulary.name == name)
    found = (await session.exec(taken)).one_or_none()
    if found not in (None, by):
        raise Conflict(f"there is a vocabulary {name} already: {found}")


def _require_free(name: str) -> None:
    if name in builtin.all_of_them():
        raise Conflict(f"{name} is the name of a vocabulary that comes with the server; choose another")


def require_own(which: str) -> None:
    """Raises Conflict where a vocabulary comes with the server, which nobody changes."""
    if which in builtin.all_of_them():
        raise Conflict(f"{which} comes with the server and cannot be changed; make one of your own of it")
