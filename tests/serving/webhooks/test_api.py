"""`/v1/webhooks`, through the real API, to a real receiver."""

import pytest
from sqlalchemy import text

from serving import claiming
from serving.auth.principals import ROLES
from serving.db.statements import execute
from serving.egress import Egress
from serving.webhooks import claims
from tests.serving.webhooks.receiver import LOOPBACK, UNDELIVERED, delivering, receiving, told, until

URL = "https://receiver.example.com/hook"


async def _here(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def _egress() -> Egress:
    return Egress(allowed=LOOPBACK, resolve=_here)


async def _made(client, url=URL, **more):
    made = await client.post("/v1/webhooks", json={"url": url, **more})
    assert made.status_code == 201, made.text
    return made.json()


def test_made_seen_changed_deleted(call):
    async def body(api):
        made = await _made(api.a, events=["job.failed", "job.failed"], description="mine")
        about, there = made["about"], f"/v1/webhooks/{made['about']['id']}"
        assert made["secret"].startswith("whsec_")
        assert (about["events"], about["enabled"], about["description"]) == (["job.failed"], True, "mine")
        assert (await api.a.get(there)).json() == about
        assert (await api.a.get("/v1/webhooks")).json() == [about]
        assert made["secret"] not in (await api.a.get(there)).text
        changed = await api.a.patch(there, json={"url": f"{URL}2", "events": [], "enabled": False})
        assert changed.json() | {"disabled_at": None} == about | {
            "url": f"{URL}2",
            "events": [],
            "enabled": False,
            "disabled_reason": "by request",
        }
        assert (await api.a.patch(there, json={})).json() == changed.json()
        enabled = (await api.a.patch(there, json={"enabled": True})).json()
        assert (enabled["enabled"], enabled["disabled_at"], enabled["disabled_reason"]) == (True, None, None)
        assert (await api.a.delete(there)).status_code == 204
        for answer in (await api.a.get(there), await api.a.delete(there), await api.a.patch(there, json={})):
            assert answer.status_code == 404

    call(body)


@pytest.mark.parametrize(
    "bad",
    ["http://127.0.0.1/", "http://2130706433/", "http://[::1]/", "http://localhost/", "http://u:p@h.example/", "x"],
)
def test_a_url_is_looked_at_when_it_is_set(call_shared, bad):
    async def body(api):
        refused = await api.a.post("/v1/webhooks", json={"url": bad})
        assert (refused.status_code, refused.json()["code"]) == (422, "address_refused")
        there = f"/v1/webhooks/{(await _made(api.a))['about']['id']}"
        assert (await api.a.patch(there, json={"url": bad})).status_code == 422
        assert (await api.a.get(there)).json()["url"] == URL

    call_shared(body)


def test_what_makes_no_sense_is_refused(call):
    async def body(api):
        for wrong in ({}, {"url": URL, "events": ["job.exploded"]}, {"url": URL, "more": 1}, {"url": ""}):
            assert (await api.a.post("/v1/webhooks", json=wrong)).status_code == 400
        for _ in range(50):
            await _made(api.a)
        assert (await api.a.post("/v1/webhooks", json={"url": URL})).status_code == 409
        assert (await api.b.post("/v1/webhooks", json={"url": URL})).status_code == 201

    call(body)


def test_a_test_goes_there_alone_and_is_signed(call):
    async def body(api):
        async with receiving() as receiver, receiving() as other:
            made = await _made(api.a, f"http://receiver.example.com:{receiver.port}/hook", events=["job.failed"])
            await _made(api.a, f"http://receiver.example.com:{other.port}/hook")
            there = f"/v1/webhooks/{made['about']['id']}"
            sent = await api.a.post(f"{there}/test")
            assert (sent.status_code, sent.json()["state"], sent.json()["type"]) == (202, "pending", "webhook.test")
            async with delivering(api.world, egress=_egress()):
                await until(api.world, UNDELIVERED, 0)
            assert (len(receiver.asked), other.asked) == (1, [])
            (asked,) = receiver.asked
            assert asked.id == sent.json()["message_id"]
            assert asked.verified(made["secret"])["type"] == "webhook.test"
            (shown,) = (await api.a.get(f"{there}/deliveries")).json()["data"]
            assert (shown["id"], shown["state"], shown["last_status"]) == (sent.json()["id"], "delivered", 200)
            (attempt,) = shown["attempts"]
            assert (attempt["number"], attempt["status"], attempt["error"]) == (1, 200, None)
            # Once more, under the same id.
            again = await api.a.post(f"{there}/deliveries/{shown['id']}/resend")
            assert (again.status_code, again.json()["state"]) == (202, "pending")
            async with delivering(api.world, egress=_egress()):
                await until(api.world, UNDELIVERED, 0)
            assert [one.id for one in receiver.asked] == [asked.id] * 2
            (shown,) = (await api.a.get(f"{there}/deliveries")).json()["data"]
            assert [one["number"] for one in shown["attempts"]] == [1, 2]

    call(body)


def test_rotation(call):
    async def body(api):
        async with receiving() as receiver:
            made = await _made(api.a, f"http://receiver.example.com:{receiver.port}/")
            there = f"/v1/webhooks/{made['about']['id']}"
            rotated = (await api.a.post(f"{there}/rotate")).json()
            assert rotated["secret"] != made["secret"]
            assert rotated["about"]["previous_secret_until"] is not None
            await api.a.post(f"{there}/test")
            async with delivering(api.world, egress=_egress()):
                await until(api.world, UNDELIVERED, 0)
            (asked,) = receiver.asked
            assert asked.verified(made["secret"]) == asked.verified(rotated["secret"])
            leaked = (await api.a.post(f"{there}/rotate?overlap_s=0")).json()
            assert leaked["about"]["previous_secret_until"] is None
            assert (await api.a.post(f"{there}/rotate?overlap_s=-1")).status_code == 400

    call(body)


def test_gone_disables_and_enabling_again_works(call, monkeypatch):
    monkeypatch.setattr(claiming, "POLL_S", 0.02)
    status = [410]

    async def body(api):
        async with receiving(lambda _: status[0]) as receiver:
            made = await _made(api.a, f"http://receiver.example.com:{receiver.port}/")
            there = f"/v1/webhooks/{made['about']['id']}"
            given_up = (await api.a.post(f"{there}/test")).json()["id"]
            async with delivering(api.world, egress=_egress()):
                await until(api.world, "SELECT state FROM webhook_delivery", "given_up")
                about = (await api.a.get(there)).json()
                assert (about["enabled"], about["disabled_reason"]) == (False, "it answered 410 Gone")
                resend = f"{there}/deliveries/{given_up}/resend"
                for refused in (await api.a.post(f"{there}/test"), await api.a.post(resend)):
                    assert refused.status_code == 409
                status[0] = 200
                await api.a.patch(there, json={"enabled": True})
                assert (await api.a.post(resend)).status_code == 202
                await until(api.world, UNDELIVERED, 0)

    call(body)


def test_deliveries_come_in_pages_with_their_last_error(call):
    async def body(api):
        made = await _made(api.a)
        there = f"/v1/webhooks/{made['about']['id']}/deliveries"
        messages = await told(api.world, 5)
        for claim in await claims.claim(api.world.database, api.world.keyring, most=9, each=9, busy=(), lease_s=60):
            await claims.record(
                api.world.database, api.world.keyring, claim, claims.Outcome(503, "it answered with HTTP status 503", 7)
            )
        seen, cursor = [], ""
        while True:
            page = (await api.a.get(f"{there}?limit=2{cursor}")).json()
            seen += page["data"]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert sorted(one["message_id"] for one in seen) == sorted(messages)
        assert seen == sorted(seen, key=lambda one: one["id"], reverse=True)
        for one in seen:
            assert (one["state"], one["last_status"]) == ("pending", 503)
            assert one["attempts"][0]["error"] == one["last_error"] == "it answered with HTTP status 503"
            assert one["next_at"] is not None
        assert (await api.a.get(f"{there}?cursor=x")).status_code == 400

    call(body)


def test_tenants_do_not_see_each_other(call):
    async def body(api):
        made = await _made(api.b)
        there = f"/v1/webhooks/{made['about']['id']}"
        sent = (await api.b.post(f"{there}/test")).json()
        (claim,) = await claims.claim(api.world.database, api.world.keyring, most=9, each=9, busy=(), lease_s=60)
        await claims.record(api.world.database, api.world.keyring, claim, claims.Outcome(200, None, 1))
        before = await api.b.get(there), (await api.b.get(f"{there}/deliveries")).json()
        assert (await api.a.get("/v1/webhooks")).json() == []
        resend = f"{there}/deliveries/{sent['id']}/resend"
        own = (await _made(api.a))["about"]["id"]
        for answer in (
            await api.a.get(there),
            await api.a.patch(there, json={"url": "https://evil.example.com/"}),
            await api.a.delete(there),
            await api.a.post(f"{there}/rotate"),
            await api.a.post(f"{there}/test"),
            await api.a.get(f"{there}/deliveries"),
            await api.a.post(resend),
            await api.a.post(f"/v1/webhooks/{own}/deliveries/{sent['id']}/resend"),
        ):
            assert answer.status_code == 404, answer.text
        after = await api.b.get(there), (await api.b.get(f"{there}/deliveries")).json()
        assert (before[0].json(), before[1]) == (after[0].json(), after[1])
        # The database itself keeps them apart, whatever a query says.
        async with api.world.database.read("a") as session:
            for table in ("webhook_attempt", "webhook_delivery", "webhook_message"):
                count = await execute(session, text(f"SELECT count(*) FROM {table}"))
                assert count.scalar_one() == 0, table
        assert len(await api.world.sql("SELECT * FROM webhook_attempt")) == 1

    call(body)


def test_it_needs_the_scope(call):
    async def body(api):
        client = await api.with_key("a", ROLES["editor"])
        there = f"/v1/webhooks/{(await _made(api.a))['about']['id']}"
        for method, path in (("GET", ""), ("POST", ""), ("GET", there), ("POST", f"{there}/rotate")):
            path = path or "/v1/webhooks"
            assert (await client.request(method, path)).status_code == 403
            assert (await api.nobody.request(method, path)).status_code == 401

    call(body)
