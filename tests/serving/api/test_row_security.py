"""The matrix once more, over queries that no longer say whose rows they want: row-level security has to do alone."""

import asyncio

import pytest
from sqlalchemy.engine import make_url

from serving.auth.principals import ROLES
from tests.serving.api.conftest import with_api
from tests.serving.api.operations import OPERATIONS
from tests.serving.api.test_matrix import Caller, Things, _filled, ids_for, person
from tests.serving.api.unscoped import unscope_functions, unscoped

#: Those that are about a thing, asked by somebody who has to be known.
ROWS = {name: row for name, row in OPERATIONS.items() if row.target is not None and row.scope is not None}


def test_row_level_security_holds_alone(call, url, sample_report):
    async def body(api):
        assert await unscope_functions(url) >= 2
        things = Things(api.world.database, sample_report, api.store)
        callers = {
            "an admin's key": Caller(api.a, ROLES["admin"]),
            "an admin, signed in": await person(api, "admin"),
            "an admin of another tenant, signed in": await person(api, "admin", "b"),
        }
        with unscoped() as rewritten:
            for name, row in ROWS.items():
                for who, caller in callers.items():
                    for whose in ("own", "foreign", "missing"):
                        ids = await ids_for(things, row, caller, whose)
                        answer = await caller.client.request(**_filled(row, ids))
                        cell = f"{name} by {who} of {whose}: {answer.status_code} {answer.text[:300]}"
                        assert answer.status_code == caller.expected(row, whose), cell
        assert len(rewritten.statements) > 5 * len(ROWS), "hardly a query was taken apart"
        assert {"job", "video", "upload", "app_user", "api_key", "vocabulary", "webhook_endpoint"} <= rewritten.tables

    call(body)


@pytest.mark.parametrize("scoped", [True, False])
def test_without_either_they_would_not_be_apart(url, tmp_path, sample_report, scoped):
    """Shows that the test above could fail: as a user whom row-level security does not bind, its queries find what is
    another's; and that queries keep tenants apart alone as well."""
    unbound = make_url(url).set(username="postgres").render_as_string(hide_password=False)

    async def body(api):
        if not scoped:
            await unscope_functions(url)
        things, found = Things(api.world.database, sample_report, api.store), []
        caller = Caller(api.a, ROLES["admin"])
        # HEAD is answered as GET.
        rows = {name: row for name, row in ROWS.items() if row.method != "HEAD"}
        for name, row in rows.items():
            ids = await ids_for(things, row, caller, "foreign")
            answer = await caller.client.request(**_filled(row, ids))
            if answer.status_code != caller.expected(row, "foreign"):
                found.append(name)
        assert found == [] if scoped else len(found) > 0.8 * len(rows), found

    if scoped:
        asyncio.run(with_api(unbound, tmp_path, body))
    else:
        with unscoped():
            asyncio.run(with_api(unbound, tmp_path, body))
