"""Who signs in is in the audit log by name, and what they showed is not."""

from typing import Any

from tests.serving.audit.test_refusals import refusals
from tests.serving.auth import people


def test_signing_in_is_noted_with_who_it_was(call):
    async def body(api):
        client: Any = await people.signed_in(api, "a", "admin")
        session = (await client.get("/v1/me/sessions")).json()
        again = await people.refresh(api.nobody, client.tokens["refresh_token"])
        assert again.status_code == 200
        # The same token again ends the session: nobody knows any more who it is.
        assert (await people.refresh(api.nobody, client.tokens["refresh_token"])).status_code == 401
        log = (await api.a.get("/v1/audit", params={"kind": "write"})).json()["data"]
        assert [entry["write"] for entry in log] == ["session.reused", "session.refresh", "session.create"]
        ended, went_on, began = log
        assert began["actor"] == went_on["actor"] == ended["actor"] == client.user.id
        (credential,) = {entry["credential"] for entry in log}
        assert credential.startswith("ses_")
        assert credential in str(session)
        everything = str(await api.world.sql("SELECT audit::text FROM audit"))
        tokens = [client.tokens[name] for name in ("access_token", "refresh_token")]
        for secret in (people.PASSWORD, client.user.email, *tokens):
            assert secret not in everything

    call(body)


def test_who_was_made_is_named(call):
    async def body(api):
        admin = await people.signed_in(api, "a", "admin")
        new = {"email": "new@example.com", "name": "n", "role": "viewer", "password": people.PASSWORD}
        made = (await admin.post("/v1/users", json=new)).json()["id"]
        log = (await api.a.get("/v1/audit", params={"kind": "write"})).json()["data"]
        assert [entry["targets"] for entry in log if entry["operation"] == "create_user"] == [[made]]

    call(body)


def test_a_wrong_old_password_is_a_refusal(call):
    async def body(api):
        client = await people.signed_in(api)
        change = {"old_password": "guess", "new_password": "x" * 12}
        assert (await client.post("/v1/me/password", json=change)).json()["code"] == "wrong_password"
        short = {"old_password": people.PASSWORD, "new_password": "short"}
        assert (await client.post("/v1/me/password", json=short)).json()["code"] == "invalid_request"
        seen = await refusals(api.world, 1)
        assert [(row.code, row.operation, row.actor) for row in seen] == [
            ("wrong_password", "change_my_password", client.user.id)
        ]

    call(body)
