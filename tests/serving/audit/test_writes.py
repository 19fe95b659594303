"""Writes are in the audit log if and only if they were done."""

import pytest
from sqlalchemy.exc import DBAPIError

from serving.api.access import PERSON
from serving.audit.acting import ACTING, Acting
from serving.db.accounts import Tenant
from serving.db.database import SYSTEM
from tests.serving.api.operations import MISSING, OPERATIONS
from tests.serving.api.test_matrix import Things, _filled

#: Operations that change nothing, though their method may.
_NO_WRITES = {
    "create_rendition": "there is no file behind the video that it is tried on",
    "import_archive": "what it is tried with is no archive",
    "embed_texts": "nothing is kept of texts",
    "search": "what is asked of models is kept for seconds, and of nobody's things",
    "recommend": "nothing is kept of what somebody likes",
    "cancel_job": "the job that it is tried on is over",
    "cancel_batch": "the jobs that it is tried on are over",
    "build_space": "nobody is there to say what the model's space is",
    "undo_learned": "nothing was learnt that could be undone",
}

_COLUMNS = {
    "id",
    "at",
    "kind",
    "operation",
    "actor",
    "credential",
    "address",
    "request_id",
    "write",
    "targets",
    "code",
    "count",
}


async def _log(client, **query) -> list[dict]:
    answer = await client.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_a_write_tells_who_did_what_to_what(call):
    async def body(api):
        made = await api.a.post(
            "/v1/keys?secret=in-the-query", json={"name": "marker-in-body", "scopes": ["jobs:read"]}
        )
        key = made.json()["about"]["id"]
        gone = await api.a.delete(f"/v1/keys/{key}")
        deleted, created = await _log(api.a)
        assert set(created) == _COLUMNS
        me = (await api.a.get("/v1/me")).json()
        for entry, answer, operation, write in (
            (created, made, "create_key", "key.create"),
            (deleted, gone, "revoke_key", "key.revoke"),
        ):
            assert (entry["kind"], entry["operation"], entry["write"]) == ("write", operation, write)
            assert entry["actor"] == entry["credential"]
            assert entry["actor"] in str(me)
            assert entry["address"] == "127.0.0.1"
            assert entry["request_id"] == answer.headers["x-request-id"]
            assert entry["targets"] == [key]
            assert (entry["code"], entry["count"]) == (None, 1)
        everything = str(await api.world.sql("SELECT audit::text FROM audit"))
        for secret in ("in-the-query", "marker-in-body", made.json()["key"]):
            assert secret not in everything

    call(body)


def test_every_operation_that_writes_is_noted(call, sample_report):
    async def body(api):
        things = Things(api.world.database, sample_report, api.store)
        unnoted = set()
        for name, row in OPERATIONS.items():
            if row.method in ("GET", "HEAD") or row.scope in (None, PERSON):
                continue
            ids = await things.make(row.target, "a") if row.target else dict(MISSING)
            answer = await api.a.request(**_filled(row, ids))
            assert answer.status_code == row.ok, f"{name}: {answer.text}"
            noted = await api.world.sql(
                "SELECT targets FROM audit WHERE request_id = :request", request=answer.headers["x-request-id"]
            )
            if name in _NO_WRITES:
                assert not noted, name
                continue
            unnoted |= set() if noted else {name}
            if row.target and f"{{{row.target}}}" in row.path.partition("?")[0]:
                assert noted, name
                assert any(ids[row.target] in found for found in noted[0].targets), name
        assert unnoted == set()

    call(body)


def test_no_operation_that_reads_writes(call, sample_report):
    async def body(api):
        things = Things(api.world.database, sample_report, api.store)
        for name, row in OPERATIONS.items():
            if row.method in ("GET", "HEAD") and row.scope not in (None, PERSON):
                ids = await things.make(row.target, "a", stored=row.stored) if row.target else dict(MISSING)
                answer = await api.a.request(**_filled(row, ids))
                assert answer.status_code == row.ok, f"{name}: {answer.text}"
        written = await api.world.sql("SELECT operation FROM audit WHERE kind = 'write'")
        reading = {name for name, row in OPERATIONS.items() if row.method in ("GET", "HEAD")}
        assert len(reading) > 20
        assert not reading & {row.operation for row in written}

    call(body)


def test_what_was_made_before_is_no_write(call):
    async def body(api):
        request = {"json": {"video_id": "vid_a"}, "headers": {"Idempotency-Key": "once"}}
        first, again = [await api.a.post("/v1/jobs", **request) for _ in range(2)]
        assert first.json()["id"] == again.json()["id"]
        (entry,) = await _log(api.a, operation="submit_job")
        assert first.json()["id"] in entry["targets"]
        assert entry["request_id"] == first.headers["x-request-id"]

    call(body)


def _acting() -> Acting:
    return Acting("test", "req_1", "192.0.2.1", "a", "key_1", "key_1")


def test_a_write_and_its_entry_are_done_together_or_not_at_all(run):
    async def body(world):
        async def make_tenant(*, then_fail: bool = False) -> None:
            async with world.database.write("tenant.create", SYSTEM) as session:
                session.add(Tenant(id="c", name="c"))
                await session.flush()
                if then_fail:
                    raise RuntimeError

        ACTING.set(_acting())
        with pytest.raises(RuntimeError):
            await make_tenant(then_fail=True)
        assert await world.sql("SELECT * FROM audit") == []
        await world.change("ALTER TABLE audit RENAME TO elsewhere")
        with pytest.raises(DBAPIError, match="audit"):
            await make_tenant()
        assert await world.sql("SELECT id FROM tenant WHERE id = 'c'") == []
        ACTING.set(None)
        await world.change("ALTER TABLE elsewhere RENAME TO audit")
        await make_tenant()
        assert await world.sql("SELECT * FROM audit") == [], "the server itself is not audited"

    # `change` writes, too.
    def without_noise(world):
        return body(_Silent(world))

    run(without_noise)


class _Silent:
    """A world whose own statements nobody acts for."""

    def __init__(self, world) -> None:
        self.database, self.sql, self._world = world.database, world.sql, world

    async def change(self, query: str) -> None:
        acting = ACTING.get()
        ACTING.set(None)
        await self._world.change(query)
        ACTING.set(acting)


def test_only_the_own_log_is_seen_and_it_can_be_searched(call):
    async def body(api):
        other = await api.with_key("a")
        for client in (api.a, other, api.b):
            for _ in range(3):
                assert (await client.post("/v1/keys", json={"name": "k", "scopes": ["jobs:read"]})).status_code == 201
        assert (await other.post("/v1/jobs", json={"video_id": "vid_a"})).status_code == 202
        log = await _log(api.a)
        assert len(log) == 7
        assert [entry["at"] for entry in log] == sorted((entry["at"] for entry in log), reverse=True)
        (actor,) = {entry["actor"] for entry in log if entry["operation"] == "submit_job"}
        assert len(await _log(api.a, actor=actor)) == 4
        assert len(await _log(api.a, actor=actor, operation="create_key")) == 3
        assert len(await _log(api.a, kind="write")) == 7
        assert await _log(api.a, kind="refusal") == []
        third = log[2]["at"]
        assert [entry["id"] for entry in await _log(api.a, after=third)] == [entry["id"] for entry in log[:3]]
        assert [entry["id"] for entry in await _log(api.a, before=third)] == [entry["id"] for entry in log[3:]]
        pages, cursor = [], None
        while True:
            query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            page = (await api.a.get("/v1/audit", params=query)).json()
            pages.append([entry["id"] for entry in page["data"]])
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert [len(page) for page in pages] == [3, 3, 1]
        assert [*pages[0], *pages[1], *pages[2]] == [entry["id"] for entry in log]
        for wrong in ({"kind": "x"}, {"after": "2026-01-01T00:00:00"}, {"cursor": "x"}, {"limit": 0}):
            assert (await api.a.get("/v1/audit", params=wrong)).status_code == 400, wrong

    call(body)
