"""Access tokens: only ours are read, only for what they are for, only while they are good."""

import base64
import dataclasses
import json
import time

import jwt
import pytest

from serving.auth.tokens import Access, Ticket, Tokens
from serving.settings import DEFAULTS
from tests.serving.api.conftest import SECRET
from tests.serving.auth import people
from tests.serving.auth.people import refused

#: As the server of the tests makes them.
TOKENS = Tokens(SECRET, DEFAULTS.auth)
KEY = TOKENS._keys["automations:api"]


def _encoded(part: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def _claims(client) -> dict:
    said = jwt.decode(client.tokens["access_token"], options={"verify_signature": False})
    assert said["exp"] - said["iat"] == DEFAULTS.auth.access_s
    return said


def _forged(said: dict, access: str) -> dict[str, str]:
    """What is wrong -> a token that has just that wrong."""
    head, body, signature = access.split(".")

    def signed(key: bytes = KEY, algorithm: str = "HS256", **changed: object) -> str:
        claims = {name: value for name, value in (said | changed).items() if value is not None}
        return jwt.encode(claims, key, algorithm=algorithm)

    admin = _encoded(said | {"sub": "usr_" + "0" * 26})
    return {
        "what it says was changed": f"{head}.{admin}.{signature}",
        "signature was changed": f"{head}.{body}.{signature[:-4]}AAAA",
        "signature was left out": f"{head}.{body}.",
        "no algorithm": f"{_encoded({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        "no algorithm, oddly written": f"{_encoded({'alg': 'nOnE', 'typ': 'JWT'})}.{body}.{signature}",
        "another algorithm": signed(algorithm="HS512"),
        "another server's key": signed(Tokens(b"t" * 32, DEFAULTS.auth)._keys["automations:api"]),
        "the secret itself as a key": signed(SECRET),
        "the key of tickets": signed(TOKENS._keys["automations:events"]),
        "a ticket's audience": signed(aud="automations:events"),
        "no audience": signed(aud=None),
        "another issuer": signed(iss="somebody"),
        "its time is over": signed(exp=int(time.time()) - 1),
        "no end": signed(exp=None),
        "no session": signed(sid=None),
        "a session that is no text": signed(sid=7),
        "another's session": signed(sid="ses_" + "0" * 26),
        "another tenant": signed(tid="b"),
        "the server itself as tenant": signed(tid="*"),
        "somebody else": signed(sub="usr_" + "0" * 26),
        "a key's id as session": signed(sid="key_" + "0" * 26),
        "no token": "eyJ",
    }


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_only_a_token_of_ours_is_read(call):
    async def body(api):
        client = await people.signed_in(api)
        access = client.tokens["access_token"]
        forged = _forged(_claims(client), access)
        assert len(forged) == len(set(forged.values()))
        for wrong, token in forged.items():
            answer = await api.nobody.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401, wrong
        # The same, made anew with nothing wrong, is good: what was refused was refused for what was wrong with it.
        good = jwt.encode(_claims(client), KEY, algorithm="HS256")
        assert (await (await api.client(good)).get("/v1/me")).status_code == 200
        for header in (f"Basic {access}", access, f"Bearer\t{access}"):
            assert (await api.nobody.get("/v1/me", headers={"Authorization": header})).status_code == 401

    call(body)


def test_a_refresh_token_is_no_access_token_nor_the_other_way_round(call):
    async def body(api):
        client = await people.signed_in(api)
        as_access = await api.client(client.tokens["refresh_token"])
        refused(await as_access.get("/v1/me"), 401, "unauthenticated")
        refused(await people.refresh(api.nobody, client.tokens["access_token"]), 401, "unauthenticated")
        key = api.a.headers["Authorization"].partition(" ")[2]
        refused(await people.refresh(api.nobody, key), 401, "unauthenticated")

    call(body)


def test_tokens_and_tickets_are_told_apart():
    access = Access(tenant_id="a", user_id="usr_1", session_id="ses_1")
    ticket = Ticket(tenant_id="a", job_id="job_1", credential="ses_1")
    (token, lifetime_s), (shown, _) = TOKENS.access(access), TOKENS.ticket(ticket)
    assert lifetime_s == DEFAULTS.auth.access_s
    assert (TOKENS.read_access(token), TOKENS.read_ticket(shown)) == (access, ticket)
    assert TOKENS.read_access(shown) is None
    assert TOKENS.read_ticket(token) is None
    assert dataclasses.astuple(access) != dataclasses.astuple(ticket)


@pytest.mark.parametrize("name", ["sub", "sid", "tid", "exp", "iss", "aud"])
def test_nothing_may_be_missing(name):
    token, _ = TOKENS.access(Access(tenant_id="a", user_id="usr_1", session_id="ses_1"))
    said = jwt.decode(token, options={"verify_signature": False})
    assert TOKENS.read_access(jwt.encode(said, KEY, algorithm="HS256")) is not None
    said.pop(name)
    assert TOKENS.read_access(jwt.encode(said, KEY, algorithm="HS256")) is None
