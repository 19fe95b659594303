"""Token buckets in the database: what several processes take out of them together."""

import asyncio
import time

import pytest

from serving.errors import DatabaseUnavailable, RateLimited
from serving.limiting import CREDIT_SHARE, Limits, Rule, clean_buckets


async def _taken(limits: Limits, bucket: str, rule: Rule, times: int) -> int:
    """How many of so many tries at once come through."""
    tries = await asyncio.gather(*(limits.take(bucket, rule) for _ in range(times)), return_exceptions=True)
    assert all(isinstance(one, RateLimited) for one in tries if isinstance(one, BaseException)), tries
    return sum(not isinstance(one, BaseException) for one in tries)


@pytest.fixture
def pair(run):
    """Runs `async def test(one, other, world)`: two processes' view of the same buckets."""

    def with_both(body):
        async def main(world):
            one, other = Limits(world.database.url), Limits(world.database.url)
            try:
                await body(one, other, world)
            finally:
                await one.close()
                await other.close()

        run(main)

    return with_both


def test_a_burst_is_shared_exactly(pair):
    async def body(one, other, _):
        rule = Rule(per_s=0.001, burst=100)
        taken = await asyncio.gather(_taken(one, "x", rule, 90), _taken(other, "x", rule, 90))
        assert sum(taken) == 100
        assert await _taken(one, "another", rule, 5) == 5, "buckets have nothing to do with one another"
        with pytest.raises(RateLimited) as refused:
            await other.take("x", rule)
        assert 900 < refused.value.retry_after_s <= 1000

    pair(body)


def test_under_load_the_limit_is_neither_exceeded_nor_wasted(pair):
    async def body(one, other, _):
        rule = Rule(per_s=200, burst=100)
        came: list[float] = []
        refused = 0

        async def caller(limits: Limits) -> None:
            nonlocal refused
            while time.monotonic() < began + 1.5:
                try:
                    await limits.take("x", rule)
                    came.append(time.monotonic())
                except RateLimited as error:
                    refused += 1
                    await asyncio.sleep(min(error.retry_after_s, 0.005))

        began = time.monotonic()
        await asyncio.gather(*(caller(limits) for limits in (one, other) for _ in range(8)))
        assert refused > 0
        most = rule.burst + rule.per_s * (max(came) - began)
        # On credit, each of the two may have let in a few before it knew what the other one took.
        assert 0.95 * most <= len(came) <= most + 2 * rule.burst * CREDIT_SHARE

    pair(body)


async def _settled(limits: Limits) -> None:
    """Wait until everything that was let in on credit is paid."""
    while any(known.credit or known.asking for known in limits._known.values()):
        await asyncio.sleep(0.01)


def test_who_keeps_to_the_limit_asks_the_database_once_in_several_requests(pair):
    async def body(one, _, world):
        rule = Rule(per_s=0.001, burst=400)
        statements = 0
        ask = one._pool.row

        async def counted(*arguments):
            nonlocal statements
            statements += 1
            return await ask(*arguments)

        one._pool.row = counted
        for _ in range(100):
            await one.take("x", rule)
        await _settled(one)
        ((tokens,),) = await world.sql("SELECT tokens FROM rate_bucket")
        assert 300 <= tokens < 300.1, "all are paid for in the end"
        assert statements <= 40

    pair(body)


def test_small_bursts_are_counted_one_by_one(pair):
    async def body(one, other, world):
        rule = Rule(per_s=0.001, burst=5)
        for limits in (one, other, one):
            await limits.take("sign-in", rule)
            await asyncio.sleep(0)
        ((tokens,),) = await world.sql("SELECT tokens FROM rate_bucket")
        assert 2 <= tokens < 2.1
        assert await _taken(other, "sign-in", rule, 5) == 2

    pair(body)


def test_what_was_let_in_on_credit_is_paid_back(pair):
    async def body(one, other, world):
        rule = Rule(per_s=0.001, burst=200)
        await one.take("x", rule)
        # The other one empties the bucket, of which this one still believes that it is full.
        assert await _taken(other, "x", rule, 300) == 199
        on_credit = int(rule.burst * CREDIT_SHARE)
        assert await _taken(one, "x", rule, 50) == on_credit
        await _settled(one)
        ((tokens,),) = await world.sql("SELECT tokens FROM rate_bucket")
        assert -on_credit <= tokens < -on_credit + 0.1
        with pytest.raises(RateLimited) as refused:
            await one.take("x", rule)
        assert refused.value.retry_after_s > on_credit / rule.per_s

    pair(body)


def test_who_gives_up_waiting_takes_nobody_along(pair):
    async def body(one, _, __):
        rule = Rule(per_s=0.001, burst=10)
        tries = [asyncio.create_task(one.take("x", rule)) for _ in range(10)]
        await asyncio.sleep(0)
        for one_try in tries[::2]:
            one_try.cancel()
        done = await asyncio.gather(*tries, return_exceptions=True)
        assert [isinstance(left, asyncio.CancelledError) for left in done] == [True, False] * 5

    pair(body)


def test_without_a_database_nobody_knows():
    async def body() -> None:
        limits = Limits("postgresql://nobody@127.0.0.1:1/nothing")
        with pytest.raises(DatabaseUnavailable):
            await limits.take("x", Rule(1, 1))

    asyncio.run(body())


def test_buckets_that_are_full_again_are_forgotten(pair):
    async def body(one, _, world):
        await one.take("old", Rule(1, 10))
        await one.take("new", Rule(0.001, 10))
        await world.change("UPDATE rate_bucket SET full_at = now() - interval '2 minutes' WHERE bucket = 'old'")
        assert await clean_buckets(world.database) == 1
        assert [row.bucket for row in await world.sql("SELECT bucket FROM rate_bucket")] == ["new"]

    pair(body)
