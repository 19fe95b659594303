"""A server whose backups are attacked, damaged, or ended in the middle."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving.db import embedded
from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from tests.serving.api.conftest import made_key
from tests.serving.commands import here
from tests.serving.rights.conftest import uploaded
from tests.serving.rights.servers import running, settings_of, with_secret


@dataclass
class Live:
    """A server that lives through all of these."""

    url: str
    folder: Path
    key: str
    """Of tenant `a`."""

    def backup(self, folder: Path, *args: object, code: int = 0, settings: Mapping[str, str] = {}) -> dict:
        """What a backup did."""
        done = here("backup", folder, *args, "--json", **settings_of(self.url, self.folder) | dict(settings))
        assert done.returncode == code, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    def during(self, what) -> Any:
        """What comes of something that is done while it runs."""

        async def run():
            async with running(self.url, self.folder, self.key) as api:
                return await what(api)

        return asyncio.run(run())

    def uploaded(self, content: bytes) -> str:
        """A video; its id."""
        return self.during(lambda api: _uploaded(api, content))

    def deleted(self, video: str) -> None:
        """It goes."""

        async def delete(api) -> None:
            assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204

        self.during(delete)


async def _uploaded(api, content: bytes) -> str:
    return (await uploaded(api.a, content))["id"]


def made(server: str, name: str, folder: Path) -> Live:
    """One with tenant `a`, over a new database."""
    embedded.copied(server, name)
    url = embedded.named(server, name)

    async def tenant() -> str:
        database = Database(url)
        async with database.write("tenant.create", SYSTEM) as session:
            session.add(Tenant(id="a", name="a"))
        key = await made_key(database, "a")
        await database.close()
        return key

    return Live(url, with_secret(folder), asyncio.run(tenant()))


@pytest.fixture(scope="module")
def live(server, tmp_path_factory) -> Live:
    """See there."""
    folder = tmp_path_factory.mktemp("attacked")
    return made(server, folder.name, folder / "data")


def keyed(backup: Path) -> dict[str, set[str]]:
    """Snapshot -> objects that it has keys of."""
    return {
        file.stem: {row["object_key"] for row in json.loads(file.read_bytes())["data_keys"]}
        for file in sorted((backup / "keys").glob("*.json"))
    }


def entry(video: str, **changes: object) -> dict:
    """An entry of the journal that somebody made up."""
    at = "2026-01-01T00:00:00Z"
    bare = {"version": 1, "id": "era_made_up", "tenant_id": "a", "video_id": video, "reason": "request"}
    return bare | {"rule_id": None, "counts": {}, "at": at} | changes


def printed(live: Live, code: int = 0) -> tuple[dict[str, dict], str]:
    """What `automations erasures` prints, by video, and what it says besides."""
    done = here("erasures", **settings_of(live.url, live.folder))
    assert done.returncode == code, done.stderr
    return {one["video_id"]: one for one in map(json.loads, done.stdout.splitlines())}, done.stderr


def put(folder: Path, entry: dict) -> Path:
    """Write it into the journal of a store."""
    file = folder / "erasures" / entry["id"]
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(entry))
    return file
