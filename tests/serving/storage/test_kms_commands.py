"""A server whose master key a KMS has, by the commands of who runs it."""

import json

import httpx

from pipeline.synthesis import Encoding, write_video
from serving.db import embedded
from serving.storage.master import named
from tests.formats.chart import moments
from tests.serving.commands import here
from tests.serving.kms import kms
from tests.serving.starting import started


def test_its_backup_is_brought_back_and_its_keys_are_put_under_another_master_key(server, tmp_path):
    film = write_video(tmp_path / "film.mp4", moments(12), fps=12, encoding=Encoding(gop=6)).read_bytes()
    with kms() as service:
        at_kms, local, data = service.url(service.key()), "0a" * 32, tmp_path / "data"
        with started("api", server, data, AUTOMATIONS_STORAGE__MASTER_KEY=at_kms) as serving:
            headers = {"Authorization": f"Bearer {serving.key}"}
            with httpx.Client(base_url=serving.address, headers=headers, timeout=30, verify=False) as client:
                video = client.post("/v1/videos", content=film).json()["id"]
                assert client.get(f"/v1/videos/{video}/stream").content == film
        assert "master key" not in (data / "log").read_text()
        embedded.copied(server, "kms_restored")
        where = {
            "AUTOMATIONS_SERVER__DATA_DIR": data,
            "AUTOMATIONS_SERVER__DATABASE_URL": serving.database_url,
            "AUTOMATIONS_STORAGE__MASTER_KEY": at_kms,
        }
        _done("backup", tmp_path / "backup", **where)
        where |= {
            "AUTOMATIONS_SERVER__DATA_DIR": tmp_path / "elsewhere",
            "AUTOMATIONS_SERVER__DATABASE_URL": embedded.named(server, "kms_restored"),
        }
        _done("restore", tmp_path / "backup", **where)
        where |= {"AUTOMATIONS_STORAGE__MASTER_KEY": local}
        refused = here("keys", "rotate", **where)
        assert (refused.returncode, "[master_key_missing]" in refused.stderr) == (2, True), refused.stderr
        turned = json.loads(
            _done("keys", "rotate", "--json", **where | {"AUTOMATIONS_STORAGE__OLD_MASTER_KEYS": at_kms})
        )
        assert turned["under_master"] == 1
        assert json.loads(_done("keys", "status", "--json", **where))["masters"] == {named(bytes([10] * 32)): 2}


def _done(*args, **settings) -> str:
    """What a command prints."""
    done = here(*args, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout
