"""Videos go when their time is over, and stay where they have to."""

import asyncio

import pytest
from sqlalchemy import text

from serving import cleaning
from serving.db.statements import execute
from serving.rights import erasing, retention
from serving.rights.rules import Rule, due, ruling
from serving.settings import DEFAULTS
from tests.serving.rights.conftest import call, uploaded, url

__all__ = ["call", "url"]

ALL, MATCH, EVIDENCE, PRESS = (
    Rule("1", None, 30),
    Rule("2", "match", 7),
    Rule("3", "evidence", None),
    Rule("4", "press", 90),
)


@pytest.mark.parametrize(
    ("labels", "rules", "rule"),
    [
        ([], [], None),
        ([], [MATCH], None),
        ([], [MATCH, ALL], ALL),
        (["other"], [MATCH, ALL], ALL),
        (["match"], [ALL, MATCH], MATCH),
        (["match", "press"], [ALL, MATCH, PRESS], PRESS),
        (["press", "evidence", "match"], [ALL, MATCH, EVIDENCE, PRESS], EVIDENCE),
    ],
)
def test_which_rule_holds(labels, rules, rule):
    assert ruling(labels, rules) == rule
    assert ruling(reversed(labels), rules[::-1]) == rule


async def _aged(api, days: float, *labels: str) -> str:
    """A video of tenant `a` that came so many days ago."""
    video = (await uploaded(api.a, f"{days} {labels}".encode()))["id"]
    assert (await api.a.patch(f"/v1/videos/{video}", json={"labels": labels})).status_code == 200
    await api.world.change(
        "UPDATE video SET created_at = now() - make_interval(secs => :age_s) WHERE id = :id",
        age_s=days * 86_400,
        id=video,
    )
    return video


async def _rule(api, keep_days: int | None, label: str | None = None) -> str:
    answer = await api.a.post("/v1/retention", json={"keep_days": keep_days, "label": label})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def _there(client) -> set[str]:
    return {video["id"] for video in (await client.get("/v1/videos")).json()["data"]}


def test_what_is_over_goes_and_the_rest_stays(call, monkeypatch):
    # So that there are several pages.
    monkeypatch.setattr(retention, "_AT_ONCE", 2)

    async def body(api):
        old, fresh = await _aged(api, 31), await _aged(api, 29)
        match, kept = await _aged(api, 8, "match"), await _aged(api, 400, "match", "evidence")
        held = await _aged(api, 60)
        assert (await api.a.put(f"/v1/videos/{held}/hold", json={"reason": "file 12"})).status_code == 200
        for_all, for_match = await _rule(api, 30), await _rule(api, 7, "match")
        await _rule(api, None, "evidence")
        again = await api.a.post("/v1/retention", json={"keep_days": 1, "label": "match"})
        assert (again.status_code, again.json()["code"]) == (409, "conflict")

        shown = (await api.a.get("/v1/retention/preview")).json()["data"]
        assert [(one["video_id"], one["rule_id"], one["held"]) for one in shown] == [
            (held, for_all, True),
            (old, for_all, False),
            (match, for_match, False),
        ]
        (first,) = (page := (await api.a.get("/v1/retention/preview", params={"limit": 1})).json())["data"]
        rest = (await api.a.get("/v1/retention/preview", params={"cursor": page["next_cursor"]})).json()["data"]
        assert [first, *rest] == shown
        # What another rule would do is seen before it is made.
        imagined = (await api.a.get("/v1/retention/preview", params={"keep_days": 28})).json()["data"]
        assert {one["video_id"] for one in imagined} == {held, old, fresh, match}
        before = await _there(api.a)
        assert before >= {old, fresh, match, kept, held}

        todo = {chore.name: chore for chore in cleaning.chores(api.world.database, api.store, DEFAULTS)}
        chore = todo["videos whose time is over"]
        assert chore.every_s < 3600
        # As several workers would, at once.
        assert sum(await asyncio.gather(*(chore.do() for _ in range(3)))) == 2
        assert await _there(api.a) == before - {old, match}
        assert len(await _there(api.b)) == 1
        records = (await api.a.get("/v1/erasures")).json()["data"]
        assert {(one["video_id"], one["reason"], one["rule_id"]) for one in records} == {
            (old, "retention", for_all),
            (match, "retention", for_match),
        }
        # Released, it goes the next time; kept for longer, others stay.
        assert (await api.a.delete(f"/v1/videos/{held}/hold")).status_code == 204
        assert (await api.a.patch(f"/v1/retention/{for_all}", json={"keep_days": 100})).status_code == 200
        assert await chore.do() == 0
        assert (await api.a.patch(f"/v1/retention/{for_all}", json={"keep_days": 30})).status_code == 200
        assert await chore.do() == 1
        assert (await api.a.delete(f"/v1/retention/{for_all}")).status_code == 204
        assert (await api.a.get("/v1/retention/preview")).json()["data"] == []
        assert fresh in await _there(api.a)

    call(body)


def test_one_that_cannot_be_erased_is_in_nobodys_way(call, monkeypatch, caplog):
    async def body(api):
        bad = await _aged(api, 40)
        gone = [await _aged(api, 35), (await uploaded(api.b, b"of another"))["id"]]
        await api.world.change("UPDATE video SET created_at = now() - interval '40 days' WHERE tenant_id = 'b'")
        await _rule(api, 30)
        assert (await api.b.post("/v1/retention", json={"keep_days": 30})).status_code == 201
        real = retention.locked

        async def locked(session, tenant, video):
            if video == bad:
                # As where a statement takes longer than it may.
                raise TimeoutError
            return await real(session, tenant, video)

        monkeypatch.setattr(retention, "locked", locked)
        await retention.apply(api.world.database, api.store)
        there = await _there(api.a) | await _there(api.b)
        assert bad in there
        assert there.isdisjoint(gone)
        assert [one.args[0] for one in caplog.records if "cannot be erased" in one.message] == [bad]

    call(body)


def test_of_many_erasures_in_a_row_one_asks_for_the_key_that_they_are_signed_with(call, monkeypatch):
    """A KMS may have the master key: each time is a journey, and costs."""

    async def body(api):
        for age_days in (40, 41):
            await _aged(api, age_days)
        await _rule(api, 30)
        master, asked = api.store.keyring.master, []
        real = master.unwrap

        async def unwrap(wrapped, what, name):
            asked.append(what.purpose)
            return await real(wrapped, what, name)

        async def nothing(key: str) -> None:
            raise OSError("the disk is away")

        monkeypatch.setattr(master, "unwrap", unwrap)
        with monkeypatch.context() as away:
            away.setattr(api.store, "delete", nothing)
            assert await retention.apply(api.world.database, api.store) == 2
        assert asked.count("audit key") == 1
        await api.world.change("UPDATE erasure SET at = at - interval '1 h'")
        assert await erasing.finish_left(api.world.database, api.store) == 2
        assert asked.count("audit key") == 2

    call(body)


def test_one_that_is_labelled_to_stay_while_it_is_waited_for_stays(call):
    """Whoever labels it has it locked when its time is looked at, and is through before it would go."""

    async def body(api):
        video = await _aged(api, 60)
        await _rule(api, 30)
        await _rule(api, None, "evidence")
        async with api.world.database.write("video.write", "a") as session:
            await execute(session, text("UPDATE video SET labels = '{evidence}' WHERE id = :id"), id=video)
            todo = asyncio.create_task(retention.apply(api.world.database, api.store))
            await _waited_for(api)
        assert await todo == 0
        assert video in await _there(api.a)
        # So does one that a rule was to keep by then.
        await api.world.change("UPDATE video SET labels = '{match}' WHERE id = :id", id=video)
        rule = await _rule(api, 7, "match")
        async with api.world.database.write("retention.write", "a") as session:
            await execute(session, text("UPDATE retention_rule SET keep_days = 90 WHERE id = :id"), id=rule)
            todo = asyncio.create_task(retention.apply(api.world.database, api.store))
            await _waited_for(api)
        assert await todo == 0
        assert video in await _there(api.a)

    call(body)


async def _waited_for(api) -> None:
    """Until somebody waits for what another has locked."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(30):
        while (await api.world.sql(waiting))[0][0] == 0:
            await asyncio.sleep(0.02)


def test_one_that_is_held_is_not_deleted(call):
    async def body(api):
        video = (await uploaded(api.a, b"film"))["id"]
        held = (await api.a.put(f"/v1/videos/{video}/hold", json={"reason": "file 12"})).json()
        assert (held["video_id"], held["reason"]) == (video, "file 12")
        answer = await api.a.delete(f"/v1/videos/{video}")
        assert (answer.status_code, answer.json()["code"]) == (409, "legal_hold")
        assert (await api.a.put(f"/v1/videos/{video}/hold", json={"reason": "file 13"})).json()["reason"] == "file 13"
        assert (await api.a.get(f"/v1/videos/{video}")).status_code == 200
        assert (await api.a.delete(f"/v1/videos/{video}/hold")).status_code == 204
        assert (await api.a.get(f"/v1/videos/{video}/hold")).status_code == 404
        assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204

    call(body)


def test_a_hold_and_a_deletion_at_once(call):
    """One of the two comes first, and the other is told."""

    async def body(api):
        for number in range(5):
            video = (await uploaded(api.a, f"film {number}".encode()))["id"]
            held, deleted = await asyncio.gather(
                api.a.put(f"/v1/videos/{video}/hold", json={"reason": "file"}), api.a.delete(f"/v1/videos/{video}")
            )
            assert (held.status_code, deleted.status_code) in {(200, 409), (404, 204)}

    call(body)


def test_when_one_is_due():
    from datetime import UTC, datetime

    came = datetime(2026, 2, 27, 12, tzinfo=UTC)
    assert due(came, EVIDENCE) is None
    assert due(came, MATCH) == datetime(2026, 3, 6, 12, tzinfo=UTC)
