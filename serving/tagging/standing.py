"""A vocabulary as it is looked for in a space: its words as vectors, and what was learnt for its labels."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import heads
from models.base import Likelihood
from pipeline import tags, vocabulary
from pipeline.report import Source
from pipeline.retagging import Taught
from pipeline.spec import Label
from pipeline.tags import LabelVectors
from serving.db.search import Space
from serving.db.tagging import LearnedLabel
from serving.tagging import phrases
from serving.tagging.naming import true_names


@dataclass(frozen=True, slots=True)
class Standing:
    """All that tags of a video are made with."""

    tenant: str
    vocabulary: str
    """Its id."""
    space: Space
    labels: LabelVectors
    likelihood: Likelihood
    taught: dict[str, Taught]
    learned: dict[str, str]
    """Label -> id of what was learnt for it."""

    @property
    def source(self) -> Source:
        """Of what it finds."""
        return Source(name=self.space.model, version=self.space.space)


def likelihood_of(space: Space) -> Likelihood:
    """Of the model that a space is of."""
    return Likelihood(scale=space.scale, bias=space.bias)


def texts_of(labels: Sequence[Label], space: Space) -> list[str]:
    """All that a text tower is asked for them."""
    prompts, bank = tags.texts(labels, likelihood_of(space))
    return [*prompts, *bank]


def basis_of(label: Label) -> str:
    """Names a label's words and threshold: what is learnt beside these does not hold beside others."""
    told = msgspec.json.encode((vocabulary.phrases(label), label.threshold))
    return hashlib.sha256(told).hexdigest()[:16]


async def standing(
    session: AsyncSession, tenant: str, which: str, labels: Sequence[Label], space: Space
) -> Standing | None:
    """As it is now; None where a text was not asked for yet."""
    texts = texts_of(labels, space)
    known = await phrases.known(session, tenant, space, texts)
    if len(known) < len(set(texts)):
        return None
    likelihood = likelihood_of(space)
    holding = await active(session, tenant, which, labels, space.space)
    return Standing(
        tenant,
        which,
        space,
        tags.embedded(labels, known, space.dim, likelihood),
        likelihood,
        {label: taught(row) for label, row in holding.items()},
        {label: row.id for label, row in holding.items()},
    )


async def active(
    session: AsyncSession, tenant: str, which: str, labels: Sequence[Label], space: str
) -> dict[str, LearnedLabel]:
    """Label -> what was learnt for it and holds: the latest that was not undone, in this space and beside its words and
    threshold as they are."""
    query = (
        select(LearnedLabel)
        .where(
            LearnedLabel.tenant_id == tenant,
            LearnedLabel.vocabulary_id == which,
            LearnedLabel.space == space,
            col(LearnedLabel.undone_at).is_(None),
        )
        .order_by(col(LearnedLabel.number).desc())
    )
    bases = {label.name: basis_of(label) for label in labels}
    # What was learnt when the label had another name counts on under that.
    names = true_names(labels)
    found: dict[str, LearnedLabel] = {}
    for row in (await session.exec(query)).all():
        name = names.get(row.label, row.label)
        if bases.get(name) == row.basis:
            found.setdefault(name, row)
    return found


def taught(row: LearnedLabel) -> Taught:
    """What it does to a label."""
    if row.head is None:
        return Taught(row.threshold, row.number)
    head = heads.from_bytes(f"{row.label} {row.number}", bytes(row.head))
    return Taught(row.threshold, row.number, lambda vectors: head.run(vectors)[:, 0])
