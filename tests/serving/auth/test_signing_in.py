"""Signing in: who may, what it tells those who may not, and how often one may try."""

import asyncio
import time

import pytest
from argon2 import PasswordHasher, extract_parameters

from serving.auth.passwords import MAX_BYTES, Passwords
from tests.serving.auth import people
from tests.serving.auth.people import PASSWORD, attempted, refused

REAL_PASSWORDS = True


def test_somebody_signs_in_goes_on_and_signs_out(call):
    async def body(api):
        user = await people.made(api.world.database, role="editor", email="Ada@Example.com")
        answer = await people.sign_in(api.nobody, user, email="ADA@example.COM")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        tokens = answer.json()
        assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 600)
        ada = await api.client(tokens["access_token"])
        me = (await ada.get("/v1/me")).json()
        assert (me["kind"], me["id"], me["email"], me["role"]) == ("user", user.id, "ada@example.com", "editor")
        assert (me["tenant"], me["session_id"]) == ({"id": "a", "name": "a"}, tokens["session_id"])
        assert "videos:write" in me["scopes"]
        assert (await ada.post("/v1/jobs", json={"video_id": "vid_a"})).status_code == 202
        refused(await ada.get("/v1/keys"), 403, "forbidden")
        again = (await people.refresh(api.nobody, tokens["refresh_token"])).json()
        assert again["session_id"] == tokens["session_id"]
        newer = await api.client(again["access_token"])
        assert (await newer.get("/v1/me")).json() == me
        out = await api.nobody.post("/v1/auth/logout", json={"refresh_token": again["refresh_token"]})
        assert out.status_code == 204
        refused(await people.refresh(api.nobody, again["refresh_token"]), 401, "unauthenticated")
        await asyncio.sleep(1)
        for client in (ada, newer):
            refused(await client.get("/v1/me"), 401, "unauthenticated")

    call(body)


def test_a_key_is_somebody_too_and_no_person(call):
    async def body(api):
        me = (await api.a.get("/v1/me")).json()
        assert (me["kind"], me["tenant"]["id"], me["email"], me["role"]) == ("key", "a", None, None)
        change = {"old_password": PASSWORD, "new_password": PASSWORD}
        for answer in (await api.a.get("/v1/me/sessions"), await api.a.post("/v1/me/password", json=change)):
            refused(answer, 403, "forbidden")
        refused(await api.nobody.get("/v1/me"), 401, "unauthenticated")

    call(body)


def test_whatever_is_wrong_the_answer_is_the_same(call):
    async def body(api):
        user = await people.made(api.world.database)
        disabled = await people.made(api.world.database)
        await api.world.change("UPDATE app_user SET disabled_at = now() WHERE id = :id", id=disabled.id)
        attempts = [
            await people.sign_in(api.nobody, user, "another password"),
            await people.sign_in(api.nobody, user, PASSWORD + "x" * 500),
            await people.sign_in(api.nobody, user, email="nobody@example.com"),
            await people.sign_in(api.nobody, user, email=""),
            await people.sign_in(api.nobody, disabled),
            # Another tenant, none, the server itself, and nobody's; there are two, so that none is meant by itself.
            *[await people.sign_in(api.nobody, user, tenant=tenant) for tenant in ("b", "", "*", "ten_x", None)],
        ]
        first, *others = [refused(answer, 401, "unauthenticated") for answer in attempts]
        assert others == [first] * len(others)
        assert (await people.sign_in(api.nobody, user)).status_code == 200
        for wrong in ({"password": "\0" * 12}, {"email": "a\0@b"}, {"password": "x" * (MAX_BYTES + 1)}, {"more": 1}):
            assert (await people.sign_in(api.nobody, user, **wrong)).status_code in (400, 401)

    call(body)


def test_the_only_tenant_needs_no_name(call):
    async def body(api):
        await api.world.change("DELETE FROM api_key WHERE tenant_id = 'b'")
        await api.world.change("DELETE FROM video WHERE tenant_id = 'b'")
        await api.world.change("DELETE FROM tenant WHERE id = 'b'")
        user = await people.made(api.world.database)
        answer = await api.nobody.post("/v1/auth/token", json={"email": user.email, "password": PASSWORD})
        assert answer.status_code == 200

    call(body)


def test_the_same_email_in_two_tenants_is_two_people(call):
    async def body(api):
        for tenant in ("a", "b"):
            user = await people.made(api.world.database, tenant, email="eve@example.com")
            answer = await people.sign_in(api.nobody, user)
            client = await api.client(answer.json()["access_token"])
            assert [video["id"] for video in (await client.get("/v1/videos")).json()["data"]] == [f"vid_{tenant}"]

    call(body)


def test_an_account_that_is_not_there_costs_as_much():
    async def body() -> None:
        passwords = Passwords()
        kept = await passwords.hashed(PASSWORD)
        # The same work to verify, by what is to be done rather than by the clock.
        assert extract_parameters(passwords._nobodys) == extract_parameters(kept)
        assert await passwords.verified(kept, PASSWORD)
        assert not await passwords.verified(kept, PASSWORD + "x")
        assert not await passwords.verified(None, PASSWORD)
        passwords.close()

    asyncio.run(body())


def test_who_is_not_there_is_as_much_work_as_who_is(call):
    async def body(api):
        user = await people.made(api.world.database)

        async def work_s(**wrong: str) -> float:
            # Processor time of this process, which is the server's too, whatever else the machine does.
            began = time.process_time()
            refused(await people.sign_in(api.nobody, user, "wrong", **wrong), 401, "unauthenticated")
            return time.process_time() - began

        await work_s()
        # Without hashing it would be a tenth.
        there, not_there = await work_s(), await work_s(email="nobody@example.com")
        assert there / 2 < not_there < there * 2

    call(body)


def test_a_password_that_was_hashed_otherwise_is_hashed_anew(call):
    async def body(api):
        user = await people.made(api.world.database)
        old = PasswordHasher(time_cost=1, memory_cost=8192).hash(PASSWORD)
        await api.world.change("UPDATE app_user SET password_hash = :old WHERE id = :id", old=old, id=user.id)
        for _ in range(2):
            assert (await people.sign_in(api.nobody, user)).status_code == 200
            ((kept,),) = await api.world.sql("SELECT password_hash FROM app_user WHERE id = :id", id=user.id)
            assert extract_parameters(kept) == extract_parameters(PasswordHasher().hash("x"))
        assert (await people.sign_in(api.nobody, user, "wrong")).status_code == 401

    call(body)


def test_many_who_sign_in_do_not_keep_others_waiting(call):
    async def body(api):
        user = await people.made(api.world.database)
        signing_in = [asyncio.create_task(people.sign_in(api.nobody, user, "wrong")) for _ in range(9)]
        await asyncio.sleep(0.05)
        waited = []
        for _ in range(3):
            began = time.perf_counter()
            assert (await api.nobody.get("/livez")).status_code == 200
            waited.append(time.perf_counter() - began)
        assert not all(task.done() for task in signing_in), "they were over before anybody could have waited"
        assert {answer.status_code for answer in await asyncio.gather(*signing_in)} == {401}
        assert min(waited) < 0.5

    call(body)


def test_more_than_can_be_hashed_are_told_to_come_again():
    async def body() -> None:
        passwords = Passwords()
        passwords._under_way = 10_000
        with pytest.raises(Exception, match="too many people sign in"):
            await passwords.hashed(PASSWORD)
        passwords.close()

    asyncio.run(body())


def test_an_account_is_tried_so_often_from_anywhere(call, url):
    async def body(api):
        user, other = await people.made(api.world.database), await people.made(api.world.database)
        async with attempted(url, api, account_attempts=3) as client, attempted(url, api, account_attempts=3) as second:
            for each in (client, second, client):
                refused(await people.sign_in(each, user, "wrong"), 401, "unauthenticated")
            # Not even the right one; or somebody else could find it out by trying.
            for each in (client, second):
                answer = await people.sign_in(each, user)
                refused(answer, 429, "rate_limited")
                assert int(answer.headers["retry-after"]) > 0
            assert (await people.sign_in(client, other)).status_code == 200

    call(body)


def test_an_address_tries_so_many_accounts_whatever_it_says_it_is(call, url):
    async def body(api):
        async with attempted(url, api, address_attempts=3) as client:
            told = []
            for number in range(4):
                body = {"email": f"{number}@example.com", "password": "x", "tenant": "a"}
                headers = {"X-Forwarded-For": f"203.0.113.{number}", "Forwarded": f"for=203.0.113.{number}"}
                told.append((await client.post("/v1/auth/token", json=body, headers=headers)).status_code)
        assert told == [401, 401, 401, 429]

    call(body)
