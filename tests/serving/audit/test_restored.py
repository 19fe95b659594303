"""The log of a server that was brought back is as it was when it was saved, whole; heads say what came since."""

import asyncio
import json
from pathlib import Path

import pytest

from serving.db import embedded
from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from tests.serving.api.conftest import made_key
from tests.serving.commands import here
from tests.serving.playback.conftest import content_of, uploaded
from tests.serving.rights.servers import running, settings_of, with_secret


@pytest.fixture
def two(server, tmp_path) -> tuple[dict[str, str], dict[str, str]]:
    """Settings of two servers that have nothing yet."""
    made = []
    for name in ("saved", "brought_back"):
        embedded.copied(server, f"{name}_{tmp_path.name}")
        made.append(settings_of(embedded.named(server, f"{name}_{tmp_path.name}"), with_secret(tmp_path / name)))
    return made[0], made[1]


async def _lived(settings: dict[str, str], *, first: bool) -> None:
    """Whatever leaves lines of each kind, in the chain of a tenant and in that of the system."""
    database = Database(settings["AUTOMATIONS_SERVER__DATABASE_URL"])
    if first:
        async with database.write("tenant.create", SYSTEM) as session:
            session.add(Tenant(id="a", name="a"))
    key = await made_key(database, "a")
    await database.close()
    async with running(database.url, Path(settings["AUTOMATIONS_SERVER__DATA_DIR"]), key) as api:
        video = await uploaded(api.a, content_of(3000, first))
        assert (await api.a.post(f"/v1/videos/{video}/urls", json={})).status_code == 201
        assert (await api.a.get(f"/v1/videos/{video}/stream")).status_code == 200
        assert (await api.a.get("/v1/videos/vid_" + "0" * 26)).status_code == 404
        if not first:
            assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204


def test_it_verifies_and_lines_that_came_after_the_backup_are_told(two, tmp_path):
    before, after = two

    def heads(name: str, settings: dict[str, str]):
        path = tmp_path / f"{name}.json"
        path.write_text(here("audit", "head", "--json", **settings).stdout)
        return path

    asyncio.run(_lived(before, first=True))
    assert here("tenants", "quota", "a", "1000000", **before).returncode == 0
    early = heads("early", before)
    assert here("backup", tmp_path / "backup", **before).returncode == 0
    asyncio.run(_lived(before, first=False))
    assert here("tenants", "quota", "a", "2000000", **before).returncode == 0
    late = heads("late", before)

    done = here("restore", tmp_path / "backup", **after)
    assert done.returncode == 0, done.stderr
    # What was kept before the backup is there.
    told = here("audit", "verify", "--heads", early, "--json", **after)
    assert told.returncode == 0, told.stdout
    seen = json.loads(told.stdout)
    assert (seen["wrong"], seen["chains"]) == (0, 2)
    kinds = {line["kind"] for line in json.loads(here("audit", "show", "--tenant", "a", "--json", **after).stdout)}
    assert {"write", "read", "grant", "refusal"} <= kinds
    # What was kept since the backup says which chains end too early.
    told = here("audit", "verify", "--heads", late, "--json", **after)
    assert told.returncode == 1
    missing = {(one["chain"], one["problem"]) for one in json.loads(told.stdout)["findings"]}
    assert missing == {("", "not as kept elsewhere"), ("a", "not as kept elsewhere")}
    # It goes on from there, and stays whole.
    asyncio.run(_lived(after, first=False))
    told = here("audit", "verify", **after)
    assert told.returncode == 0, told.stdout
