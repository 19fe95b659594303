"""What operators do is in the log, and the command says which line is not what was written."""

import asyncio
import json

import pytest
from sqlalchemy import text

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from tests.serving.commands import here


@pytest.fixture
def audit(url, tmp_path):
    """Runs `automations` over a database of its own."""
    key = tmp_path / "key"
    key.write_text("0a" * 32)
    settings = {
        "AUTOMATIONS_SERVER__DATABASE_URL": url,
        "AUTOMATIONS_SERVER__DATA_DIR": tmp_path / "data",
        "AUTOMATIONS_STORAGE__MASTER_KEY_FILE": key,
    }
    return lambda *words: here(*words, **settings)


def _changed(url: str, statement: str) -> None:
    async def change() -> None:
        database = Database(url, pool_size=1)
        async with database.write("clean.old", SYSTEM) as session:
            await execute(session, text(statement))
        await database.close()

    asyncio.run(change())


def test_what_operators_do_is_noted_and_verified(audit, url, tmp_path):
    made = json.loads(audit("tenants", "create", "somebody", "--json").stdout)
    tenant = made["id"]
    assert audit("tenants", "quota", tenant, "1000").returncode == 0
    assert audit("keys", "rotate").returncode == 0
    assert audit("keys", "status").returncode == 0
    shown = json.loads(audit("audit", "show", "--json").stdout)
    assert {line["actor"] for line in shown} == {"command"}
    assert [(line["number"], line["operation"], line["write"]) for line in shown] == [
        (1, "tenants create", "tenant.create"),
        (2, "tenants quota", "tenant.quota"),
    ]
    assert tenant in shown[0]["targets"]
    assert shown[0]["credential"].startswith("uid:")
    assert made["key"] not in str(shown)
    assert "tenants quota" in audit("audit", "show", "--last", "1").stdout

    checked = audit("audit", "verify")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "2 lines in 1 chains, 0 not linked yet; 0 findings" in checked.stdout
    heads = tmp_path / "heads.json"
    heads.write_text(audit("audit", "head", "--json").stdout)
    assert audit("audit", "verify", "--heads", heads).returncode == 0
    assert json.loads(heads.read_text())["heads"][0]["mac"] in audit("audit", "head").stdout

    _changed(url, "UPDATE audit SET actor = 'key_x' WHERE operation = 'tenants create'")
    told = audit("audit", "verify")
    assert told.returncode == 1
    assert f"system  line 1  {shown[0]['id']}  changed: " in told.stdout
    found = json.loads(audit("audit", "verify", "--json").stdout)
    assert (found["wrong"], found["findings"][0]["problem"]) == (1, "changed")
    kept = json.loads(heads.read_text())["heads"]
    heads.write_text(json.dumps({"heads": [kept[0] | {"number": 9}]}))
    told = audit("audit", "verify", "--heads", heads)
    assert (told.returncode, "not as kept elsewhere" in told.stdout) == (1, True)
    heads.write_text("{}")
    refused = audit("audit", "verify", "--heads", heads)
    assert (refused.returncode, "audit head --json" in refused.stderr) == (2, True)


def test_another_master_key_opens_no_log(audit, url, tmp_path):
    assert audit("tenants", "create", "somebody").returncode == 0
    (tmp_path / "key").write_text("0b" * 32)
    for command in (("audit", "verify"), ("tenants", "create", "other")):
        refused = audit(*command)
        assert refused.returncode == 2
        assert "master key" in refused.stderr
