"""What the API is fuzzed over: things of every kind, credentials that last, and somebody who ends jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import msgspec
from sqlalchemy import text

from pipeline.report import Report
from serving.auth.principals import ROLES
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.jobs import outcomes
from serving.jobs.events import notify
from serving.jobs.lease import Problem
from serving.jobs.metrics import Metrics
from serving.search.asking import ANSWER_CHANNEL, Answer
from tests.serving.api.conftest import SETTINGS, made_key, served
from tests.serving.api.test_matrix import Things
from tests.serving.auth import people
from tests.serving.jobs.conftest import World
from tests.serving.sealing import store_at

#: Who asks.
CREDENTIALS = ("admin key", "viewer key", "admin, signed in", "nobody")

#: As many of each kind: some operations destroy what they are about.
_EACH = 30

#: So few of those that belong to another thing, that the two are found together. There may be 50 webhooks at most.
_FEW = 8

#: Kind of thing -> names of the parameters that take its id.
_PARAMETERS = {
    "video": ("path.video_id", "query.video_id", "body.video_id"),
    "job": ("path.job_id",),
    "batch": ("path.batch_id", "query.batch_id"),
    "key": ("path.key_id",),
    "user": ("path.user_id",),
    "refresh": ("body.refresh_token",),
    "invitation": ("body.invitation",),
    "delivery": ("path.delivery_id",),
    "upload": ("path.upload_id",),
    "vocabulary": ("path.name",),
    "tagging": ("path.tagging_id",),
    "correction": ("path.correction_id",),
    "retention": ("path.rule_id",),
}

#: Credentials of the fuzz stay good, whatever it finds to revoke, disable or end.
_STAYS = """
CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN RETURN NULL; END IF;
    RETURN OLD;
END
$$
"""

_LASTING = """
CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW WHEN (OLD.id IN ({ids})) EXECUTE FUNCTION stays()
"""


#: A worker that is alive as long as the fuzz lasts, whose model computes.
_WORKER = """
INSERT INTO worker (id, host, pid, version, slots, busy, models, seen_at)
VALUES ('fuzz', 'here', 1, '1', 1, 0, '[{"name": "auto", "state": "ready", "stands_for": "bundled", "version": "1",
    "space": "9b1f02ac", "dim": 64, "device": "cpu", "dtype": "float32", "loaded_ago_s": 9.0, "checked_ago_s": 1.0,
    "error": null}]', now() + interval '1 day')
"""


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """A server that is to be fuzzed."""

    address: str
    credentials: dict[str, str | None]
    """Who asks -> what they send."""
    known: dict[str, list[str]]
    """Parameter -> ids that are there."""


async def _known(things: Things) -> dict[str, list[str]]:
    """Things of tenant `a`."""
    found: dict[str, list[str]] = {name: [] for names in _PARAMETERS.values() for name in names}
    found["path.webhook_id"] = []
    for kind, names in _PARAMETERS.items():
        for _ in range(_FEW if kind == "delivery" else _EACH):
            ids = await things.make(kind, "a", stored=kind == "video")
            made = ids[kind]
            if kind == "delivery":
                found["path.webhook_id"].append(ids["webhook"])
            for name in names:
                found[name].append(made.lower().replace("_", "-") if kind == "vocabulary" else made)
    return found


METRICS = Metrics(
    run_s=1.0,
    queued_s=0.1,
    decode_s=0.5,
    infer_s=0.4,
    frames=60,
    video_s=60.0,
    realtime_factor=60.0,
    clips_reused=0,
    features="computed",
    decoder="pyav",
    device="cpu",
    model="bundled",
)

_OPTIONS = msgspec.structs.replace(
    SETTINGS,
    # As long as a run may last, and as many passwords as it may try.
    auth=msgspec.structs.replace(
        SETTINGS.auth, access_s=86_400, account_attempts=1_000_000, address_attempts=1_000_000
    ),
)


async def _end_jobs(world: World, report: Report) -> None:
    """Ends jobs soon after they were queued, as workers would: most well, some badly."""
    for number in range(10**9):
        lease = await world.queue.claim("fuzz")
        if lease is None:
            await asyncio.sleep(0.05)
        elif number % 4 == 0:
            await outcomes.fail(world.database, lease, Problem(code="corrupt", detail="the video is damaged"))
        else:
            await outcomes.succeed(world.database, world.keyring, lease, report, METRICS)


_OPEN = text("SELECT id, tenant_id FROM question WHERE state = 'open'")
_ANSWERED = text("UPDATE question SET state = 'answered', answer = :answer WHERE id = :id")


async def _answer_questions(world: World) -> None:
    """Says what a model says of itself, as the worker's would, to whoever asks."""
    told = msgspec.msgpack.encode(Answer(space="9b1f02ac", dim=64, rows=b"", scale=10.0, bias=-1.0))
    while True:
        async with world.database.write("question.write", SYSTEM) as session:
            for row in (await execute(session, _OPEN)).all():
                values = await world.keyring.values(session, row.tenant_id)
                sealed = values.seal("question.answer", row.id, told)
                await execute(session, _ANSWERED, id=row.id, answer=sealed)
                await notify(session, ANSWER_CHANNEL, row.id)
        await asyncio.sleep(0.05)


async def _credentials(world: World, address: str) -> dict[str, str | None]:
    database = world.database
    user = await people.made(database, "a", "admin")
    async with httpx.AsyncClient(base_url=address, timeout=30) as client:
        tokens = (await people.sign_in(client, user)).json()
    shown = (
        await made_key(database, "a"),
        await made_key(database, "a", ROLES["viewer"]),
        tokens["access_token"],
        None,
    )
    lasting = {
        "api_key": [row.id for row in await world.sql("SELECT id FROM api_key WHERE name = 'test'")],
        "app_user": [user.id],
        "session": [tokens["session_id"]],
    }
    connection = await asyncpg.connect(database.url)
    try:
        await connection.execute(_STAYS)
        for table, ids in lasting.items():
            await connection.execute(_LASTING.format(table=table, ids=", ".join(f"'{one}'" for one in ids)))
    finally:
        await connection.close()
    return dict(zip(CREDENTIALS, shown, strict=True))


@asynccontextmanager
async def fuzzed(url: str, folder: Path, report: Report) -> AsyncIterator[Fuzzed]:
    """A server over an empty database, with what is to be fuzzed."""
    async with AsyncExitStack() as stack:
        database = Database(url)
        stack.push_async_callback(database.close)
        world = await World.made(database)
        store = store_at(folder / "objects")
        known = await _known(Things(database, report, store))
        # As their reports have it, so that none of them gets a second one.
        await world.change("UPDATE job SET state = 'succeeded', finished_at = now() WHERE state = 'failed'")
        await world.change(_WORKER)
        address = await stack.enter_async_context(served(url, store, _OPTIONS))
        credentials = await _credentials(world, address)
        working = [asyncio.create_task(_end_jobs(world, report)), asyncio.create_task(_answer_questions(world))]
        try:
            yield Fuzzed(address, credentials, known)
            for task in working:
                if task.done():
                    task.result()
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
