"""People to test with: made as rows, signed in over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import httpx
import msgspec
from argon2 import PasswordHasher

from serving.auth import users
from serving.auth.principals import Role
from serving.db.accounts import User
from serving.db.database import Database
from serving.ids import new_id
from serving.settings import DEFAULTS
from tests.serving.api.conftest import served

PASSWORD = "correct horse battery"


@cache
def password_hash() -> str:
    """Of `PASSWORD`."""
    return PasswordHasher().hash(PASSWORD)


async def made(database: Database, tenant: str = "a", role: Role = "viewer", email: str | None = None) -> User:
    """A new user, with `PASSWORD`."""
    email = email or f"{new_id('usr').lower()}@example.com"
    async with database.write("user.write", tenant) as session:
        return await users.create(session, tenant, email, "Somebody", role, password_hash())


async def sign_in(client: httpx.AsyncClient, user: User, password: str = PASSWORD, **more: object) -> httpx.Response:
    """The answer to who signs in as a user."""
    body = {"email": user.email, "password": password, "tenant": user.tenant_id, **more}
    return await client.post("/v1/auth/token", json=body)


async def signed_in(api, tenant: str = "a", role: Role = "viewer") -> httpx.AsyncClient:
    """A client of a new user who has signed in; `user` and `tokens` of it say who, and what they got."""
    user = await made(api.world.database, tenant, role)
    answer = await sign_in(api.nobody, user)
    assert answer.status_code == 200, answer.text
    client = await api.client(answer.json()["access_token"])
    client.user, client.tokens = user, answer.json()
    return client


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    """The answer to a refresh token."""
    return await client.post("/v1/auth/refresh", json={"refresh_token": token})


@asynccontextmanager
async def attempted(url: str, api, **auth: int) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another server over the same database, which has these settings."""
    settings = msgspec.structs.replace(DEFAULTS, auth=msgspec.structs.replace(DEFAULTS.auth, **auth))
    async with (
        served(url, api.store, settings) as address,
        httpx.AsyncClient(base_url=address, timeout=30, verify=False) as client,
    ):
        yield client


def refused(answer: httpx.Response, status: int, code: str) -> dict:
    """The problem that it was refused with, but for the request's id."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    problem.pop("request_id")
    return problem
