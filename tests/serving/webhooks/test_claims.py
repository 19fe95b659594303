"""What the database says of a delivery: whose it is, when it is tried again, and what came of it."""

from datetime import timedelta

import pytest

from serving.webhooks import claims, endpoints
from tests.serving.webhooks.receiver import endpoint_at, told


def test_the_schedule_lasts_a_day_and_ends(run):
    assert 20 * 3600 < sum(claims.RETRY_AFTER_S) < 26 * 3600

    async def body(world):
        await endpoint_at(world, "http://127.0.0.1:9/")
        await told(world)
        failed = claims.Outcome(500, "it answered with HTTP status 500", 3)
        for number, expected_s in enumerate((*claims.RETRY_AFTER_S, None), 1):
            (claim,) = await claims.claim(world.database, world.keyring, most=9, each=9, busy=(), lease_s=60)
            assert await claims.claim(world.database, world.keyring, most=9, each=9, busy=(), lease_s=60) == []
            await claims.record(world.database, world.keyring, claim, failed)
            (row,) = await world.sql("SELECT state, attempts, next_at - now() AS wait FROM webhook_delivery")
            assert row.attempts == number
            if expected_s is not None:
                assert row.state == "pending"
                assert 0.89 * expected_s - 1 < row.wait / timedelta(seconds=1) < 1.11 * expected_s
                await world.change("UPDATE webhook_delivery SET next_at = now()")
        assert row.state == "given_up"
        # Asked for again, it starts anew.
        (one,) = await world.sql("SELECT endpoint_id, id FROM webhook_delivery")
        async with world.database.write("webhook.write", "a") as session:
            await endpoints.resend(session, "a", one.endpoint_id, one.id)
        (claim,) = await claims.claim(world.database, world.keyring, most=9, each=9, busy=(), lease_s=60)
        await claims.record(world.database, world.keyring, claim, failed)
        (row,) = await world.sql(
            "SELECT state, (SELECT max(number) FROM webhook_attempt) AS number FROM webhook_delivery"
        )
        assert (row.state, row.number) == ("pending", len(claims.RETRY_AFTER_S) + 2)

    run(body)


@pytest.mark.parametrize(("late", "state"), [(500, "pending"), (200, "delivered")])
def test_who_was_too_slow_decides_only_that_it_arrived(run, late, state):
    async def body(world):
        await endpoint_at(world, "http://127.0.0.1:9/")
        await told(world)
        (slow,) = await claims.claim(world.database, world.keyring, most=9, each=9, busy=(), lease_s=0)
        (other,) = await claims.claim(world.database, world.keyring, most=9, each=9, busy=(), lease_s=60)
        assert slow.message_id == other.message_id
        await claims.record(world.database, world.keyring, slow, claims.Outcome(late, None if late == 200 else "no", 1))
        (row,) = await world.sql("SELECT state, next_at FROM webhook_delivery")
        assert (row.state, row.next_at) == (state, other.until)
        # Whoever has it fails: what arrived has arrived.
        await claims.record(world.database, world.keyring, other, claims.Outcome(500, "no", 1))
        (row,) = await world.sql("SELECT state FROM webhook_delivery")
        assert row.state == state

    run(body)
