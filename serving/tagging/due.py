"""Labels of which something is to be learnt."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.spec import Label
from serving.db.statements import execute
from serving.db.vocabularies import Vocabulary
from serving.jobs.events import notify
from serving.tagging.deriving import labels_of
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

#: Of labels of which something was said before.
_AGAIN = text(
    """
    UPDATE learning SET state = 'due', changed_at = clock_timestamp(), attempt = 0, fence = fence + 1,
        lease_until = NULL
    WHERE tenant_id = :tenant AND vocabulary_id = :vocabulary AND label = ANY(cast(:labels AS text[]))
    """
)
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
    if any(one.name == label for one in labels_of(vocabulary)):
        await execute(session, _SOON, tenant=vocabulary.tenant_id, vocabulary=vocabulary.id, label=label, asked=asked)
        await notify(session, TAGGING_CHANNEL)


async def learn_again(session: AsyncSession, vocabulary: Vocabulary, before: Sequence[Label]) -> None:
    """The same for the labels whose words or threshold are others than before: what was learnt does not hold there."""
    old = {label.name: basis_of(label) for label in before}
    others = [one.name for one in labels_of(vocabulary) if old.get(one.name) != basis_of(one)]
    await execute(session, _AGAIN, tenant=vocabulary.tenant_id, vocabulary=vocabulary.id, labels=others)
    await notify(session, TAGGING_CHANNEL)


async def learn_all_again(session: AsyncSession, tenant: str) -> None:
    """The same for all labels of a tenant: its library is seen by other eyes."""
    await execute(session, _ALL, tenant=tenant)
    await notify(session, TAGGING_CHANNEL)
