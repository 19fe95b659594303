"""What was learnt for labels: told, and undone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.record import Record
from serving.db.database import Database
from serving.db.statements import execute
from serving.db.tagging import LearnedLabel, Learning
from serving.db.vocabularies import Vocabulary
from serving.errors import Conflict
from serving.search.spaces import active_space
from serving.tagging import runs
from serving.tagging.corrections import shared
from serving.tagging.deriving import labels_of
from serving.tagging.due import learn_soon
from serving.tagging.naming import label_named, true_names
from serving.tagging.standing import active, basis_of
from serving.vocabularies import rows

Standing = Literal["holds", "followed", "undone", "other_space", "other_words"]
"""`holds`: the label is tagged by it. `followed`: by something that was learnt later. `undone`: somebody undid it.
`other_space`: it was learnt of vectors of another space than the one that searches are answered from; `other_words`:
beside other prompts or another threshold than the label has. Both are learnt anew by themselves."""

#: What is about to be learnt of what was said before is not to follow at once what was undone.
_NOT_NOW = text(
    "UPDATE learning SET state = 'done', asked = false, fence = fence + 1, lease_until = NULL "
    "WHERE tenant_id = :tenant AND vocabulary_id = :vocabulary AND label = :label AND state <> 'done'"
)


class Figures(Record, frozen=True, kw_only=True):
    """How good it is to say that a label holds, by frames of examples, each of which counts the same."""

    precision: float
    """Of what was said to show it, how much did; 0 where nothing was said to, as `recall` and `f1`."""
    recall: float
    f1: float
    accuracy: float
    """How much was said right, whether it shows the label or not."""


class Outcome(Record, frozen=True, kw_only=True):
    """What came of learning for a label."""

    number: int | None = None
    """Of what was learnt; none where nothing was."""
    why: str
    """In words."""
    accepted: int = 0
    """Examples of each kind."""
    rejected: int = 0
    space: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """Something that was learnt, and how it stands."""

    row: LearnedLabel
    standing: Standing


async def undo(database: Database, tenant: str, which: str, said: str) -> Told:
    """Have a label be tagged as before what was learnt for it last, by what was learnt before that or by its words;
    what was undone.

    Raises:
        NotFound: no such vocabulary or label is there.
        Conflict: nothing that was learnt holds.
    """
    async with database.write("vocabulary.write", tenant) as session:
        vocabulary = await rows.find(session, tenant, which, lock=True)
        label = label_named(labels_of(vocabulary), said).name
        row = (await _holding(session, tenant, vocabulary)).get(label)
        if row is None:
            raise Conflict(f"nothing that was learnt holds for {label[:50]!r}; there is nothing to be undone")
        await execute(session, _NOT_NOW, tenant=tenant, vocabulary=vocabulary.id, label=label)
        if vocabulary.applied_at is not None:
            # The run before what was learnt: in the order of a page, which has its run and notes what it changed.
            await runs.begin(session, tenant, vocabulary.id, "undone")
        row.undone_at = text("now()")  # type: ignore[assignment]
        session.add(row)
        await session.flush()
        await session.refresh(row)
    return Told(row, "undone")


async def ask(database: Database, tenant: str, which: str, said: str) -> Learning:
    """Have a worker learn for a label now, of all that was said of it so far. Raises NotFound as `undo`."""
    async with database.write("vocabulary.write", tenant) as session:
        vocabulary = await shared(session, tenant, which)
        label = label_named(labels_of(vocabulary), said).name
        await learn_soon(session, vocabulary, label, asked=True)
        return await session.get_one(Learning, (vocabulary.id, label))


async def all_of(session: AsyncSession, tenant: str, which: str) -> Sequence[Learning]:
    """How it stands with learning for each label of which something was said. Raises NotFound."""
    vocabulary = await rows.find(session, tenant, which)
    query = select(Learning).where(Learning.tenant_id == tenant, Learning.vocabulary_id == vocabulary.id)
    return (await session.exec(query.order_by(Learning.label))).all()


async def page(
    session: AsyncSession, tenant: str, which: str, said: str | None, before: str | None, limit: int
) -> list[Told]:
    """What was learnt for a vocabulary, latest first, at most `limit`.

    Args:
        said: for this label, by any of its names.
        before: id of the last one of the page before.
    """
    vocabulary = await rows.find(session, tenant, which)
    labels = labels_of(vocabulary)
    query = select(LearnedLabel).where(LearnedLabel.tenant_id == tenant, LearnedLabel.vocabulary_id == vocabulary.id)
    if said is not None:
        meant = label_named(labels, said)
        query = query.where(col(LearnedLabel.label).in_((meant.name, *meant.aliases)))
    if before is not None:
        query = query.where(col(LearnedLabel.id) < before)
    found = (await session.exec(query.order_by(col(LearnedLabel.id).desc()).limit(limit))).all()
    space = await active_space(session, tenant)
    holding = await _holding(session, tenant, vocabulary)
    bases = {label.name: basis_of(label) for label in labels}
    name = None if space is None else space.space
    names = true_names(labels)
    told = [(row, names.get(row.label, row.label)) for row in found]
    return [Told(row, _standing(row, holding.get(label), bases.get(label), name)) for row, label in told]


async def _holding(session: AsyncSession, tenant: str, vocabulary: Vocabulary) -> dict[str, LearnedLabel]:
    space = await active_space(session, tenant)
    if space is None:
        return {}
    return await active(session, tenant, vocabulary.id, labels_of(vocabulary), space.space)


def _standing(row: LearnedLabel, holding: LearnedLabel | None, basis: str | None, space: str | None) -> Standing:
    if row.undone_at is not None:
        return "undone"
    if holding is not None and holding.id == row.id:
        return "holds"
    if row.space != space:
        return "other_space"
    return "other_words" if row.basis != basis else "followed"
