"""Passwords that are guessed first are refused, wherever somebody chooses one."""

import contextlib
import random
import time
from typing import Any

import pytest

from serving.auth.errors import WeakPassword
from serving.auth.guessable import require_unguessable
from serving.auth.passwords import MAX_BYTES
from tests.serving.auth import people
from tests.serving.auth.people import PASSWORD, refused

ABOUT = ("ada.lovelace@example-films.com", "Ada Lovelace", "Studio Babelsberg")

LEAKED = ("1234qwerasdfzxcv", "dragonslayer1", "DragonSlayer1", "correcthorsebatterystaple")
REPEATED = ("xY7-xY7-xY7-", "abcdefgabcdefgabc", "zzzzzzzzzzzzzzzzz", "ü" * 512)
KNOWN = (
    "lovelace1815",
    "adalovelace2026!",
    "Ada.Lovelace@example-films.com",
    "Example-Films#1",
    "my babelsberg",
    "StudioBabelsberg1",
    "Automations-2026",
    "@ut0m4t10n5!!1",
    "L0v3l@ce-1815",
)


def _why(password: str) -> str:
    with pytest.raises(WeakPassword) as refused:
        require_unguessable(password, ABOUT, "/there")
    ((pointer, why),) = refused.value.errors
    assert pointer == "/there"
    assert password not in why
    return why


def test_what_is_tried_first_is_refused_and_why_is_told():
    assert {_why(one) for one in LEAKED} == {_why(LEAKED[0])}
    assert "leaked" in _why(LEAKED[0])
    assert {_why(one) for one in REPEATED} == {_why(REPEATED[0])}
    assert "repeats" in _why(REPEATED[0])
    assert {_why(one) for one in KNOWN} == {_why(KNOWN[0])}
    assert "besides" in _why(KNOWN[0])


def test_others_are_good():
    good = (
        PASSWORD,
        "lovelace reads nine maps",
        "Kx7-mQ2v-9rTz",
        "ein langer Satz über Ada",
        "五つの山と海を越えて行く人",
    )
    for one in good:
        require_unguessable(one, ABOUT, "/there")
    # Of somebody of whom less is known, and of whom nothing is: short words are no reason.
    require_unguessable("bananas split it", ("ana@x.de", "An A."), "/there")
    require_unguessable("bananas split it", ("", " "), "/there")


def test_it_takes_no_time_whatever_is_given():
    sure, about = random.Random(1), ("x@" + "abcd." * 40 + "org", "abcd " * 20, "abca " * 100)
    given = ["a" * (MAX_BYTES - 1) + "b", "abca" * (MAX_BYTES // 4 - 1) + "x", "\U0001f600ab" * 170]
    given += ["".join(sure.choices("4@8({[<369!1|70$5+2%abcd", k=128)) for _ in range(20)]
    require_unguessable(PASSWORD, about, "/there")
    for one in given:
        began = time.thread_time()
        with contextlib.suppress(WeakPassword):
            require_unguessable(one, about, "/there")
        assert time.thread_time() - began < 0.05


def test_wherever_one_is_chosen(call):
    async def body(api):
        new = {"email": "grace@example.com", "name": "Grace Hopper", "role": "viewer"}
        weak = await api.a.post("/v1/users", json=new | {"password": "gracehopper1906"})
        assert [one["pointer"] for one in refused(weak, 400, "weak_password")["errors"]] == ["/password"]
        refused(await api.a.post("/v1/users", json=new | {"password": LEAKED[0]}), 400, "weak_password")
        user = (await api.a.post("/v1/users", json=new | {"password": PASSWORD})).json()
        path = f"/v1/users/{user['id']}"
        refused(await api.a.patch(path, json={"password": "gracehopper1906"}), 400, "weak_password")
        refused(await api.a.patch(path, json={"password": REPEATED[0]}), 400, "weak_password")
        invitation = (await api.a.post(f"{path}/invitation")).json()["invitation"]
        for one in ("gracehopper1906", LEAKED[1]):
            weak = await api.nobody.post("/v1/auth/password", json={"invitation": invitation, "password": one})
            refused(weak, 400, "weak_password")

        client: Any = await people.signed_in(api)
        await api.world.change("UPDATE tenant SET name = 'Babelsberg' WHERE id = 'a'")
        for one in (LEAKED[2], "babelsberg7!", client.user.email):
            change = {"old_password": PASSWORD, "new_password": one}
            problem = refused(await client.post("/v1/me/password", json=change), 400, "weak_password")
            assert [error["pointer"] for error in problem["errors"]] == ["/new_password"]
            assert one not in str(problem)
        assert (await people.sign_in(api.nobody, client.user)).status_code == 200

    call(body)
