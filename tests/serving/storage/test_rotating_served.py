"""Keys are rotated while clients read and write over HTTP, and nobody notices; `python -m benchmarks rotation` does the
same with ten thousand keys and sixteen clients."""

from benchmarks.rotation import under_load
from serving.storage import rotating
from tests.serving.api.conftest import made_key, served
from tests.serving.sealing import store_at


def test_nobody_notices(run, url, tmp_path, monkeypatch):
    monkeypatch.setattr(rotating, "_AT_ONCE", 20)
    # The master key of tests in the place of the benchmark's.
    monkeypatch.setattr("benchmarks.rotation.MASTER", bytes(range(32)))
    monkeypatch.setattr("benchmarks.rotation._READ", 6)

    async def body(world):
        store = store_at(tmp_path / "objects")
        key = await made_key(world.database, "a")

        async def rotate() -> dict[str, int]:
            # A ring of its own, as another process has.
            ring = store_at(tmp_path / "objects").keyring
            done = [await rotating.rotate(world.database, ring) for _ in range(2)]
            return {"tenant_keys": done[0].tenant_keys, "data_keys": min(one.data_keys for one in done)}

        async with served(url, store_at(tmp_path / "objects")) as address:
            found = await under_load(world.database, store, address, key, 200, 4, rotate)
        assert found["failed"] == []
        assert found["keys_changed"] == 0
        assert found["rotated"]["data_keys"] >= 200
        assert found["requests_during_rotation"] > 0
        assert found["requests"]["reads"] > 0
        assert found["requests"]["deletions"] > 0

    run(body)
