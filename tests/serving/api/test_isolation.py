"""Tenants are kept apart twice: by every query, and by the database where a query forgets."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from serving.db.accounts import Invitation, RefreshToken, UserSession
from serving.db.database import Database
from serving.db.statements import execute
from serving.db.tables import METADATA
from serving.errors import DatabaseMisconfigured
from serving.jobs import outcomes, submission
from serving.jobs.lease import Problem
from serving.jobs.submission import JobRequest
from tests.serving.auth import people
from tests.serving.jobs.conftest import run, url

__all__ = ["run", "url"]

#: Tables with rows of tenants.
OWNED = sorted(
    table.name for table in METADATA.tables.values() if "tenant_id" in table.columns or table.name == "tenant"
)


#: Those that `_lived_in` writes to.
LIVED_IN = (
    "tenant",
    "video",
    "job",
    "event",
    "checkpoint",
    "idempotency_key",
    "webhook_message",
    "app_user",
    "session",
    "refresh_token",
    "invitation",
)


async def _lived_in(world) -> None:
    """Something of both tenants in the tables that a job touches."""
    for tenant in ("a", "b"):
        request = JobRequest(video_id=f"vid_{tenant}")
        await submission.submit(world.database, tenant, [request], key="k")
        lease = await world.queue.claim("w")
        await world.queue.checkpoint(lease, [("clip", b"x")])
        await outcomes.fail(world.database, lease, Problem(code="corrupt", detail="x"))
        user = await people.made(world.database, tenant)
        later = datetime.now(UTC) + timedelta(1)
        async with world.database.write("session.create", tenant) as session:
            session.add(UserSession(id=f"ses_{tenant}", tenant_id=tenant, user_id=user.id, expires_at=later))
            await session.flush()
            session.add(
                RefreshToken(digest=tenant.encode(), tenant_id=tenant, session_id=f"ses_{tenant}", expires_at=later)
            )
            session.add(Invitation(user_id=user.id, tenant_id=tenant, digest=tenant.encode(), expires_at=later))


def test_all_tables_are_guarded(run):
    async def body(world):
        rows = await world.sql("SELECT relname, relrowsecurity AND relforcerowsecurity AS on FROM pg_class")
        guarded = {row.relname for row in rows if row.on}
        assert set(OWNED) <= guarded

    run(body)


@pytest.mark.parametrize("table", OWNED)
def test_a_query_that_forgets_whose_it_is_sees_the_own_rows_only(run, table):
    async def body(world):
        await _lived_in(world)
        column = "id" if table == "tenant" else "tenant_id"
        for tenant, others in (("a", "b"), ("b", "a")):
            async with world.database.read(tenant) as session:
                seen = {row[0] for row in (await execute(session, text(f"SELECT {column} FROM {table}"))).all()}
            assert seen <= {tenant}
            async with world.database.write("clean.expired", tenant) as session:
                changed = await execute(
                    session, text(f"UPDATE {table} SET {column} = {column} WHERE {column} = '{others}'")
                )
                removed = await execute(session, text(f"DELETE FROM {table} WHERE {column} = '{others}'"))
                assert (changed.rowcount, removed.rowcount) == (0, 0)
        everything = await world.sql(f"SELECT DISTINCT {column} FROM {table}")
        if table in LIVED_IN:
            assert {row[0] for row in everything} == {"a", "b"}, "nothing was there to be seen"

    run(body)


def test_nothing_can_be_written_for_another(run):
    async def body(world):
        with pytest.raises(DBAPIError, match="row-level security"):
            async with world.database.write("clean.expired", "a") as session:
                await execute(
                    session,
                    text("INSERT INTO idempotency_key VALUES ('b', 'submit_job', 'k', 'x', 'job', now())"),
                )

    run(body)


def test_who_bypasses_it_is_refused(url):
    root = make_url(url).set(username="postgres").render_as_string(hide_password=False)

    async def body() -> None:
        database = Database(root)
        try:
            await database.check()
        finally:
            await database.close()

    with pytest.raises(DatabaseMisconfigured, match="postgres bypasses row-level security"):
        asyncio.run(body())


def test_the_api_starts_without_what_models_need(url, tmp_path):
    code = f"""
import sys
from pathlib import Path
from serving.api.app import create_app
from serving.db.database import Database
from serving.settings import DEFAULTS
from tests.serving.sealing import store_at
app = create_app(Database({url!r}), store_at(Path({str(tmp_path)!r})), DEFAULTS, b"s" * 32)
app.openapi_schema.to_schema()
print(sorted(name for name in ("torch", "ray", "av", "open_clip", "cv2") if name in sys.modules))
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    heavy, mebibytes = done.stdout.splitlines()
    assert heavy == "[]"
    assert int(mebibytes) < 200
