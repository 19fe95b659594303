"""Who is let in sets a password that nobody else ever sees."""

import asyncio
from typing import Any

from serving.auth.credentials import TRUSTED_S
from serving.auth.principals import ROLES
from tests.serving.auth import people
from tests.serving.auth.people import PASSWORD, attempted, refused

NEW = {"email": "new@example.com", "name": "Newcomer", "role": "viewer"}


async def accept(client, invitation: str, password: str = PASSWORD):
    """The answer to who sets a password."""
    return await client.post("/v1/auth/password", json={"invitation": invitation, "password": password})


async def sign_in(api, password: str = PASSWORD):
    """The answer to the newcomer who signs in."""
    return await api.nobody.post("/v1/auth/token", json={"email": NEW["email"], "password": password, "tenant": "a"})


def test_somebody_is_let_in_and_sets_a_password(call):
    async def body(api):
        made = await api.a.post("/v1/users", json=NEW)
        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        shown = made.json()["invitation"]
        invitation = shown["invitation"]
        ((left,),) = await api.world.sql("SELECT expires_at - now() FROM invitation")
        assert 0 < 86_400 - left.total_seconds() < 60
        # It is no password, and there is none yet.
        for guess in (invitation, "", "None", PASSWORD):
            refused(await sign_in(api, guess), 401, "unauthenticated")
        client = await api.client(invitation)
        refused(await client.get("/v1/me"), 401, "unauthenticated")
        refused(await accept(api.nobody, invitation, "short"), 400, "invalid_request")
        assert (await accept(api.nobody, invitation)).status_code == 204
        assert (await sign_in(api)).status_code == 200
        # Once.
        refused(await accept(api.nobody, invitation, "another horse battery"), 401, "unauthenticated")
        assert (await sign_in(api)).status_code == 200
        # Nobody else sees it, and nothing keeps it.
        assert "invitation" not in (await api.a.get(f"/v1/users/{made.json()['id']}")).json()
        assert invitation not in str(await api.world.sql("SELECT audit::text FROM audit"))
        given = (await api.a.post("/v1/users", json=NEW | {"email": "b@example.com", "password": PASSWORD})).json()
        assert "invitation" not in given

    call(body)


def test_they_are_random_and_one_takes_the_place_of_the_one_before(call):
    async def body(api):
        user = (await api.a.post("/v1/users", json=NEW)).json()
        path = f"/v1/users/{user['id']}/invitation"
        shown = [user["invitation"]["invitation"]]
        shown += [(await api.a.post(path)).json()["invitation"] for _ in range(20)]
        assert len({one[4:8] for one in shown}) > 15
        assert {len(one) for one in shown} == {len("inv_") + 43}
        for one in (*shown[:-1], "inv_" + "x" * 43, "", "x" * 4096):
            refused(await accept(api.nobody, one), 401, "unauthenticated")
        assert (await accept(api.nobody, shown[-1])).status_code == 204

    call(body)


def test_its_time_is_over(call):
    async def body(api):
        invitation = (await api.a.post("/v1/users", json=NEW)).json()["invitation"]["invitation"]
        await api.world.change("UPDATE invitation SET expires_at = now()")
        gone = refused(await accept(api.nobody, invitation), 401, "unauthenticated")
        assert gone == refused(await accept(api.nobody, "inv_" + "0" * 43), 401, "unauthenticated")

    call(body)


def test_a_forgotten_password_goes_when_another_is_set(call):
    async def body(api):
        client: Any = await people.signed_in(api)
        path = f"/v1/users/{client.user.id}"
        invitation = (await api.a.post(f"{path}/invitation")).json()["invitation"]
        # Until then, an administrator has taken nothing from anybody.
        await asyncio.sleep(TRUSTED_S + 0.1)
        assert (await client.get("/v1/me")).status_code == 200
        assert (await accept(api.nobody, invitation, "another horse battery")).status_code == 204
        await asyncio.sleep(TRUSTED_S + 0.1)
        refused(await client.get("/v1/me"), 401, "unauthenticated")
        refused(await people.sign_in(api.nobody, client.user), 401, "unauthenticated")
        assert (await people.sign_in(api.nobody, client.user, "another horse battery")).status_code == 200
        # It was they who did it.
        log = (await api.a.get("/v1/audit", params={"kind": "write"})).json()["data"]
        ((done,),) = [[entry for entry in log if entry["operation"] == "accept_invitation"]]
        assert (done["actor"], done["write"]) == (client.user.id, "user.write")
        ((done,),) = [[entry for entry in log if entry["operation"] == "invite_user"]]
        assert client.user.id in done["targets"]

    call(body)


def test_another_password_or_a_disabled_user_ends_it(call):
    async def body(api):
        for change in ({"password": "another horse battery"}, {"disabled": True}):
            user = await people.made(api.world.database)
            path = f"/v1/users/{user.id}"
            invitation = (await api.a.post(f"{path}/invitation")).json()["invitation"]
            assert (await api.a.patch(path, json=change)).status_code == 200
            refused(await accept(api.nobody, invitation), 401, "unauthenticated")
            await api.a.patch(path, json={"disabled": False})
            refused(await accept(api.nobody, invitation), 401, "unauthenticated")

    call(body)


def test_of_many_at_once_one_sets_it(call):
    async def body(api):
        invitation = (await api.a.post("/v1/users", json=NEW)).json()["invitation"]["invitation"]
        chosen = [f"{number} horses and a battery" for number in range(8)]
        answers = await asyncio.gather(*(accept(api.nobody, invitation, one) for one in chosen))
        assert sorted(answer.status_code for answer in answers) == [204] + [401] * 7
        (set_by,) = [one for one, answer in zip(chosen, answers, strict=True) if answer.status_code == 204]
        assert (await sign_in(api, set_by)).status_code == 200

    call(body)


def test_nobody_invites_whom_they_are_below(call):
    async def body(api):
        low = await api.with_key("a", ROLES["viewer"] | {"users:manage"})
        admin = await people.made(api.world.database, role="admin")
        refused(await low.post(f"/v1/users/{admin.id}/invitation"), 403, "forbidden")
        refused(await api.b.post(f"/v1/users/{admin.id}/invitation"), 404, "not_found")
        assert await api.world.sql("SELECT 1 FROM invitation") == []

    call(body)


def test_who_has_no_password_yet_is_no_admin_to_rely_on(call):
    async def body(api):
        last = await people.made(api.world.database, role="admin")
        invited = (await api.a.post("/v1/users", json=NEW | {"role": "admin"})).json()
        refused(await api.a.delete(f"/v1/users/{last.id}"), 409, "conflict")
        assert (await api.a.delete(f"/v1/users/{invited['id']}")).status_code == 204

    call(body)


def test_guessing_them_is_slowed_down(call, url):
    async def body(api):
        async with attempted(url, api, address_attempts=3) as client:
            told = [(await accept(client, f"inv_{number:043}")).status_code for number in range(5)]
        assert told == [401, 401, 401, 429, 429]

    call(body)


def test_who_is_disabled_is_not_invited(call):
    async def body(api):
        user = (await api.a.post("/v1/users", json=NEW)).json()
        path = f"/v1/users/{user['id']}"
        assert (await api.a.patch(path, json={"disabled": True})).status_code == 200
        refused(await api.a.post(f"{path}/invitation"), 409, "conflict")
        assert (await api.world.sql("SELECT count(*) FROM invitation")) == [(0,)]
        assert (await api.a.patch(path, json={"disabled": False})).status_code == 200
        assert (await api.a.post(f"{path}/invitation")).status_code in (200, 201)

    call(body)
