"""Sessions: each refresh token is good once, and one that comes twice ends them all."""

import asyncio

import httpx
import pytest
from sqlalchemy import text

from serving.auth.credentials import TRUSTED_S
from serving.auth.sessions import MAX_SESSIONS
from serving.db.statements import execute
from tests.serving.auth import people
from tests.serving.auth.people import PASSWORD, attempted, refused


async def _ended(api, client: httpx.AsyncClient) -> None:
    """Wait as long as it may take until an ended session is felt, and see that it is."""
    await asyncio.sleep(TRUSTED_S + 0.1)
    refused(await client.get("/v1/me"), 401, "unauthenticated")
    ((ended,),) = await api.world.sql(
        "SELECT revoked_at IS NOT NULL FROM session WHERE id = :id", id=client.tokens["session_id"]
    )
    assert ended


def test_each_refresh_token_is_good_once(call):
    async def body(api):
        client = await people.signed_in(api)
        seen = [client.tokens["refresh_token"]]
        for _ in range(5):
            answer = await people.refresh(api.nobody, seen[-1])
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
            seen.append(answer.json()["refresh_token"])
        assert len(set(seen)) == 6
        assert (await client.get("/v1/me")).status_code == 200
        kept = await api.world.sql("SELECT refresh_token::text FROM refresh_token")
        assert len(kept) == 6
        assert not any(token in str(kept) or token[4:] in str(kept) for token in seen)

    call(body)


def test_one_that_comes_twice_ends_the_session(call):
    async def body(api):
        client, other = await people.signed_in(api), await people.signed_in(api)
        first = client.tokens["refresh_token"]
        second = (await people.refresh(api.nobody, first)).json()["refresh_token"]
        stolen = refused(await people.refresh(api.nobody, first), 401, "unauthenticated")
        # Whoever of the two has the newer one is refused alike.
        assert refused(await people.refresh(api.nobody, second), 401, "unauthenticated") == stolen
        assert refused(await people.refresh(api.nobody, "rtk_" + "x" * 43), 401, "unauthenticated") == stolen
        await _ended(api, client)
        assert (await people.refresh(api.nobody, other.tokens["refresh_token"])).status_code == 200
        again = await people.sign_in(api.nobody, client.user)
        client.headers["Authorization"] = f"Bearer {again.json()['access_token']}"
        told = {one["id"]: one["ended_because"] for one in (await client.get("/v1/me/sessions")).json()}
        assert told == {
            client.tokens["session_id"]: "a refresh token was used twice",
            again.json()["session_id"]: None,
        }

    call(body)


def test_of_twenty_at_once_one_wins_and_the_session_ends(call):
    async def body(api):
        client = await people.signed_in(api)
        token = client.tokens["refresh_token"]
        answers = await asyncio.gather(*(people.refresh(api.nobody, token) for _ in range(20)))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19
        (won,) = [answer.json() for answer in answers if answer.status_code == 200]
        assert (await people.refresh(api.nobody, won["refresh_token"])).status_code == 401
        await _ended(api, client)
        # One that was made, and the one that it was made of.
        assert len(await api.world.sql("SELECT 1 FROM refresh_token")) == 2

    call(body)


@pytest.mark.parametrize("what", ["refresh_token", "session"])
def test_its_time_is_over(call, what):
    async def body(api):
        client = await people.signed_in(api)
        await api.world.change(f"UPDATE {what} SET expires_at = now() - interval '1 s'")
        refused(await people.refresh(api.nobody, client.tokens["refresh_token"]), 401, "unauthenticated")
        await asyncio.sleep(TRUSTED_S + 0.1)
        # Without a way on it still goes to its own end.
        assert (await client.get("/v1/me")).status_code == (200 if what == "refresh_token" else 401)

    call(body)


def test_a_refresh_token_does_not_outlive_its_session(call):
    async def body(api):
        client = await people.signed_in(api)
        await api.world.change("UPDATE session SET expires_at = now() + interval '1 h'")
        assert (await people.refresh(api.nobody, client.tokens["refresh_token"])).status_code == 200
        (late,) = await api.world.sql(
            "SELECT count(*) FROM refresh_token t JOIN session s ON s.id = session_id"
            " WHERE t.used_at IS NULL AND t.expires_at > s.expires_at"
        )
        assert late[0] == 0

    call(body)


def test_sessions_of_ones_own_are_seen_and_ended(call):
    async def body(api):
        client, stranger = await people.signed_in(api), await people.signed_in(api)
        elsewhere = (await people.sign_in(api.nobody, client.user)).json()
        other = await api.client(elsewhere["access_token"])
        listed = (await client.get("/v1/me/sessions")).json()
        assert {one["id"]: one["current"] for one in listed} == {
            client.tokens["session_id"]: True,
            elsewhere["session_id"]: False,
        }
        path = f"/v1/me/sessions/{elsewhere['session_id']}"
        missing = refused(await client.delete("/v1/me/sessions/ses_" + "0" * 26), 404, "not_found")
        assert refused(await stranger.delete(path), 404, "not_found") == missing
        assert (await other.get("/v1/me")).status_code == 200
        assert [(await client.delete(path)).status_code for _ in range(2)] == [204, 204]
        await asyncio.sleep(TRUSTED_S + 0.1)
        refused(await other.get("/v1/me"), 401, "unauthenticated")
        assert (await client.get("/v1/me")).status_code == 200

    call(body)


def test_who_signed_in_long_ago_ends_no_other_session(call):
    async def body(api):
        stolen = await people.signed_in(api)
        elsewhere = (await people.sign_in(api.nobody, stolen.user)).json()
        await api.world.change("UPDATE session SET created_at = now() - interval '601 s'")
        await people.refresh(api.nobody, stolen.tokens["refresh_token"])
        path = f"/v1/me/sessions/{elsewhere['session_id']}"
        told = refused(await stolen.delete(path), 403, "sign_in_again")
        assert told == refused(await stolen.delete("/v1/me/sessions/ses_" + "0" * 26), 403, "sign_in_again")
        assert (await people.refresh(api.nobody, elsewhere["refresh_token"])).status_code == 200
        # With the password they may; and sign out, whenever they signed in.
        again = await api.client((await people.sign_in(api.nobody, stolen.user)).json()["access_token"])
        assert (await again.delete(path)).status_code == 204
        assert (await stolen.delete(f"/v1/me/sessions/{stolen.tokens['session_id']}")).status_code == 204

    call(body)


def test_another_password_ends_all_other_sessions(call):
    async def body(api):
        client = await people.signed_in(api)
        elsewhere = (await people.sign_in(api.nobody, client.user)).json()
        new = "another horse battery"
        wrong = await client.post("/v1/me/password", json={"old_password": new, "new_password": new})
        assert refused(wrong, 400, "wrong_password")["errors"][0]["pointer"] == "/old_password"
        short = await client.post("/v1/me/password", json={"old_password": PASSWORD, "new_password": "short"})
        refused(short, 400, "invalid_request")
        change = {"old_password": PASSWORD, "new_password": new}
        assert (await client.post("/v1/me/password", json=change)).status_code == 204
        refused(await people.refresh(api.nobody, elsewhere["refresh_token"]), 401, "unauthenticated")
        assert (await people.refresh(api.nobody, client.tokens["refresh_token"])).status_code == 200
        refused(await people.sign_in(api.nobody, client.user), 401, "unauthenticated")
        assert (await people.sign_in(api.nobody, client.user, new)).status_code == 200

    call(body)


def test_a_stolen_access_token_is_no_help_in_guessing_the_password(call, url):
    async def body(api):
        stolen = await people.signed_in(api)
        async with attempted(url, api, account_attempts=3) as client:
            client.headers["Authorization"] = stolen.headers["Authorization"]
            change = {"old_password": "guess", "new_password": "x" * 12}
            told = [(await client.post("/v1/me/password", json=change)).status_code for _ in range(4)]
        assert told == [400] * 3 + [429]

    call(body)


def test_who_signs_in_forever_keeps_so_many_sessions(call):
    async def body(api):
        client = await people.signed_in(api)
        insert = text(
            "INSERT INTO session (id, tenant_id, user_id, used_at, expires_at, revoked_at) SELECT 'ses_' || n, 'a',"
            " :user, now() - n * interval '1 h', now() + interval '1 d', CASE WHEN n % 2 = 0 THEN now() END"
            " FROM generate_series(1, 150) n"
        )
        async with api.world.database.write("session.create", "a") as session:
            await execute(session, insert, user=client.user.id)
            await execute(session, text("UPDATE session SET expires_at = now() WHERE id = 'ses_5'"))
        assert (await people.sign_in(api.nobody, client.user)).status_code == 200
        kept = {
            row.id: row.over for row in await api.world.sql("SELECT id, revoked_at IS NOT NULL AS over FROM session")
        }
        # The one whose time was over was counted, and went.
        assert len(kept) == MAX_SESSIONS - 1 == len((await client.get("/v1/me/sessions")).json())
        # Those that go on stay for longest, and of those the ones that were used last.
        assert client.tokens["session_id"] in kept
        assert "ses_149" in kept
        assert "ses_5" not in kept
        assert "ses_2" in kept
        assert "ses_150" not in kept

    call(body)
