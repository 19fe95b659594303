"""The worker's side of learning: takes a label of which something was said, learns, and has the library tagged anew."""

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from sqlalchemy import func, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.errors import EngineUnavailable, VideoError
from pipeline.spec import Label
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.db.tagging import LearnedLabel
from serving.db.vocabularies import Vocabulary
from serving.errors import DatabaseUnavailable, LeaseLost, ServerError
from serving.ids import new_id
from serving.jobs.lease import backoff_s
from serving.jobs.running import AWAY_S, Toolkits
from serving.search.spaces import active_space
from serving.tagging import phrases, runs
from serving.tagging.deriving import labels_of
from serving.tagging.learned import Outcome
from serving.tagging.naming import true_names
from serving.tagging.standing import Standing, basis_of, standing, texts_of

if TYPE_CHECKING:
    from serving.tagging.learning import Learnt

_LOG = logging.getLogger(__name__)

#: How long nobody must have said more before it is learnt from, seconds.
QUIET_S: Final = 5.0

#: How long a worker may take over a label before another one tries, seconds.
LEASE_S: Final = 120.0

#: How often a label is tried: it may be what kills workers.
_ATTEMPTS: Final = 3

_CLAIM = text(
    """
    UPDATE learning SET state = 'running', fence = fence + 1, attempt = attempt + 1,
        lease_until = now() + make_interval(secs => :lease_s)
    WHERE (vocabulary_id, label) = (
        SELECT vocabulary_id, label FROM learning
        WHERE (state = 'due' AND (asked OR changed_at <= now() - make_interval(secs => :quiet_s)))
            OR (state = 'running' AND lease_until < now())
        ORDER BY changed_at LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING tenant_id, vocabulary_id, label, fence, attempt
    """
)
_HOLD = text(
    "SELECT 1 FROM learning WHERE tenant_id = :tenant AND vocabulary_id = :vocabulary AND label = :label "
    "AND fence = :fence AND state = 'running' FOR UPDATE"
)
_END = text(
    """
    UPDATE learning SET state = :state, outcome = cast(:outcome AS jsonb), asked = false, lease_until = NULL
    WHERE tenant_id = :tenant AND vocabulary_id = :vocabulary AND label = :label
    """
)
_LATER = text(
    """
    UPDATE learning SET state = 'due', fence = fence + 1, attempt = attempt - :spared, lease_until = NULL,
        asked = false, changed_at = now() + make_interval(secs => :wait_s)
    WHERE tenant_id = :tenant AND vocabulary_id = :vocabulary AND label = :label AND fence = :fence
    """
)


@dataclass(frozen=True, slots=True)
class _Claim:
    tenant: str
    vocabulary: str
    label: str
    fence: int
    attempt: int

    @property
    def this(self) -> dict[str, Any]:
        return {"tenant": self.tenant, "vocabulary": self.vocabulary, "label": self.label}


class Learner:
    """Of a worker."""

    def __init__(
        self, database: Database, toolkits: Toolkits, *, quiet_s: float = QUIET_S, lease_s: float = LEASE_S
    ) -> None:
        """`quiet_s`, `lease_s`: see `QUIET_S` and `LEASE_S`."""
        self._database, self._toolkits = database, toolkits
        self._quiet_s, self._lease_s = quiet_s, lease_s

    async def step(self) -> bool:
        """Learn for one label for which it is due; whether there was one."""
        async with self._database.write("learning.claim", SYSTEM) as session:
            row = (await execute(session, _CLAIM, lease_s=self._lease_s, quiet_s=self._quiet_s)).one_or_none()
        if row is None:
            return False
        claim = _Claim(*row)
        try:
            if claim.attempt > _ATTEMPTS:
                await self._end(claim, "failed", Outcome(why=f"{_ATTEMPTS} workers died or failed over it"))
            else:
                await self._learn(claim)
        except LeaseLost:
            # More was said meanwhile, or another worker has it: what was learnt here is not needed.
            return True
        except DatabaseUnavailable:
            raise
        except EngineUnavailable:
            await self._later(claim, AWAY_S, spared=1)
        except (VideoError, ServerError) as error:
            await self._end(claim, "failed", Outcome(why=str(error)))
        except Exception:  # noqa: BLE001 - costs this label an attempt, and nobody else anything
            _LOG.exception("nothing was learnt for a label")
            await self._later(claim, backoff_s(claim.attempt), spared=0)
        return True

    async def _learn(self, claim: _Claim) -> None:
        # Where torch is loaded: nobody who does not learn needs it.
        from serving.tagging import learning
        from serving.tagging.gathering import gathered

        known = await self._standing(claim)
        if known is None:
            await self._end(claim, "done", Outcome(why="the vocabulary has no such label, or nothing was analysed"))
            return
        how, label = known
        async with self._database.read(claim.tenant) as session:
            material = await gathered(session, how, label)
        accepted, rejected = material.counts
        names = (label.name, label.threshold, how.space.model, how.space.space)
        found = await asyncio.to_thread(learning.learn, material, *names)
        if isinstance(found, learning.Nothing):
            outcome = Outcome(why=found.why, accepted=accepted, rejected=rejected, space=how.space.space)
            await self._end(claim, "done", outcome)
        else:
            await self._keep(claim, how, label, found, (accepted, rejected))

    async def _standing(self, claim: _Claim) -> tuple[Standing, Label] | None:
        async with self._database.read(claim.tenant) as session:
            space = await active_space(session, claim.tenant)
            row = await session.get(Vocabulary, claim.vocabulary)
        if space is None or row is None:
            return None
        labels = labels_of(row)
        # It may have another name since it became due.
        name = true_names(labels).get(claim.label, claim.label)
        meant = next((one for one in labels if one.name == name), None)
        if meant is None:
            return None
        texts = texts_of(labels, space)
        await phrases.ask(self._database, self._toolkits, claim.tenant, space, texts)
        async with self._database.read(claim.tenant) as session:
            how = await standing(session, claim.tenant, row.id, labels, space)
        return None if how is None else (how, meant)

    async def _keep(self, claim: _Claim, how: Standing, label: Label, found: "Learnt", counts: tuple[int, int]) -> None:
        async with self._database.write("learning.done", SYSTEM) as session:
            row = await _locked(session, claim)
            if basis_of(label) not in {basis_of(one) for one in labels_of(row) if one.name == label.name}:
                raise LeaseLost("the label has other words or another threshold by now")
            number = await _next_number(session, claim, label)
            space = how.space.space
            session.add(
                LearnedLabel(
                    id=new_id("lrn"),
                    tenant_id=claim.tenant,
                    vocabulary_id=claim.vocabulary,
                    label=label.name,
                    number=number,
                    space=space,
                    basis=basis_of(label),
                    kind=found.kind,
                    threshold=found.threshold,
                    head=found.head,
                    accepted=counts[0],
                    rejected=counts[1],
                    before=msgspec.to_builtins(found.before),
                    after=msgspec.to_builtins(found.after),
                )
            )
            await session.flush()
            why = f"a {found.kind} that does better on videos that it was not learnt from"
            outcome = Outcome(number=number, why=why, accepted=counts[0], rejected=counts[1], space=space)
            await _ended(session, claim, "done", outcome)
            if row.applied_at is not None:
                await runs.begin(session, claim.tenant, claim.vocabulary, "learned")

    async def _later(self, claim: _Claim, wait_s: float, *, spared: int) -> None:
        async with self._database.write("learning.done", SYSTEM) as session:
            await execute(session, _LATER, **claim.this, fence=claim.fence, wait_s=wait_s, spared=spared)

    async def _end(self, claim: _Claim, state: Literal["done", "failed"], outcome: Outcome) -> None:
        async with self._database.write("learning.done", SYSTEM) as session:
            await _hold(session, claim)
            await _ended(session, claim, state, outcome)


async def _locked(session: AsyncSession, claim: _Claim) -> Vocabulary:
    """The vocabulary, and the claim on its label, locked. Raises LeaseLost."""
    query = select(Vocabulary).where(Vocabulary.tenant_id == claim.tenant, Vocabulary.id == claim.vocabulary)
    row = (await session.exec(query.with_for_update(key_share=True))).one_or_none()
    if row is None:
        raise LeaseLost("the vocabulary was deleted meanwhile")
    await _hold(session, claim)
    return row


async def _hold(session: AsyncSession, claim: _Claim) -> None:
    if (await execute(session, _HOLD, **claim.this, fence=claim.fence)).one_or_none() is None:
        raise LeaseLost("more was said meanwhile, or another worker learns for the label")


async def _ended(session: AsyncSession, claim: _Claim, state: str, outcome: Outcome) -> None:
    await execute(session, _END, **claim.this, state=state, outcome=msgspec.json.encode(outcome).decode())


async def _next_number(session: AsyncSession, claim: _Claim, label: Label) -> int:
    """Above that of all that was learnt for it, by whatever name."""
    query = select(func.max(col(LearnedLabel.number))).where(
        LearnedLabel.tenant_id == claim.tenant,
        LearnedLabel.vocabulary_id == claim.vocabulary,
        col(LearnedLabel.label).in_((label.name, *label.aliases)),
    )
    return ((await session.exec(query)).one() or 0) + 1
