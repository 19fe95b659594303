"""Who signs in is in the audit log by name, and what they showed is not."""

from typing import Any

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
        assert [entry["write"] for entry in log] == ["session.refresh", "session.refresh", "session.create"]
        ended, went_on, began = log
        assert began["actor"] == went_on["actor"] == client.user.id
        assert ended["actor"] is None
        (credential,) = {entry["credential"] for entry in log}
        assert credential.startswith("ses_")
        assert credential in str(session)
        everything = str(await api.world.sql("SELECT audit::text FROM audit"))
        tokens = [client.tokens[name] for name in ("access_token", "refresh_token")]
        for secret in (people.PASSWORD, client.user.email, *tokens):
            assert secret not in everything

    call(body)
