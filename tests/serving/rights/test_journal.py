"""The journal of erasures, however long it is."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

from serving.rights import journal
from serving.rights.journal import AT_ONCE, Erased
from tests.serving.sealing import folder_at


def _erased(number: int) -> Erased:
    return Erased(
        version=journal.VERSION,
        id=f"era_{number:03}",
        tenant_id="a",
        video_id=f"vid_{number}",
        reason="request",
        rule_id=None,
        counts={},
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_many_are_read_and_written_at_once_and_never_all(tmp_path, monkeypatch):
    """A bucket answers in some ten milliseconds: one after another, a hundred thousand would take an hour."""
    store = folder_at(tmp_path)
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    get, put = store.get_raw, store.put_raw

    def began(what: str) -> None:
        running[what] += 1
        most[what] = max(most[what], running[what])

    async def counted_get(key):
        began("get_raw")
        async for chunk in get(key):
            yield chunk
        running["get_raw"] -= 1

    async def counted_put(key, chunks):
        began("put_raw")
        await put(key, chunks)
        running["put_raw"] -= 1

    monkeypatch.setattr(store, "get_raw", counted_get)
    monkeypatch.setattr(store, "put_raw", counted_put)
    written = [_erased(number) for number in range(3 * AT_ONCE + 1)]

    async def run() -> list[Erased]:
        await journal.write_all(store, list(reversed(written)))
        return await journal.read(store)

    assert asyncio.run(run()) == written
    assert most == {"get_raw": AT_ONCE, "put_raw": AT_ONCE}
