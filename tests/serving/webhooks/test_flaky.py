"""Webhooks against a receiver that fails at random: every message arrives, signed, in the contract, under one id."""

import asyncio
import json
import random

import pytest
from jsonschema import Draft202012Validator

from serving import claiming
from serving.api.openapi import document
from serving.jobs import outcomes, submission
from serving.jobs.lease import Problem
from serving.jobs.submission import JobRequest
from serving.webhooks import claims
from tests.serving.jobs.conftest import specs
from tests.serving.webhooks.receiver import UNDELIVERED, Asked, delivering, endpoint_at, receiving, until

#: Jobs that end, and so messages.
MESSAGES = 200

#: Of `random()`, below which it answers so. Above the last one it is well.
_FATES = ((0.12, 500), (0.2, 503), (0.26, 429), (0.34, None), (0.4, "cut short"), (0.48, "after the time limit"))


class Flaky:
    """Takes a message in only at times, as its inbox tells; sometimes it says so too late."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.inbox: dict[str, dict] = {}
        """What was taken in: by id, once."""
        self.repeats = 0
        """Messages that came though they were there."""
        self.fates: set[object] = set()

    def take(self, asked: Asked) -> None:
        """Take one in, if it is new."""
        self.repeats += asked.id in self.inbox
        self.inbox.setdefault(asked.id, json.loads(asked.body))

    async def __call__(self, asked: Asked) -> int | bytes | None:
        """What is answered."""
        chance = self._chance.random()
        fate = next((fate for bound, fate in _FATES if chance < bound), 200)
        self.fates.add(fate)
        if fate == "cut short":
            return b"HTTP/1.1 2"
        if fate == "after the time limit":
            # Taken in all the same: the sender cannot know, and sends it again.
            self.take(asked)
            await asyncio.sleep(0.4)
            return 200
        if fate == 200:
            self.take(asked)
            await asyncio.sleep(self._chance.random() * 0.02)
        return fate


async def _ended(world) -> dict[str, str]:
    """Jobs that end in all ways: id -> state."""
    states = {}
    for number, spec in enumerate(specs(MESSAGES)):
        await submission.submit(world.database, "a", [JobRequest(video_id="vid_a", spec=spec)])
        lease = await world.queue.claim("w")
        if number % 3 == 0:
            await outcomes.canceled(world.database, lease)
        else:
            await outcomes.fail(world.database, lease, Problem(code="corrupt", detail="x"))
        states[lease.job_id] = "canceled" if number % 3 == 0 else "failed"
    return states


@pytest.fixture
def soon(monkeypatch):
    """Retries come at once, and there are many."""
    monkeypatch.setattr(claims, "RETRY_AFTER_S", (0.01,) * 300)
    monkeypatch.setattr(claiming, "POLL_S", 0.02)


def test_every_event_of_200_jobs_arrives_once_for_who_looks_at_ids(run, soon):
    schema = json.loads(document())
    parts = {
        name: how["post"]["requestBody"]["content"]["application/json"]["schema"]
        for name, how in schema["webhooks"].items()
    }

    async def body(world):
        flaky = Flaky(4)
        async with receiving(flaky) as receiver:
            endpoint = await endpoint_at(world, receiver.url)
            states = await _ended(world)
            async with delivering(world, 3, timeout_s=0.3, lease_s=2.0):
                await until(world, UNDELIVERED, 0, timeout_s=60)
        # One event each: none lost, none twice under another id.
        told = {sent["data"]["job_id"]: sent["data"]["state"] for sent in flaky.inbox.values()}
        assert told == states
        assert len(flaky.inbox) == MESSAGES
        assert flaky.repeats > 0, "nothing had to be told apart by its id"
        assert flaky.fates == {fate for _, fate in _FATES} | {200}
        assert len(receiver.asked) > MESSAGES * 1.4
        for asked in receiver.asked:
            sent = asked.verified(endpoint.secret)
            shape = parts[sent["type"]] | {"components": schema["components"]}
            assert [error.message for error in Draft202012Validator(shape).iter_errors(sent)] == []
        # The same message is the same bytes each time, or a receiver could not take one for the other.
        assert len({(asked.id, asked.body) for asked in receiver.asked}) == MESSAGES

    run(body)
