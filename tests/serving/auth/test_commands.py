"""Tenants and people, as who runs the server makes them."""

import inspect
import json
import subprocess
import sys

import httpx

from serving import accounts_cli
from serving.db import embedded
from tests.serving.auth.people import PASSWORD
from tests.serving.commands import ROOT, environment, here
from tests.serving.starting import started


def _with_password(password: str, *args: object, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from serving.cli import main; main()", *map(str, args)]
    env = environment(settings)
    return subprocess.run(command, cwd=ROOT, input=password, capture_output=True, text=True, timeout=120, env=env)


def test_a_tenant_and_its_first_people(server, tmp_path):
    attempts = {"AUTOMATIONS_AUTH__ADDRESS_ATTEMPTS": 6}
    with started("api", server, tmp_path, **attempts) as serving:
        there = {"AUTOMATIONS_SERVER__DATABASE_URL": serving.database_url, "AUTOMATIONS_SERVER__DATA_DIR": tmp_path}
        done = here("tenants", "create", "Studio <One>", "--json", **there)
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)
        listed = json.loads(here("tenants", "list", "--json", **there).stdout)
        assert [one["name"] for one in listed] == ["default", "Studio <One>"]
        assert made["id"] == listed[1]["id"]
        me = httpx.get(f"{serving.address}/v1/me", headers={"Authorization": f"Bearer {made['key']}"}).json()
        assert (me["tenant"]["id"], me["kind"]) == (made["id"], "key")
        assert "users:manage" in me["scopes"]

        create = ("users", "create", "Ada@example.com", "--role", "admin")
        which = _with_password(PASSWORD, *create, **there)
        assert (which.returncode, "--tenant" in which.stderr) == (2, True)
        done = _with_password(f"{PASSWORD}\n", *create, "--tenant", made["id"], "--json", **there)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["email"] == "ada@example.com"

        weak = _with_password("Studio-2026!!\n", *create, "--tenant", made["id"], **there)
        assert (weak.returncode, "besides names" in " ".join(weak.stderr.split())) == (2, True)
        # Whose password nobody else is to know is asked for none.
        create = ("users", "create", "bob@example.com", "--tenant", made["id"], "--invite", "--json")
        invited = json.loads(_with_password("", *create, **there).stdout)
        chosen = {"invitation": invited["invitation"], "password": PASSWORD}
        assert httpx.post(f"{serving.address}/v1/auth/password", json=chosen).status_code == 204

        body = {"email": "ada@example.com", "password": PASSWORD, "tenant": made["id"]}
        headers = [{"X-Forwarded-For": f"203.0.113.{number}"} for number in range(6)]
        told = [httpx.post(f"{serving.address}/v1/auth/token", json=body, headers=each) for each in headers]
        # Whatever they say, they all come from here.
        assert [answer.status_code for answer in told] == [200] * 5 + [429]
        token = told[0].json()["access_token"]
        me = httpx.get(f"{serving.address}/v1/me", headers={"Authorization": f"Bearer {token}"}).json()
        assert (me["role"], me["tenant"]["name"]) == ("admin", "Studio <One>")


def test_a_password_is_no_argument():
    assert "email" in inspect.signature(accounts_cli.create_user).parameters
    assert not [name for name in inspect.signature(accounts_cli.create_user).parameters if "pass" in name]


def test_the_schema_has_to_be_there(server, tmp_path):
    url = embedded.named(server, "postgres")
    there = {"AUTOMATIONS_SERVER__DATABASE_URL": url, "AUTOMATIONS_SERVER__DATA_DIR": tmp_path}
    done = here("tenants", "create", "x", **there)
    assert (done.returncode, "automations db upgrade" in done.stderr) == (2, True), done.stderr
