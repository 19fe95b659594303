"""Who may do what to whose: every operation, every kind of credential, every kind of target."""

import json
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec

from pipeline.report import Report
from serving.api.access import ROLES, SCOPES
from serving.api.app import create_app
from serving.api.keys import TRUSTED_S, Keys, new_key
from serving.db.accounts import ApiKey
from serving.db.database import Database
from serving.db.media import StoredReport, Video
from serving.db.uploads import Upload
from serving.db.work import Delivery, Endpoint, Event, Job, Message
from serving.ids import new_id
from serving.settings import DEFAULTS
from serving.storage.store import Store
from tests.serving.api.conftest import SECRET
from tests.serving.api.operations import MISSING, OPERATIONS, Row


def _schema() -> dict:
    database = Database("postgresql://nobody@/nothing")
    return create_app(database, Store(Path("build/schema-objects")), DEFAULTS, SECRET).openapi_schema.to_schema()


def test_every_operation_has_a_row():
    paths = _schema()["paths"].values()
    declared = {operation["operationId"] for path in paths for operation in path.values() if "operationId" in operation}
    assert declared == set(OPERATIONS)


class Things:
    """Makes what operations are about, anew for each cell: some of them destroy it."""

    def __init__(self, database: Database, report: Report) -> None:
        self._database = database
        self._body = zlib.compress(msgspec.json.encode(report))

    async def make(self, kind: str, tenant: str) -> dict[str, str]:
        """A new thing with all that it needs: kind -> id."""
        made = {name: new_id(prefix[:3]) for name, prefix in MISSING.items()}  # type: ignore[arg-type]
        video, job = made["video"], made["job"]
        async with self._database.write("video.write", tenant) as session:
            session.add(
                Video(id=video, tenant_id=tenant, title="t", size_bytes=1, sha256=video, object_key=f"videos/{video}")
            )
            await session.flush()
            if kind in ("job", "batch", "video"):
                session.add(
                    Job(
                        tenant_id=tenant,
                        id=job,
                        video_id=video,
                        feature_key=video,
                        state="failed",
                        batch_id=made["batch"],
                        event_number=1,
                    )
                )
                await session.flush()
                session.add(Event(tenant_id=tenant, job_id=job, number=1, kind="failed"))
                session.add(
                    StoredReport(job_id=job, tenant_id=tenant, video_id=video, feature_key=video, body=self._body)
                )
            if kind == "upload":
                session.add(
                    Upload(
                        id=made["upload"],
                        tenant_id=tenant,
                        size_bytes=1000,
                        expires_at=datetime.now(UTC) + timedelta(1),
                    )
                )
            if kind == "key":
                digest = Keys(self._database, SECRET).digest(new_key())
                session.add(ApiKey(id=made["key"], tenant_id=tenant, name="k", hint="h", digest=digest, scopes=[]))
            if kind in ("webhook", "delivery"):
                session.add(
                    Endpoint(id=made["webhook"], tenant_id=tenant, url="https://example.com", secret="whsec_eA==")
                )
                session.add(Message(id=made["video"], tenant_id=tenant, type="job.failed", source=video))
                await session.flush()
                session.add(
                    Delivery(
                        id=made["delivery"], tenant_id=tenant, endpoint_id=made["webhook"], message_id=made["video"]
                    )
                )
        return made


def _filled(row: Row, ids: dict[str, str]) -> dict:
    path, body = row.path, json.dumps(row.json)
    for kind, value in ids.items():
        path, body = path.replace(f"{{{kind}}}", value), body.replace(f"{{{kind}}}", value)
    how: dict = {"headers": dict(row.headers)}
    if row.json is not None:
        how["json"] = json.loads(body)
    if row.content is not None:
        # Other bytes each time, or they would be known.
        how["content"] = row.content + new_id("vid").encode()
    return {"method": row.method, "url": path, **how}


async def _credentials(api) -> dict[str, tuple[httpx.AsyncClient, frozenset[str] | None]]:
    """Name -> a client, and what it may do; None where nobody knows it."""
    revoked = await api.with_key("a", revoked_at=datetime.now(UTC))
    expired = await api.with_key("a", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    return {
        "no key": (api.nobody, None),
        "a bad key": (await api.client("aut_" + "x" * 43), None),
        "an expired key": (expired, None),
        "a revoked key": (revoked, None),
        **{role: (await api.with_key("a", scopes), scopes) for role, scopes in ROLES.items()},
    }


def test_the_matrix(call, sample_report):
    assert TRUSTED_S < 1.0
    cells = 0

    async def body(api):
        nonlocal cells
        things = Things(api.world.database, sample_report)
        credentials = await _credentials(api)
        for name, row in OPERATIONS.items():
            everyone = dict(credentials)
            if row.scope is not None:
                others = SCOPES - {row.scope}
                everyone["every other scope"] = (await api.with_key("a", others), others)
            for who, (client, scopes) in everyone.items():
                told = {}
                for whose in ("own", "foreign", "missing") if row.target else ("own",):
                    ids = dict(MISSING)
                    if row.target and whose != "missing":
                        ids = await things.make(row.target, "a" if whose == "own" else "b")
                    answer = await client.request(**_filled(row, ids))
                    cells += 1
                    cell = f"{name} by {who} of {whose}: {answer.status_code} {answer.text[:300]}"
                    if row.scope is None:
                        expected = row.ok
                    elif scopes is None:
                        expected = 401
                    elif row.scope not in scopes:
                        expected = 403
                    else:
                        expected = row.ok if whose == "own" else 404
                    assert answer.status_code == expected, cell
                    if expected == 404 and row.method != "HEAD":
                        problem = answer.json()
                        problem.pop("request_id")
                        told[whose] = json.dumps(problem).replace(ids[row.target or ""], "it")
                assert len(set(told.values())) <= 1, f"{name} tells what is another's from what is not there: {told}"

    call(body)
    assert cells >= 750
