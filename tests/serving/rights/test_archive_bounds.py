"""An archive is no way around what holds for all that comes in: quotas, sizes, retention."""

import msgspec
import pytest

from serving.archive.importing import Importing
from serving.db.database import SYSTEM
from serving.errors import TooLarge
from serving.uploads import minutes
from tests.serving.api.conftest import SETTINGS
from tests.serving.rights.conftest import call, library, uploaded, url
from tests.serving.rights.hostile import as_long, changed, packed, unpacked

__all__ = ["call", "library", "url"]


def test_it_is_no_way_around_quotas(library):
    async def body(api, video):
        whole = (await api.a.get(f"/v1/videos/{video}/export")).content
        await api.world.change("UPDATE tenant SET quota_bytes = 10 WHERE id = 'b'")
        answer = await api.b.post("/v1/import", content=whole)
        assert (answer.status_code, answer.json()["code"]) == (413, "quota_exceeded")
        assert (await api.b.get("/v1/videos")).json()["data"] == []
        # Nor around that of minutes: what a report says is long counts, and is what a length can be.
        await api.world.change("UPDATE tenant SET quota_bytes = NULL, quota_minutes = 10 WHERE id = 'b'")
        for duration_s, told in ((601.0, (413, "quota_exceeded")), (-1e9, REFUSED), (1e12, REFUSED)):
            changed = as_long(unpacked(whole), duration_s)
            answer = await api.b.post("/v1/import", content=packed(changed))
            assert (answer.status_code, answer.json()["code"]) == told, (duration_s, answer.text)
            assert (await api.b.get("/v1/videos")).json()["data"] == []
        assert (await api.b.post("/v1/import", content=packed(as_long(unpacked(whole), 600.0)))).status_code == 200
        assert (await api.b.get("/v1/usage")).json()["used_minutes"] == 10
        # One of which is told less than a job finds out later counts as long as it is then.
        async with api.world.database.write("job.measure", SYSTEM) as session:
            ((new,),) = await api.world.sql("SELECT id FROM video WHERE tenant_id = 'b'")
            assert await minutes.measured(session, "b", new, 600.5, 0) is None
            assert await minutes.measured(session, "b", new, 700.0, 0) is not None
        # Where all is used up, nothing comes in any more, however long.
        other = (await uploaded(api.a, b"film"))["id"]
        other = (await api.a.get(f"/v1/videos/{other}/export")).content
        assert (await api.b.post("/v1/import", content=other)).json()["code"] == "quota_exceeded"

    library(body)


REFUSED = (422, "archive_refused")


def test_it_is_neither_too_large_nor_from_the_future(library):
    """Days of retention count from when a video came: from a later one on, it stayed for longer than it may."""

    async def body(api, video):
        whole = (await api.a.get(f"/v1/videos/{video}/export")).content
        options = msgspec.structs.replace(SETTINGS.upload, max_bytes=100)
        with pytest.raises(TooLarge, match="at most 100"):
            await Importing(api.world.database, api.store, options, "b").read(_once(whole))
        late = changed(unpacked(whole), "video.json", lambda one: one.update(created_at="2999-01-01T00:00:00Z"))
        assert (await api.b.post("/v1/import", content=packed(late))).status_code == 200
        ((future,),) = await api.world.sql("SELECT created_at > now() FROM video WHERE tenant_id = 'b'")
        assert not future

    library(body)


async def _once(content: bytes):
    yield content
