"""`automations submit URL`, and `automations tenants quota`: real commands, against a real server."""

import asyncio
import re

from tests.serving.api.conftest import made_key
from tests.serving.commands import here
from tests.serving.fetching.conftest import fetching, holding, named
from tests.serving.sealing import MASTER_KEY
from tests.serving.webhooks.receiver import receiving


def test_submit_a_url(call, film):
    async def body(api):
        key = await made_key(api.world.database, "a")
        settings = {"AUTOMATIONS_CLIENT__SERVER": api.address, "AUTOMATIONS_CLIENT__KEY": key}
        async with receiving(holding(film)) as there, receiving(lambda _: 404) as nowhere, fetching(api):
            urls = named(nowhere), named(there)
            command = ("submit", *urls, "http://10.0.0.1/x", "--priority", "4", "--model", "bundled")
            done = await asyncio.to_thread(here, *command, **settings)
            assert len(there.asked) == 1
        (job,) = done.stdout.split()
        assert re.fullmatch(r"job_[0-9A-Z]{26}", job), done.stderr
        ((video, priority),) = await api.world.sql("SELECT video_id, priority FROM job WHERE id = :job", job=job)
        assert priority == 4
        # The others are told of, and keep it from nothing.
        assert done.returncode == 2
        missing, found, refused = done.stderr.splitlines()
        assert missing == f"error: {urls[0]}: the address answers with HTTP status 404 [fetch_failed]"
        assert found == f"{urls[1]} is {video}"
        assert refused.endswith("[address_refused]")

    call(body)


def test_a_quota_is_set(url, call, tmp_path):
    where = {"AUTOMATIONS_SERVER__DATABASE_URL": url, "AUTOMATIONS_SERVER__DATA_DIR": tmp_path}
    # What operators do is noted, with the key of the log that the server made.
    where["AUTOMATIONS_STORAGE__MASTER_KEY"] = MASTER_KEY.hex()

    async def body(api):
        for given, allowed in (("5000", 5000), ("0", None), ("default", None)):
            done = await asyncio.to_thread(here, "tenants", "quota", "a", given, **where)
            assert (done.returncode, done.stdout) == (0, f"a {given}\n"), done.stderr
            assert (await api.a.get("/v1/usage")).json()["allowed_bytes"] == allowed
        done = await asyncio.to_thread(here, "tenants", "quota", "a", "7", "--minutes", "90", **where)
        assert (done.returncode, done.stdout) == (0, "a 7 90 minutes\n"), done.stderr
        used = (await api.a.get("/v1/usage")).json()
        assert (used["allowed_bytes"], used["allowed_minutes"]) == (7, 90)
        for wrong in (("a",), ("a", "--minutes", "x"), ("a", "1.5"), ("a", "many"), ("nobody", "1")):
            done = await asyncio.to_thread(here, "tenants", "quota", *wrong, **where)
            assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr

    call(body)
