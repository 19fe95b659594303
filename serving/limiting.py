"""Rate limits that all processes share: token buckets in PostgreSQL, by its clock.

While a bucket is known to be half full at least, a process lets requests in on credit, a few at a time, and settles
soon: a busy caller who keeps to the limit costs one statement in several requests, and waits for none. From there on
each request waits until its token was taken; all who wait in a process have one statement. (docs/decisions/0012)
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sqlalchemy import text

from serving.db.database import SYSTEM, Database
from serving.db.pool import Pool
from serving.db.statements import execute
from serving.errors import DatabaseUnavailable, RateLimited

#: What a process lets in on credit at most, as a share of the burst: so far could a limit be exceeded, once, for each
#: process, if others emptied the bucket meanwhile. It is paid back: a bucket may have less than nothing.
CREDIT_SHARE: Final = 1 / 40

#: Share of the burst that has to be there for that.
SAFE_SHARE: Final = 1 / 2

#: After so long credit is settled, and what is known of a bucket is known no longer, seconds.
SETTLE_S: Final = 0.2
TRUSTED_S: Final = 1.0

#: Buckets that one process remembers at most.
_MAX_REMEMBERED: Final = 10_000

#: Buckets that are deleted in one transaction.
_AT_ONCE: Final = 1000

#: Pays what was let in on credit ($5), and takes a token for each who waits ($4), as far as there are any. `now()` is
#: the statement's own time, and the row is locked before it is computed with; where somebody was there later, but
#: first, theirs counts.
_TAKE: Final = """
INSERT INTO rate_bucket AS b (bucket, tokens, granted, at, full_at)
SELECT $1::text, $3::float8 - $5::float8 - granted, granted, now(),
    now() + make_interval(secs => ($5::float8 + granted) / $2::float8)
FROM (SELECT greatest(0, least($4::int, floor($3::float8 - $5::float8)))::int) AS g(granted)
ON CONFLICT (bucket) DO UPDATE SET (tokens, granted, at, full_at) = (
    SELECT filled - granted, granted, moment, moment + make_interval(secs => ($3 - filled + granted) / $2)
    FROM greatest(b.at, now()) AS moment,
        LATERAL (SELECT least($3, b.tokens + extract(epoch FROM moment - b.at)::float8 * $2) - $5) AS f(filled),
        LATERAL (SELECT greatest(0, least($4, floor(filled)))::int) AS g(granted)
)
RETURNING granted, tokens
"""

_CLEAN = text(
    """
    DELETE FROM rate_bucket WHERE bucket IN (
        SELECT bucket FROM rate_bucket WHERE full_at < now() - interval '1 minute' LIMIT :most FOR UPDATE SKIP LOCKED
    )
    """
)


@dataclass(frozen=True, slots=True)
class Rule:
    """How much is allowed."""

    per_s: float
    """Tokens that come back in a second, in the long run."""
    burst: int
    """Tokens of a full bucket: what is allowed at once."""


class Left(NamedTuple):
    """What a bucket has left, as far as this process knows."""

    tokens: int
    full_in_s: float


@dataclass(slots=True)
class _Known:
    """What a process knows of a bucket."""

    tokens: float = 0.0
    """What was left in it when it was asked last, less what was let in on credit then."""
    asked_at: float = -TRUSTED_S
    """When that was, by our own steady clock; never later than the database says."""
    credit: int = 0
    """Let in since, and not paid."""
    empty_until: float = 0.0
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    asking: asyncio.Task[None] | None = None
    settling: asyncio.TimerHandle | None = None

    def lets_in(self, rule: Rule, now: float) -> bool:
        """Whether one more may come in on credit."""
        return (
            self.credit < int(rule.burst * CREDIT_SHARE)
            and now - self.asked_at < TRUSTED_S
            and self.tokens - self.credit >= rule.burst * SAFE_SHARE
        )

    def left(self, rule: Rule, now: float) -> Left:
        """With what came back since."""
        tokens = max(0.0, min(rule.burst, self.tokens + rule.per_s * (now - self.asked_at)) - self.credit)
        return Left(int(tokens), (rule.burst - tokens) / rule.per_s)


class Limits:
    """Takes tokens out of buckets."""

    def __init__(self, url: str, *, pool_size: int = 4) -> None:
        """`url`: as `Database` has it."""
        self._pool = Pool(url, size=pool_size)
        self._known: dict[str, _Known] = {}

    async def take(self, bucket: str, rule: Rule) -> Left:
        """Take one token; what is left.

        Args:
            bucket: whose it is and what for, `sign-in:usr_...`. It is full at first.
            rule: always the same for this bucket.

        Raises:
            RateLimited: there is none.
            DatabaseUnavailable: it cannot be reached now, and nobody knows.
        """
        if (left := self.take_now(bucket, rule)) is not None:
            return left
        known, now = self._remembered(bucket), time.monotonic()
        if now < known.empty_until:
            raise _refusal(known.empty_until - now)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        known.waiting.append(turn)
        self._ask_now(bucket, rule, known)
        await turn
        return known.left(rule, time.monotonic())

    def take_now(self, bucket: str, rule: Rule) -> Left | None:
        """As `take`, where one is let in on credit; None where it has to be asked for."""
        known = self._known.get(bucket)
        if known is None or not known.lets_in(rule, now := time.monotonic()):
            return None
        known.credit += 1
        self._settle_soon(bucket, rule, known)
        return known.left(rule, now)

    def wait_s(self, bucket: str) -> float:
        """For how long a bucket is known to be empty, seconds; 0.0 where it is not, or nobody knows. Asks nobody."""
        known = self._known.get(bucket)
        return 0.0 if known is None else max(0.0, known.empty_until - time.monotonic())

    async def close(self) -> None:
        """Close all connections. What was let in on credit last is forgiven."""
        for known in self._known.values():
            if known.settling is not None:
                known.settling.cancel()
            if known.asking is not None:
                known.asking.cancel()
        await self._pool.close()

    def _settle_soon(self, bucket: str, rule: Rule, known: _Known) -> None:
        """Before the credit is used up, so that nobody need wait for that; and in any case within a moment."""
        if 2 * known.credit >= int(rule.burst * CREDIT_SHARE):
            self._ask_now(bucket, rule, known)
        elif known.settling is None:
            loop = asyncio.get_running_loop()
            known.settling = loop.call_later(SETTLE_S, self._ask_now, bucket, rule, known)

    def _ask_now(self, bucket: str, rule: Rule, known: _Known) -> None:
        if known.settling is not None:
            known.settling.cancel()
            known.settling = None
        if known.asking is None:
            # It begins with the loop's next turn: for all who have come by then.
            known.asking = asyncio.create_task(self._serve(bucket, rule, known))

    async def _serve(self, bucket: str, rule: Rule, known: _Known) -> None:
        """Pay, and ask for those who wait, and for those who came meanwhile, until nobody does."""
        turns: list[asyncio.Future[None]] = []
        try:
            while True:
                turns, known.waiting = [turn for turn in known.waiting if not turn.done()], []
                await self._ask(bucket, rule, known, turns)
                if not known.waiting:
                    return
        except DatabaseUnavailable as error:
            # What was to be paid is paid another time.
            _refuse((*turns, *known.waiting), error)
        except Exception as error:
            _refuse((*turns, *known.waiting), error)
            raise
        except asyncio.CancelledError:
            _refuse((*turns, *known.waiting), DatabaseUnavailable("the server stops"))
            raise
        finally:
            known.waiting.clear()
            known.asking = None

    async def _ask(self, bucket: str, rule: Rule, known: _Known, turns: list[asyncio.Future[None]]) -> None:
        granted = 0
        if time.monotonic() >= known.empty_until or known.credit:
            granted = await self._taken(bucket, rule, known, len(turns))
        for place, turn in enumerate(turns):
            if turn.done():
                continue
            if place < granted:
                turn.set_result(None)
            else:
                turn.set_exception(_refusal(known.empty_until - time.monotonic()))

    async def _taken(self, bucket: str, rule: Rule, known: _Known, waiting: int) -> int:
        """Tokens for those who wait, as many as there are."""
        asked_at, credit = time.monotonic(), known.credit
        row = await self._pool.row(_TAKE, bucket, float(rule.per_s), float(rule.burst), waiting, float(credit))
        assert row is not None
        known.tokens, known.asked_at = row["tokens"], asked_at
        known.credit -= credit
        if row["granted"] < waiting:
            known.empty_until = time.monotonic() + (1 - known.tokens) / rule.per_s
        return row["granted"]

    def _remembered(self, bucket: str) -> _Known:
        if (known := self._known.get(bucket)) is not None:
            return known
        if len(self._known) >= _MAX_REMEMBERED:
            # Those that somebody waits for or has credit with are kept; the others are asked for again.
            self._known = {name: known for name, known in self._known.items() if known.asking or known.credit}
        known = self._known[bucket] = _Known()
        return known


async def clean_buckets(database: Database) -> int:
    """Forget buckets that are full again; how many there were."""
    removed = 0
    while True:
        async with database.write("clean.old", SYSTEM) as session:
            found = (await execute(session, _CLEAN, most=_AT_ONCE)).rowcount
        removed += found
        if found < _AT_ONCE:
            return removed


def _refuse(turns: Iterable[asyncio.Future[None]], error: Exception) -> None:
    for turn in turns:
        if not turn.done():
            turn.set_exception(error)


def _refusal(wait_s: float) -> RateLimited:
    return RateLimited("too many requests; wait a little", max(0.0, wait_s))
