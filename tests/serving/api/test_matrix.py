"""Who may do what to whose: every operation, every kind of credential, every kind of target."""

import json
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import httpx
import msgspec

from pipeline.report import Report
from serving.api.access import ANYBODY, PERSON
from serving.api.app import create_app
from serving.auth import opaque
from serving.auth.credentials import TRUSTED_S
from serving.auth.principals import ROLES, SCOPES, Role
from serving.auth.tokens import Access, Tokens
from serving.db.accounts import ApiKey, Invitation, RefreshToken, User, UserSession
from serving.db.database import Database
from serving.db.media import StoredReport, Video
from serving.db.rights import LegalHold, RetentionRule
from serving.db.search import Space
from serving.db.tagging import Correction, Tagging
from serving.db.uploads import Upload
from serving.db.vocabularies import Vocabulary
from serving.db.work import Delivery, Endpoint, Event, Job, Message
from serving.ids import new_id
from serving.settings import DEFAULTS
from serving.storage.store import Store, video_at
from tests.serving.api.conftest import SECRET
from tests.serving.api.operations import MISSING, OPERATIONS, Row
from tests.serving.auth import people
from tests.serving.sealing import store_at


def _schema() -> dict:
    database = Database("postgresql://nobody@/nothing")
    return create_app(database, store_at(Path("build/schema-objects")), DEFAULTS, SECRET).openapi_schema.to_schema()


def test_every_operation_has_a_row():
    paths = _schema()["paths"].values()
    declared = {operation["operationId"] for path in paths for operation in path.values() if "operationId" in operation}
    assert declared == set(OPERATIONS)


async def _chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


class Things:
    """Makes what operations are about, anew for each cell: some of them destroy it."""

    def __init__(self, database: Database, report: Report, store: Store) -> None:
        self._database, self._store = database, store
        self._body = zlib.compress(msgspec.json.encode(report))

    async def make(self, kind: str, tenant: str, owner: str | None = None, *, stored: bool = False) -> dict[str, str]:
        """A new thing with all that it needs: kind -> id. `owner`: the user whose session it is to be; `stored`: with
        the bytes of its video, which is one."""
        made = {name: new_id(prefix[:3]) for name, prefix in MISSING.items()}  # type: ignore[arg-type]
        video, job = made["video"], made["job"]
        async with self._database.write("video.write", tenant) as session:
            session.add(
                Video(id=video, tenant_id=tenant, title="t", size_bytes=1, sha256=video, object_key=f"videos/{video}")
            )
            await session.flush()
            if stored:
                what = video_at(tenant, f"videos/{video}")
                written = await self._store.put(what, _chunks(b"x"))
                await self._store.keyring.keep(session, tenant, what.blob, written.key, video_id=video)
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
            if kind in ("user", "session", "refresh", "invitation"):
                session.add(
                    User(
                        id=made["user"],
                        tenant_id=tenant,
                        email=f"{made['user']}@example.com".lower(),
                        name="n",
                        role="viewer",
                        password_hash=people.password_hash(),
                    )
                )
                await session.flush()
                tomorrow = datetime.now(UTC) + timedelta(1)
                whose = owner or made["user"]
                session.add(UserSession(id=made["session"], tenant_id=tenant, user_id=whose, expires_at=tomorrow))
                await session.flush()
                digest = opaque.digest(SECRET, made["refresh"])
                session.add(
                    RefreshToken(digest=digest, tenant_id=tenant, session_id=made["session"], expires_at=tomorrow)
                )
                digest = opaque.digest(SECRET, made["invitation"])
                session.add(Invitation(user_id=made["user"], tenant_id=tenant, digest=digest, expires_at=tomorrow))
            if kind == "key":
                digest = opaque.digest(SECRET, opaque.new_key())
                session.add(ApiKey(id=made["key"], tenant_id=tenant, name="k", hint="h", digest=digest, scopes=[]))
            if kind == "correction":
                session.add(
                    Correction(
                        id=made["correction"],
                        tenant_id=tenant,
                        label="a dog",
                        video_id=video,
                        from_s=0.0,
                        to_s=1.0,
                        accepted=True,
                    )
                )
            if kind == "held":
                made["held"] = video
                session.add(LegalHold(video_id=video, tenant_id=tenant, reason="r", placed_by="key_1"))
            if kind == "retention":
                session.add(RetentionRule(id=made["retention"], tenant_id=tenant, label=video, keep_days=None))
            if kind == "space":
                session.add(
                    Space(tenant_id=tenant, space=made["space"], dim=2, model="bundled", scale=1.0, state="side")
                )
            if kind in ("vocabulary", "tagging"):
                name = made["vocabulary"].lower().replace("_", "-")
                session.add(Vocabulary(id=made["vocabulary"], tenant_id=tenant, name=name, labels=[{"name": "a dog"}]))
            if kind == "tagging":
                await session.flush()
                session.add(
                    Tagging(id=made["tagging"], tenant_id=tenant, vocabulary_id=made["vocabulary"], reason="applied")
                )
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
        how["json"] = json.loads(body.replace("{unique}", new_id("voc").lower()))
    if row.content is not None:
        # Other bytes each time, or they would be known.
        how["content"] = row.content + new_id("vid").encode()
    return {"method": row.method, "url": path, **how}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks."""

    client: httpx.AsyncClient
    scopes: frozenset[str] | None
    """What they may do; None where nobody knows them."""
    user_id: str | None = None
    """Of a person who signed in."""
    tenant: str = "a"

    def expected(self, row: Row, whose: str) -> int:
        """What they are answered about a thing of their own, a foreign one, or none."""
        if row.scope is not None and self.scopes is None:
            return 401
        allowed = {None: True, ANYBODY: True, PERSON: self.user_id is not None}
        if not allowed.get(row.scope, row.scope in (self.scopes or ())):
            return 403
        return {"own": row.ok, "foreign": row.foreign, "missing": row.missing}[whose]


async def person(api, role: Role, tenant: str = "a") -> Caller:
    """Somebody who signed in."""
    client = await people.signed_in(api, tenant, role)
    return Caller(client, ROLES[role], client.user.id, tenant)


async def _callers(api) -> dict[str, Caller]:
    """Every kind of credential: roles as keys that have their scopes, and as people who signed in."""
    revoked = await api.with_key("a", revoked_at=datetime.now(UTC))
    expired = await api.with_key("a", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    ended, disabled = await people.signed_in(api, role="admin"), await people.signed_in(api, role="admin")
    await api.world.change("UPDATE session SET revoked_at = now() WHERE id = :id", id=ended.tokens["session_id"])
    await api.world.change("UPDATE app_user SET disabled_at = now() WHERE id = :id", id=disabled.user.id)
    good = await people.signed_in(api, role="admin")
    late, _ = Tokens(SECRET, msgspec.structs.replace(DEFAULTS.auth, access_s=-1)).access(
        Access(tenant_id="a", user_id=good.user.id, session_id=good.tokens["session_id"])
    )
    return {
        "nobody": Caller(api.nobody, None),
        "a bad key": Caller(await api.client("aut_" + "x" * 43), None),
        "an expired key": Caller(expired, None),
        "a revoked key": Caller(revoked, None),
        "a bad token": Caller(await api.client("eyJhbGciOiJub25lIn0.e30."), None),
        "an expired token": Caller(await api.client(late), None),
        "an ended session": Caller(ended, None),
        "a disabled user": Caller(disabled, None),
        **{f"a key like {role}": Caller(await api.with_key("a", scopes), scopes) for role, scopes in ROLES.items()},
        **{f"{role}, signed in": await person(api, role) for role in get_args(Role)},
        "an admin's key of another tenant": Caller(api.b, ROLES["admin"], tenant="b"),
        "an admin of another tenant, signed in": await person(api, "admin", "b"),
    }


async def ids_for(things: Things, row: Row, caller: Caller, whose: str) -> dict[str, str]:
    """Ids of a thing that an operation is about: the caller's own, another tenant's, or nobody's."""
    if row.target is None or whose == "missing":
        return dict(MISSING)
    # What is open to all is asked for in words that name tenant `a`.
    tenant = "a" if row.scope is None else caller.tenant
    if whose == "own":
        owner = caller.user_id if tenant == caller.tenant else None
        return await things.make(row.target, tenant, owner, stored=row.stored)
    return await things.make(row.target, "b" if tenant == "a" else "a", stored=row.stored)


def test_the_matrix(call, sample_report):
    assert TRUSTED_S < 1.0
    cells = 0

    async def body(api):
        nonlocal cells
        things = Things(api.world.database, sample_report, api.store)
        callers = await _callers(api)
        for name, row in OPERATIONS.items():
            everyone, untouched = dict(callers), {}
            if row.scope in SCOPES:
                others = SCOPES - {row.scope}
                everyone["every other scope"] = Caller(await api.with_key("a", others), others)
            for who, caller in everyone.items():
                told = {}
                # Where nobody has to say who they are, it is the same whoever they are.
                all_kinds = row.target and (row.scope is not None or who == "nobody")
                for whose in ("own", "foreign", "missing") if all_kinds else ("own",):
                    expected = caller.expected(row, whose)
                    # What nobody was let at is there for the next who may not.
                    ids = untouched.get((caller.tenant, whose)) if expected in (401, 403) else None
                    if ids is None:
                        ids = await ids_for(things, row, caller, whose)
                        if expected in (401, 403):
                            untouched[caller.tenant, whose] = ids
                    answer = await caller.client.request(**_filled(row, ids))
                    cells += 1
                    cell = f"{name} by {who} of {whose}: {answer.status_code} {answer.text[:300]}"
                    assert answer.status_code == expected, cell
                    if whose != "own" and row.foreign == row.missing >= 400 and row.method != "HEAD":
                        problem = answer.json()
                        problem.pop("request_id")
                        told[whose] = json.dumps(problem).replace(ids[row.target or ""], "it")
                assert len(set(told.values())) <= 1, f"{name} tells what is another's from what is not there: {told}"

    call(body)
    assert cells >= 1500, cells
