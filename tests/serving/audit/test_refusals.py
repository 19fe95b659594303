"""Refusals are in the audit log, alike ones together, and a flood of them fills nothing."""

import asyncio
import contextlib
import itertools
from contextlib import asynccontextmanager

import msgspec
import pytest

from serving.audit.refusals import MAX_REMEMBERED, Refusal, Refusals
from serving.auth.principals import ROLES
from serving.db.database import Database
from serving.options import LimitOptions
from tests.serving.api.conftest import SETTINGS, made_key, served
from tests.serving.limits.test_requests import _client
from tests.serving.sealing import store_at


async def refusals(world, count: int, where: str = "true") -> list:
    """Entries about refusals, once there are as many as that."""
    for _ in range(100):
        query = f"SELECT * FROM audit WHERE kind = 'refusal' AND {where} ORDER BY operation, code"
        rows = await world.sql(query)
        if sum(row.count for row in rows) >= count:
            return rows
        await asyncio.sleep(0.1)
    raise AssertionError(f"{rows = }")


def test_refusals_are_counted_and_told_to_whom_they_concern(call):
    async def body(api):
        viewer = await api.with_key("a", ROLES["viewer"])
        for _ in range(30):
            assert (await viewer.get("/v1/keys")).status_code == 403
        assert (await api.a.get("/v1/videos/vid_" + "0" * 26)).status_code == 404
        assert (await api.a.get("/v1/no-such-thing")).status_code == 404
        for _ in range(5):
            assert (await api.nobody.get("/v1/jobs?ticket=marker-in-query")).status_code == 401
        forbidden = await refusals(api.world, 30, "code = 'forbidden'")
        assert 1 <= len(forbidden) <= 10
        assert sum(row.count for row in forbidden) == 30
        for row in forbidden:
            assert (row.tenant_id, row.operation, row.address) == ("a", "list_keys", "127.0.0.1")
            assert row.actor.startswith("key_")
        missing = await refusals(api.world, 1, "code = 'not_found'")
        assert [(row.tenant_id, row.operation, row.count) for row in missing] == [("a", "get_video", 1)]
        unknown = await refusals(api.world, 5, "code = 'unauthenticated'")
        assert {(row.tenant_id, row.actor, row.operation) for row in unknown} == {(None, None, "list_jobs")}
        assert sum(row.count for row in unknown) == 5
        shown = (await api.a.get("/v1/audit", params={"kind": "refusal", "limit": 100})).json()["data"]
        assert {entry["code"] for entry in shown} == {"forbidden", "not_found"}
        assert (await api.b.get("/v1/audit")).json()["data"] == []
        assert "marker-in-query" not in str(await api.world.sql("SELECT audit::text FROM audit"))

    call(body)


def test_what_was_refused_last_is_noted_when_the_server_stops(run, url, tmp_path):
    async def body(world):

        key = await made_key(world.database, "a")
        limits = LimitOptions(requests_per_s=0.001, burst=2)
        settings = msgspec.structs.replace(SETTINGS, limits=limits)
        async with served(url, store_at(tmp_path / "objects"), settings) as address, _client(address, key) as client:
            statuses = [(await client.get("/v1/jobs")).status_code for _ in range(6)]
            assert statuses == [200] * 2 + [429] * 4
        rows = await world.sql("SELECT code, count FROM audit")
        assert {row.code for row in rows} == {"rate_limited"}
        assert sum(row.count for row in rows) == 4

    run(body)


def test_a_flood_of_strangers_fills_neither_memory_nor_table(run):
    async def body(world):
        dropped = itertools.count()
        noting = Refusals(world.database, lambda: next(dropped))
        somebody = Refusal("get_video", "forbidden", "192.0.2.1", "a", "key_1", "key_1")
        for number in range(3 * MAX_REMEMBERED):
            noting.add(Refusal("list_jobs", "unauthenticated", f"2001:db8::{number:x}"))
        noting.add(somebody)
        assert next(dropped) == 2 * MAX_REMEMBERED
        for _ in range(3):
            await noting.write()
        rows = await world.sql("SELECT tenant_id, count FROM audit")
        assert 200 <= sum(row.tenant_id is None for row in rows) <= 210
        assert [(row.tenant_id, row.count) for row in rows if row.tenant_id] == [("a", 1)]

    run(body)


def test_what_cannot_be_written_now_is_written_later(run):
    async def body(world):
        away = Database("postgresql://nobody@127.0.0.1:1/nothing")
        noting = Refusals(away, lambda: None)
        refusal = Refusal("get_video", "not_found", "192.0.2.1", "a", "key_1", "key_1")
        noting.add(refusal)
        await noting.write()
        noting.add(refusal)
        noting._database = world.database
        await noting.write()
        await noting.write()
        assert [row.count for row in await world.sql("SELECT count FROM audit")] == [2]
        await away.close()

    run(body)


class _Faulty(Database):
    """Fails in ways that nobody foresees, until it is mended."""

    fault: BaseException | None = None

    @asynccontextmanager
    async def write(self, name, tenant):
        async with super().write(name, tenant) as session:
            yield session
            if self.fault is not None:
                raise self.fault


@pytest.mark.parametrize("fault", [ValueError("unforeseen"), asyncio.CancelledError()], ids=["a fault", "canceled"])
def test_whatever_goes_wrong_nothing_is_lost_and_noting_goes_on(run, url, caplog, fault):
    async def body(world):
        faulty = _Faulty(url)
        faulty.fault = fault
        noting = Refusals(faulty, lambda: None)
        noting.add(Refusal("get_video", "not_found", "192.0.2.1", "a", "key_1", "key_1"))
        noting.add(Refusal("get_video", "unauthenticated", "192.0.2.1"))
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await noting.write()
        faulty.fault = None
        await noting.write()
        assert {row.code for row in await world.sql("SELECT code FROM audit")} == {"not_found", "unauthenticated"}
        assert [row.count for row in await world.sql("SELECT count FROM audit")] == [1, 1]
        await faulty.close()

    run(body)
    said = [record for record in caplog.records if record.name == "serving.audit.refusals"]
    assert len(said) == isinstance(fault, Exception), "it says so once"


def test_what_a_tenant_may_not_keep_and_where_nobody_goes_are_refusals(call):
    async def body(api):
        await api.world.change("UPDATE tenant SET quota_bytes = 5 WHERE id = 'a'")
        assert (await api.a.post("/v1/videos", content=b"x" * 100)).status_code == 413
        await api.world.change("UPDATE tenant SET quota_bytes = NULL WHERE id = 'a'")
        answer = await api.a.post("/v1/webhooks", json={"url": "http://127.0.0.1/x"})
        assert answer.json()["code"] == "address_refused", answer.text
        assert (await api.a.post("/v1/webhooks", json={"url": 5})).status_code == 400
        rows = await refusals(api.world, 2)
        assert {(row.operation, row.code) for row in rows} == {
            ("upload_video", "quota_exceeded"),
            ("create_webhook", "address_refused"),
        }

    call(body)
