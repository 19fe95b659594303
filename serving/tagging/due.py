"""Labels of which something is to be learnt."""

from collections.abc import Iterable, Sequence
from typing import Final

import asyncpg
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.spec import Label
from serving.db.statements import execute
from serving.db.vocabularies import Vocabulary
from serving.jobs.events import notify
from serving.tagging.deriving import labels_of
from serving.tagging.naming import true_names
from serving.tagging.standing import basis_of
from serving.tagging.writing import TAGGING_CHANNEL

#: Told by the database's clock when it was said, so that a worker can wait until nobody says more. Whoever learns just
#: now knows less than there is to know, and begins anew.
_SOON = text(
    """
    INSERT INTO learning (tenant_id, vocabulary_id, label, state, changed_at, asked, fence, attempt)
    VALUES (:tenant, :vocabulary, :label, 'due', clock_timestamp(), :asked, 0, 0)
    ON CONFLICT (vocabulary_id, label) DO UPDATE SET state = 'due', changed_at = excluded.changed_at, attempt = 0,
        asked = learning.asked OR excluded.asked, fence = learning.fence + 1, lease_until = NULL
    """
)

#: Of labels of which something was said before, by any of their names.
_AGAIN = text(
    """
    INSERT INTO learning (tenant_id, vocabulary_id, label, state, changed_at, asked, fence, attempt)
    SELECT :tenant, :vocabulary, new.label, 'due', clock_timestamp(), false, 0, 0
    FROM unnest(cast(:names AS text[]), cast(:labels AS text[])) AS new (name, label)
    WHERE EXISTS (
            SELECT FROM correction
            WHERE tenant_id = :tenant AND origin = :vocabulary AND correction.label = new.name)
        OR EXISTS (SELECT FROM learning WHERE vocabulary_id = :vocabulary AND learning.label = new.name)
    GROUP BY new.label
    ON CONFLICT (vocabulary_id, label) DO UPDATE SET state = 'due', changed_at = excluded.changed_at, attempt = 0,
        fence = learning.fence + 1, lease_until = NULL
    """
)
#: The same as `_SOON`, by any of the names that labels have.
_WITHOUT: Final = """
    INSERT INTO learning (tenant_id, vocabulary_id, label, state, changed_at, asked, fence, attempt)
    SELECT DISTINCT v.tenant_id, v.id, l ->> 'name', 'due', clock_timestamp(), false, 0, 0
    FROM unnest($1::text[], $2::text[]) AS said (vocabulary_id, label)
    JOIN vocabulary v ON v.id = said.vocabulary_id
    CROSS JOIN jsonb_array_elements(v.labels) AS l
    WHERE l ->> 'name' = said.label OR l -> 'aliases' ? said.label
    ON CONFLICT (vocabulary_id, label) DO UPDATE SET state = 'due', changed_at = excluded.changed_at, attempt = 0,
        fence = learning.fence + 1, lease_until = NULL
"""
_ALL = text(
    """
    UPDATE learning SET state = 'due', changed_at = clock_timestamp(), attempt = 0, fence = fence + 1,
        lease_until = NULL
    WHERE tenant_id = :tenant
    """
)


async def learn_soon(session: AsyncSession, vocabulary: Vocabulary, label: str, *, asked: bool = False) -> None:
    """Have a worker learn for a label once nobody has said more for a while, or `asked`, at once. Nothing is learnt for
    what is a category only."""
    labels = labels_of(vocabulary)
    # It may be said of a name that the label had once.
    label = true_names(labels).get(label, label)
    if any(one.name == label for one in labels):
        await execute(session, _SOON, tenant=vocabulary.tenant_id, vocabulary=vocabulary.id, label=label, asked=asked)
        await notify(session, TAGGING_CHANNEL)


async def learn_again(session: AsyncSession, vocabulary: Vocabulary, before: Sequence[Label]) -> None:
    """The same for the labels whose words or threshold are others than before: what was learnt does not hold there."""
    labels = labels_of(vocabulary)
    names = true_names(labels)
    old = {names.get(label.name, label.name): basis_of(label) for label in before}
    others = [
        (name, label.name)
        for label in labels
        if old.get(label.name) != basis_of(label)
        for name in (label.name, *label.aliases)
    ]
    await execute(
        session,
        _AGAIN,
        tenant=vocabulary.tenant_id,
        vocabulary=vocabulary.id,
        names=[name for name, _ in others],
        labels=[label for _, label in others],
    )
    await notify(session, TAGGING_CHANNEL)


async def learn_all_again(session: AsyncSession, tenant: str) -> None:
    """The same for all labels of a tenant: its library is seen by other eyes."""
    await execute(session, _ALL, tenant=tenant)
    await notify(session, TAGGING_CHANNEL)


async def learn_without(connection: asyncpg.Connection, said: Iterable[tuple[str, str]]) -> None:
    """The same for labels of which something that was said is not there any more: (vocabulary, label), by any of its
    names. For a restore, while no worker runs."""
    pairs = sorted(said)
    await connection.execute(_WITHOUT, [one for one, _ in pairs], [label for _, label in pairs])
