"""Tickets: what a browser watches a job with, and what it can do nothing else with."""

import asyncio
import time

import httpx
import jwt

from serving.auth.principals import ROLES
from serving.auth.tokens import Ticket, Tokens
from serving.jobs import outcomes
from serving.jobs.lease import Problem
from serving.settings import DEFAULTS
from tests.serving.api.conftest import SECRET
from tests.serving.auth import people
from tests.serving.auth.people import refused


async def _job(client: httpx.AsyncClient, video: str = "vid_a") -> str:
    return (await client.post("/v1/jobs", json={"video_id": video})).json()["id"]


async def _ticket(client: httpx.AsyncClient, job: str) -> dict:
    answer = await client.post(f"/v1/jobs/{job}/events/ticket")
    assert answer.status_code == 201, answer.text
    return answer.json()


async def _over(api) -> None:
    """A worker that takes the next job and fails it."""
    lease = await api.world.queue.claim("w")
    await outcomes.fail(api.world.database, lease, Problem(code="corrupt", detail="x"))


def test_a_browser_watches_a_job_without_a_header(call):
    async def body(api):
        viewer = await people.signed_in(api)
        job = await _job(api.a)
        ticket = await _ticket(viewer, job)
        assert ticket["url"] == f"/v1/jobs/{job}/events?ticket={ticket['ticket']}"
        await _over(api)
        # As often as the line breaks, and on from where it broke.
        for headers, first in (({}, 1), ({"Last-Event-ID": "2"}, 3)):
            answer = await api.nobody.get(ticket["url"], headers=headers)
            assert answer.status_code == 200
            numbers = [int(line[4:]) for line in answer.text.splitlines() if line.startswith("id: ")]
            assert numbers == list(range(first, 4))
        assert (await api.nobody.get(ticket["url"], headers={"Last-Event-ID": "3"})).status_code == 204

    call(body)


def test_it_is_good_for_nothing_else(call):
    async def body(api):
        job, other, theirs = await _job(api.a), await _job(api.a), await _job(api.b, "vid_b")
        ticket = (await _ticket(api.a, job))["ticket"]
        with_it = {"params": {"ticket": ticket}}
        for method, path in (
            ("GET", f"/v1/jobs/{other}/events"),
            ("GET", f"/v1/jobs/{theirs}/events"),
            ("GET", f"/v1/jobs/{job}"),
            ("GET", "/v1/jobs"),
            ("GET", "/v1/me"),
            ("POST", f"/v1/jobs/{job}/cancel"),
            ("POST", f"/v1/jobs/{job}/events/ticket"),
        ):
            refused(await api.nobody.request(method, path, **with_it), 401, "unauthenticated")
        as_bearer = await api.client(ticket)
        for path in (f"/v1/jobs/{job}/events", f"/v1/jobs/{job}", "/v1/me"):
            refused(await as_bearer.get(path), 401, "unauthenticated")
        twice = await api.nobody.get(f"/v1/jobs/{job}/events", params={"ticket": [ticket, ticket]})
        refused(twice, 401, "unauthenticated")
        # Somebody else's, though their job is called the same.
        await api.a.put("/v1/jobs/same", json={"video_id": "vid_a"})
        await api.b.put("/v1/jobs/same", json={"video_id": "vid_b"})
        same = (await _ticket(api.b, "same"))["ticket"]
        async with api.nobody.stream("GET", "/v1/jobs/same/events", params={"ticket": same}) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    assert "vid_a" not in line
                    break
        refused(await api.a.post(f"/v1/jobs/{theirs}/events/ticket"), 404, "not_found")
        writer = await api.with_key("a", frozenset({"jobs:write"}))
        refused(await writer.post(f"/v1/jobs/{job}/events/ticket"), 403, "forbidden")

    call(body)


def test_what_lasts_is_not_taken_from_a_url(call):
    async def body(api):
        job, person = await _job(api.a), await people.signed_in(api)
        key = api.a.headers["Authorization"].partition(" ")[2]
        for long_lived in (key, person.tokens["refresh_token"], person.tokens["access_token"]):
            for name in ("ticket", "key", "token", "access_token", "authorization"):
                answer = await api.nobody.get(f"/v1/jobs/{job}/events", params={name: long_lived})
                refused(answer, 401, "unauthenticated")

    call(body)


def test_its_time_is_over_and_it_cannot_be_made_up(call):
    async def body(api):
        job = await _job(api.a)
        tokens = Tokens(SECRET, DEFAULTS.auth)
        shown = await _ticket(api.a, job)
        said = jwt.decode(shown["ticket"], options={"verify_signature": False})
        assert said["exp"] - said["iat"] == DEFAULTS.auth.ticket_s
        key = tokens._keys["automations:events"]
        forged = [
            jwt.encode(said | {"exp": int(time.time()) - 1}, key, algorithm="HS256"),
            jwt.encode(said, tokens._keys["automations:api"], algorithm="HS256"),
            jwt.encode(said, None, algorithm="none"),
            jwt.encode(said | {"tid": "b"}, key, algorithm="HS256"),
            tokens.ticket(Ticket(tenant_id="a", job_id=job, credential="ses_" + "0" * 26))[0],
        ]
        await _over(api)
        for ticket in (*forged, "", "x"):
            answer = await api.nobody.get(f"/v1/jobs/{job}/events", params={"ticket": ticket})
            refused(answer, 401, "unauthenticated")
        remade = jwt.encode(said, key, algorithm="HS256")
        assert (await api.nobody.get(f"/v1/jobs/{job}/events", params={"ticket": remade})).status_code == 200

    call(body)


async def _revoked(api, how: str) -> tuple[httpx.AsyncClient, object]:
    """A client, and what makes that its credential is no longer good."""
    if how == "key":
        client = await api.with_key("a", ROLES["viewer"])
        me = (await client.get("/v1/me")).json()
        return client, api.a.delete(f"/v1/keys/{me['id']}")
    client = await people.signed_in(api)
    if how == "session":
        return client, client.delete(f"/v1/me/sessions/{client.tokens['session_id']}")
    return client, api.a.patch(f"/v1/users/{client.user.id}", json={"disabled": True})


async def _ends(api, how: str, by: str) -> None:
    client, revoke = await _revoked(api, how)
    job = await _job(api.a)
    ticket = await _ticket(client, job)
    who, path = (client, f"/v1/jobs/{job}/events") if by == "header" else (api.nobody, ticket["url"])
    async with who.stream("GET", path) as stream:
        lines = stream.aiter_lines()
        while not (await anext(lines)).startswith("data: "):
            pass
        assert (await revoke).status_code in (200, 204)
        began = time.monotonic()
        async for line in lines:
            assert not line or line.startswith(":")
        # A second until it is looked for, and one until that is seen; the rest is for machines that are busy.
        assert time.monotonic() - began < 4.0
    refused(await api.nobody.get(ticket["url"]), 401, "unauthenticated")


def test_a_stream_ends_soon_after_what_it_was_opened_with(call):
    async def body(api):
        ways = [(how, by) for how in ("key", "session", "user") for by in ("header", "ticket")]
        await asyncio.gather(*(_ends(api, how, by) for how, by in ways))

    call(body)
