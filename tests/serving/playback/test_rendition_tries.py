"""Renditions that are tried again: when, how often, and what ends that."""

import errno

import pytest

from serving.db import failpoints
from serving.errors import DatabaseUnavailable, MasterKeyMissing, StorageFull, StorageUnavailable
from serving.playback import renditions
from tests.serving.playback import films
from tests.serving.playback.rendering import claimed, rendered, row_of


@pytest.fixture(scope="module")
def hevc(tmp_path_factory) -> bytes:
    return films.film(tmp_path_factory.mktemp("films") / "h.mp4", films.HEVC, 1.0).read_bytes()


def _raising(fault):
    async def away(*_, **__):
        raise fault

    return away


@pytest.mark.parametrize("fault", [StorageUnavailable("away"), DatabaseUnavailable("away"), MasterKeyMissing("away")])
def test_what_is_away_costs_no_attempt(call, hevc, monkeypatch, fault):
    async def body(api):
        async with claimed(api, hevc) as (_, renderer, claim):
            monkeypatch.setattr(api.store, "put", _raising(fault))
            await renderer.work(claim)
            row = await row_of(api)
            assert (row.state, row.attempts, row.faults, row.later) == ("due", 0, 0, True)
            # Later than at once, and not only once its lease is over.
            assert await renderer.claim(1, []) == []

    call(body)


@pytest.mark.parametrize(
    ("fault", "code"),
    [(StorageFull("full"), "storage_full"), (OSError(errno.ENOSPC, "no room"), "storage_unavailable")],
)
def test_what_the_machine_lacks_is_tried_for_a_day_and_not_for_ever(call, hevc, monkeypatch, fault, code):
    async def body(api):
        async with claimed(api, hevc) as (video, renderer, claim):
            monkeypatch.setattr(api.store, "put", _raising(fault))
            await renderer.work(claim)
            row = await row_of(api)
            assert (row.state, row.attempts, row.faults, row.later) == ("due", 0, 1, True)
            waits = []
            for _ in range(renditions.MOST_FAULTS - 2):
                await api.world.change("UPDATE rendition SET attempts = 1")
                await renditions.fault(api.world.database, claim, code, "")
                left = "SELECT extract(epoch FROM next_at - now()) AS left_s FROM rendition"
                waits.append(float((await api.world.sql(left))[0].left_s))
            assert waits[:3] == pytest.approx([120, 240, 480], abs=5)
            assert sum(waits) == pytest.approx(24 * 3600, abs=2 * 3600)
            await api.world.change("UPDATE rendition SET next_at = now()")
            (claim,) = await renderer.claim(1, [])
            await renderer.work(claim)
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()["rendition"]
        assert (seen["state"], seen["code"]) == ("failed", code)
        assert "for a day" in seen["detail"]
        assert str(api.store.name) not in seen["detail"]
        # Asked again, it is tried again, as if it were the first time.
        assert (await api.a.post(f"/v1/videos/{video}/rendition")).json()["state"] == "due"
        row = await row_of(api)
        assert (row.attempts, row.faults, row.code, row.detail) == (0, 0, None, None)

    call(body)


def test_whoever_dies_over_it_leaves_it_to_the_next_and_the_fourth_gives_it_up(call, hevc):
    async def body(api):
        async with claimed(api, hevc) as (video, renderer, claim):
            claims = [claim]
            for _ in range(renditions.MOST_ATTEMPTS):
                # As long as its lease goes on, it is nobody else's.
                assert await renderer.claim(1, []) == []
                assert (await row_of(api)).later
                await api.world.change("UPDATE rendition SET next_at = now()")
                claims += await renderer.claim(1, [])
            assert [one.attempt for one in claims] == [1, 2, 3, 4]
            assert len({one.fence for one in claims}) == 4
            # One that was only thought to be dead writes nothing.
            await renderer.work(claims[0])
            assert (await row_of(api)).state == "due"
            await renderer.work(claims[3])
        seen = (await api.a.get(f"/v1/videos/{video}/playback")).json()["rendition"]
        assert (seen["state"], seen["code"]) == ("failed", "quarantined")
        # Asked again, it is begun anew.
        assert (await rendered(api.a, api.world.database, api.store, video))["rendition"]["state"] == "done"

    call(body)


def test_what_cannot_be_told_the_database_is_told_once_it_is_back(call, hevc, monkeypatch):
    reach, times = failpoints.reach, []

    def broken(name, when, *args):
        if name in ("rendition.done", "rendition.renew") and len(times) < 3:
            times.append(name)
            raise DatabaseUnavailable("away")
        return reach(name, when, *args)

    async def body(api):
        async with claimed(api, hevc) as (_, renderer, claim):
            monkeypatch.setattr("serving.playback.renderer._AGAIN_S", 0.01)
            monkeypatch.setattr("serving.playback.encoder.encode", lambda *_: 1 / 0)
            monkeypatch.setattr(failpoints, "reach", broken)
            await renderer.work(claim)
        assert times == ["rendition.done", "rendition.renew", "rendition.renew"]
        row = await row_of(api)
        # What it was of is found out anew; nobody waits until its lease is over, and it cost no attempt.
        assert (row.state, row.attempts, row.later) == ("due", 0, True)

    call(body)
