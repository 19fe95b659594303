"""A deliverer that dies before or after any durable write loses nothing; what is sent again has the same id."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from serving.db import failpoints
from tests.serving.webhooks.receiver import endpoint_at, receiving, told

ROOT = Path(__file__).parents[3]

#: Point -> how often each message is received in the end.
POINTS = {
    "delivery.claim:before": 1,
    "delivery.claim:after": 1,
    "delivery.done:before": 2,
    "delivery.done:after": 1,
}


async def _deliver(url: str, point: str = "") -> int | None:
    environment = os.environ | {failpoints.VARIABLE: point}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.serving.webhooks.dying", url, cwd=ROOT, env=environment
    )
    return await process.wait()


@pytest.mark.parametrize("point", POINTS)
def test_dying_there_loses_nothing(run, point):
    async def body(world):
        async with receiving() as receiver:
            endpoint = await endpoint_at(world, receiver.url)
            (message,) = await told(world)
            assert await _deliver(world.database.url, point) == failpoints.EXIT
            assert await _deliver(world.database.url) == 0
        assert [asked.id for asked in receiver.asked] == [message] * POINTS[point]
        assert all(asked.verified(endpoint.secret) for asked in receiver.asked)
        (row,) = await world.sql("SELECT state, attempts FROM webhook_delivery")
        assert (row.state, row.attempts) == ("delivered", 1)
        assert len(await world.sql("SELECT * FROM webhook_attempt")) == 1

    run(body)
