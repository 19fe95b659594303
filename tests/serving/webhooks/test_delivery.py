"""Every message arrives, once or under the same id, signed; and nobody is asked who does not want to be."""

import asyncio
import random
import time

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from serving import claiming
from serving.errors import DatabaseUnavailable
from serving.jobs.listening import Listener
from serving.jobs.outbox import DELIVERY_CHANNEL
from serving.webhooks import claims, delivery, endpoints
from tests.serving.webhooks.receiver import UNDELIVERED, delivering, endpoint_at, receiving, told, until


@pytest.fixture
def soon(monkeypatch):
    """Retries come at once, and there are many."""
    monkeypatch.setattr(claims, "RETRY_AFTER_S", (0.01,) * 200)
    monkeypatch.setattr(claiming, "POLL_S", 0.02)


def test_a_flaky_receiver_gets_everything(run, soon):
    async def body(world):
        chance = random.Random(7)
        done = []

        async def answer(asked):
            fate = chance.random()
            if fate < 0.2:
                return 500
            if fate < 0.35:
                return None
            if fate < 0.45:
                await asyncio.sleep(0.4)  # beyond the time limit: kept here, failed there
            done.append(asked.id)
            return 200 if fate > 0.5 else b"nonsense\r\n\r\n"

        async with receiving(answer) as receiver:
            endpoint = await endpoint_at(world, receiver.url)
            ids = await told(world, 60)
            async with delivering(world, 3, timeout_s=0.3, lease_s=2.0):
                await until(world, UNDELIVERED, 0)
        assert set(done) == set(ids)
        assert len(receiver.asked) > len(ids)
        for asked in receiver.asked:
            assert asked.verified(endpoint.secret)["type"] == "job.succeeded"
        (row,) = await world.sql(
            "SELECT count(*) AS all, min(number) AS m, count(*) FILTER (WHERE error IS NULL) AS good "
            "FROM webhook_attempt"
        )
        assert (row.good, row.m) == (60, 1)
        assert row.all > 60

    run(body)


def test_several_deliverers_send_each_message_once(run, soon):
    async def body(world):
        async with receiving() as receiver:
            await endpoint_at(world, receiver.url)
            ids = await told(world, 120)
            async with delivering(world, 4):
                await until(world, UNDELIVERED, 0)
        assert sorted(asked.id for asked in receiver.asked) == sorted(ids)

    run(body)


def test_what_is_sent(run, soon):
    async def body(world):
        async with receiving() as receiver:
            endpoint = await endpoint_at(world, receiver.url, events=("job.failed",))
            await told(world)
            (message,) = await told(world, type_="job.failed", job_id="job_7", state="failed", text="x" * 30_000)
            async with delivering(world):
                await until(world, UNDELIVERED, 0)
        (asked,) = receiver.asked
        assert asked.id == message
        assert asked.headers["content-type"] == "application/json"
        assert len(asked.body) < 20_000
        sent = asked.verified(endpoint.secret)
        assert set(sent) == {"type", "timestamp", "data"}
        assert sent["data"] == {"job_id": "job_7", "state": "failed", "truncated": True}

    run(body)


def test_both_secrets_sign_until_the_old_one_has_had_its_time(run, soon):
    async def body(world):
        async with receiving() as receiver:
            old = (await endpoint_at(world, receiver.url)).secret
            async with world.database.write("webhook.write", "a") as session:
                (endpoint_id,) = (await world.sql("SELECT id FROM webhook_endpoint"))[0]
                new = (await endpoints.rotate(session, world.keyring, "a", endpoint_id, 3600)).secrets.secret
            async with delivering(world):
                await told(world)
                await until(world, UNDELIVERED, 0)
                await world.change("UPDATE webhook_endpoint SET previous_until = now()")
                await told(world)
                await until(world, UNDELIVERED, 0)
        during, after = receiver.asked
        assert during.verified(old) == during.verified(new)
        assert after.verified(new)
        with pytest.raises(WebhookVerificationError):
            after.verified(old)

    run(body)


def test_gone_is_gone(run, soon):
    async def body(world):
        async with receiving(lambda _: 410) as receiver:
            await endpoint_at(world, receiver.url)
            await told(world, 30)
            async with delivering(world):
                await until(world, "SELECT disabled_at IS NOT NULL FROM webhook_endpoint", True)
                await until(world, "SELECT count(*) FROM webhook_delivery WHERE state <> 'given_up'", 0)
                asked = len(receiver.asked)
                assert asked < 30, "the others were not sent any more"
                await told(world)
                await asyncio.sleep(0.2)
                assert len(receiver.asked) <= delivery.BOUNDS.slots
        assert (await world.sql("SELECT count(*) FROM webhook_delivery"))[0][0] == 30
        rows = await world.sql("SELECT last_error FROM webhook_delivery WHERE last_status = 410")
        assert rows
        assert all("410" in row.last_error for row in rows)

    run(body)


def test_redirects_are_not_followed(run):
    async def body(world):
        async with receiving() as elsewhere:
            redirect = f"HTTP/1.1 307 X\r\nlocation: {elsewhere.url}\r\ncontent-length: 0\r\n\r\n".encode()
            async with receiving(lambda _: redirect) as receiver:
                await endpoint_at(world, receiver.url)
                await told(world)
                async with delivering(world):
                    await until(world, "SELECT count(*) FROM webhook_attempt", 1)
            assert elsewhere.connections == 0
        (row,) = await world.sql("SELECT last_status, state, attempts FROM webhook_delivery")
        assert (row.last_status, row.state, row.attempts) == (307, "pending", 1)

    run(body)


def test_no_address_of_this_machine_is_delivered_to(run):
    async def body(world):
        async with receiving() as receiver:
            await endpoint_at(world, receiver.url)
            await told(world)
            async with delivering(world, egress=delivery.Egress()):
                await until(world, "SELECT count(*) FROM webhook_attempt", 1)
            assert receiver.connections == 0
        (row,) = await world.sql("SELECT status, error FROM webhook_attempt")
        assert row.status is None
        assert "public" in row.error

    run(body)


def test_answers_are_read_no_further_than_needed(run):
    async def body(world):
        async def endless(asked):
            return b"HTTP/1.1 200 X\r\ncontent-length: 900000000\r\n\r\n" + b"x" * 5_000_000

        async def silent(asked):
            await asyncio.sleep(5)

        async with receiving(endless) as large, receiving(silent) as slow:
            await endpoint_at(world, large.url)
            await endpoint_at(world, slow.url)
            await told(world)
            async with delivering(world, timeout_s=0.5):
                started = time.monotonic()
                await until(world, "SELECT count(*) FROM webhook_attempt", 2)
                assert time.monotonic() - started < 4
        states = await world.sql("SELECT state FROM webhook_delivery ORDER BY state")
        assert [row.state for row in states] == ["delivered", "pending"]

    run(body)


def test_a_slow_endpoint_keeps_no_other_waiting(run, soon):
    async def body(world):
        async def slow(asked):
            await asyncio.sleep(2)
            return 200

        async with receiving(slow) as hanging, receiving() as quick:
            await endpoint_at(world, hanging.url)
            await told(world, 60)
            await endpoint_at(world, quick.url, tenant="b")
            async with delivering(world):
                await until(world, "SELECT count(*) > 0 FROM webhook_delivery WHERE next_at > now()", True)
                await told(world, 40, tenant="b")
                theirs = "SELECT count(*) FROM webhook_delivery WHERE tenant_id = 'b' AND state = 'delivered'"
                await until(world, theirs, 40, timeout_s=1.8)
            assert len(quick.asked) == 40

    run(body)


@pytest.mark.parametrize(
    ("breaks", "told_of_it"),
    [
        # As they were kept before they were sealed.
        ("sealed = NULL, url = 'https://example.com/', secret = 'whsec_x'", "a fault%"),
        ("sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1)", "% is not what was sealed there"),
        ("sealed = ''", "% is no sealed value %"),
    ],
)
def test_a_message_that_cannot_be_signed_keeps_no_other_waiting(run, soon, breaks, told_of_it):
    async def body(world):
        async with receiving() as receiver:
            broken = await endpoint_at(world, receiver.url)
            await world.change(f"UPDATE webhook_endpoint SET {breaks} WHERE id = :id", id=broken.id)
            await endpoint_at(world, receiver.url, tenant="b")
            await told(world)
            await told(world, tenant="b")
            async with delivering(world):
                await until(world, "SELECT count(*) FROM webhook_delivery WHERE state = 'delivered'", 1)
                await until(world, f"SELECT count(*) > 1 FROM webhook_attempt WHERE error LIKE '{told_of_it}'", True)
            assert len(receiver.asked) == 1

    run(body)


def test_the_database_may_be_away_for_a_while(run, soon, monkeypatch):
    """What came of an attempt could not be written down: it is sent again, under the same id."""
    record, failures = claims.record, iter((True, False))

    async def away(*args):
        if next(failures, False):
            raise DatabaseUnavailable("the database cannot be reached")
        await record(*args)

    monkeypatch.setattr(claims, "record", away)

    async def body(world):
        async with receiving() as receiver:
            await endpoint_at(world, receiver.url)
            (message,) = await told(world)
            async with delivering(world, lease_s=0.3):
                await until(world, UNDELIVERED, 0)
            assert [asked.id for asked in receiver.asked] == [message] * 2

    run(body)


def test_notices_wake_who_waits(run, monkeypatch):
    monkeypatch.setattr(claiming, "POLL_S", 60.0)

    async def body(world):
        async with (
            receiving() as receiver,
            Listener(world.database.url, (DELIVERY_CHANNEL,)) as listener,
        ):
            await endpoint_at(world, receiver.url)
            async with delivering(world, listener=listener):
                await asyncio.sleep(1)
                await told(world)
                await until(world, UNDELIVERED, 0, timeout_s=5)

    run(body)
