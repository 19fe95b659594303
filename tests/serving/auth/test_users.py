"""Users as administrators manage them; and what nobody may, administrators neither."""

import asyncio

from serving.auth.credentials import TRUSTED_S
from serving.auth.principals import ROLES, SCOPES
from tests.serving.auth import people
from tests.serving.auth.people import PASSWORD, refused

NEW = {"email": "New@Example.com", "name": "Newcomer", "role": "viewer", "password": PASSWORD}


def test_an_administrator_lets_somebody_sign_in_and_changes_them(call):
    async def body(api):
        admin = await people.signed_in(api, role="admin")
        made = await admin.post("/v1/users", json=NEW)
        assert made.status_code == 201
        user = made.json()
        assert (user["email"], user["role"], user["disabled_at"]) == ("new@example.com", "viewer", None)
        assert "password" not in made.text
        path = f"/v1/users/{user['id']}"
        assert (await admin.get(path)).json() == user
        body = {"email": NEW["email"], "password": PASSWORD, "tenant": "a"}
        tokens = (await api.nobody.post("/v1/auth/token", json=body)).json()
        client = await api.client(tokens["access_token"])
        refused(await client.post("/v1/jobs", json={"video_id": "vid_a"}), 403, "forbidden")
        changed = (await admin.patch(path, json={"role": "editor", "name": "Known"})).json()
        assert (changed["role"], changed["name"]) == ("editor", "Known")
        assert changed["updated_at"] > user["updated_at"]
        await asyncio.sleep(TRUSTED_S + 0.1)
        # In the session that goes on, with the token that was given before.
        assert (await client.post("/v1/jobs", json={"video_id": "vid_a"})).status_code == 202
        assert (await admin.patch(path, json={"disabled": True})).json()["disabled_at"]
        await asyncio.sleep(TRUSTED_S + 0.1)
        refused(await client.get("/v1/me"), 401, "unauthenticated")
        refused(await people.refresh(client, tokens["refresh_token"]), 401, "unauthenticated")
        assert (await admin.patch(path, json={"disabled": False})).json()["disabled_at"] is None
        # Who is enabled again signs in again.
        refused(await people.refresh(client, tokens["refresh_token"]), 401, "unauthenticated")
        again = (await api.nobody.post("/v1/auth/token", json=body)).json()
        assert (await admin.patch(path, json={"password": "something else"})).status_code == 200
        refused(await people.refresh(api.nobody, again["refresh_token"]), 401, "unauthenticated")
        refused(await api.nobody.post("/v1/auth/token", json=body), 401, "unauthenticated")
        last = await api.nobody.post("/v1/auth/token", json=body | {"password": "something else"})
        assert (await admin.delete(path)).status_code == 204
        refused(await admin.get(path), 404, "not_found")
        refused(await people.refresh(api.nobody, last.json()["refresh_token"]), 401, "unauthenticated")
        assert await api.world.sql("SELECT 1 FROM session WHERE user_id = :id", id=user["id"]) == []

    call(body)


def test_what_cannot_be_is_refused(call):
    async def body(api):
        for wrong, pointer in (
            ({"email": "nobody"}, "/email"),
            ({"email": "a b@example.com"}, "/email"),
            ({"email": "x" * 250 + "@y.org"}, "/email"),
            ({"name": ""}, "/name"),
            ({"role": "owner"}, "/role"),
            ({"password": "x" * 11}, "/password"),
            ({"password": "é" * 513}, "/password"),
        ):
            problem = refused(await api.a.post("/v1/users", json=NEW | wrong), 400, "invalid_request")
            assert [one["pointer"] for one in problem["errors"]] == [pointer]
            assert NEW["password"] not in str(problem)
        assert await api.world.sql("SELECT 1 FROM app_user") == []

    call(body)


def test_the_longest_and_the_shortest_password_are_good(call):
    async def body(api):
        for number, password in enumerate(("éàüöñßøå" * 64, "Kx7 mQ2v-9rT")):
            email = f"{number}@example.com"
            assert (await api.a.post("/v1/users", json=NEW | {"email": email, "password": password})).status_code == 201
            answer = await api.nobody.post("/v1/auth/token", json={"email": email, "password": password, "tenant": "a"})
            assert answer.status_code == 200

    call(body)


def test_an_email_is_once_in_a_tenant(call):
    async def body(api):
        assert (await api.a.post("/v1/users", json=NEW)).status_code == 201
        refused(await api.a.post("/v1/users", json=NEW | {"email": "NEW@example.com"}), 409, "conflict")
        assert (await api.b.post("/v1/users", json=NEW)).status_code == 201
        at_once = await asyncio.gather(
            *(api.a.post("/v1/users", json=NEW | {"email": "two@example.com"}) for _ in range(5))
        )
        assert sorted(answer.status_code for answer in at_once) == [201, 409, 409, 409, 409]

    call(body)


def test_lists_come_in_pages_of_ones_own(call):
    async def body(api):
        users = [await people.made(api.world.database) for _ in range(5)]
        await people.made(api.world.database, "b")
        seen, cursor = [], None
        while True:
            page = (await api.a.get("/v1/users", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
            seen += [user["id"] for user in page["data"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == sorted((user.id for user in users), reverse=True)

    call(body)


def test_the_last_admin_stays_one(call):
    async def body(api):
        last = await people.signed_in(api, role="admin")
        await people.made(api.world.database, "b", role="admin")
        for change in ({"role": "editor"}, {"disabled": True}, None):
            gone = await people.made(api.world.database, role="admin")
            told = []
            for user_id in (gone.id, last.user.id):
                path = f"/v1/users/{user_id}"
                told.append(await (last.delete(path) if change is None else last.patch(path, json=change)))
            # The other one does not count any more, nor does that of another tenant.
            assert told[0].status_code in (200, 204)
            refused(told[1], 409, "conflict")
        assert (await last.get("/v1/users")).status_code == 200
        same = {"role": "admin", "name": "Me"}
        assert (await last.patch(f"/v1/users/{last.user.id}", json=same)).status_code == 200

    call(body)


def test_two_last_admins_cannot_undo_each_other_at_once(call):
    async def body(api):
        for _ in range(5):
            first, second = [await people.made(api.world.database, role="admin") for _ in range(2)]
            answers = await asyncio.gather(
                *(api.a.patch(f"/v1/users/{user.id}", json={"role": "viewer"}) for user in (first, second))
            )
            assert sorted(answer.status_code for answer in answers) == [200, 409]
            await api.world.change("DELETE FROM app_user")

    call(body)


def test_nobody_gives_or_takes_over_more_than_they_have(call):
    async def body(api):
        low = await api.with_key("a", ROLES["viewer"] | {"users:manage"})
        assert (await low.post("/v1/users", json=NEW)).status_code == 201
        for role in ("editor", "admin"):
            request = NEW | {"role": role, "email": f"{role}@example.com"}
            refused(await low.post("/v1/users", json=request), 403, "forbidden")
        viewer = await people.made(api.world.database)
        refused(await low.patch(f"/v1/users/{viewer.id}", json={"role": "admin"}), 403, "forbidden")
        await people.made(api.world.database, role="admin")
        admin = await people.made(api.world.database, role="admin")
        path = f"/v1/users/{admin.id}"
        for change in ({"password": "mine from now on"}, {"disabled": True}, {"role": "viewer"}, {"name": "Fool"}):
            refused(await low.patch(path, json=change), 403, "forbidden")
        refused(await low.delete(path), 403, "forbidden")
        assert (await people.sign_in(api.nobody, admin)).status_code == 200
        almost = await api.with_key("a", SCOPES - {"audit:read"})
        refused(await almost.patch(path, json={"password": "mine from now on"}), 403, "forbidden")

    call(body)
