"""Whatever is done to a sealed value is found out; it opens where it was sealed, by the key of whose it is, and is gone
with that."""

import asyncio
import json
import random
from pathlib import Path
from typing import get_args

import pytest

from pipeline.errors import Altered, InputNotFound
from serving.db.media import Video
from serving.storage import rotating
from serving.storage.keyring import values_at
from serving.storage.values import Column, Values
from tests.pipeline.sealed import by_the_page

VECTORS = json.loads((Path(__file__).parent / "value_vectors.json").read_text())
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
COLUMNS = get_args(Column)


@pytest.mark.parametrize("vector", VECTORS["opened"], ids=lambda vector: vector["comment"])
def test_vectors(vector):
    key, plain, nonce, sealed = (bytes.fromhex(vector[name]) for name in ("key", "plain", "nonce", "sealed"))
    tenant, column, row = (vector[name] for name in ("tenant", "column", "row"))
    assert by_the_page.opened_value(sealed, key, tenant, column, row) == plain
    assert Values(tenant, key).open(column, row, sealed) == plain
    assert Values(tenant, key).seal(column, row, plain, nonce) == sealed


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["comment"])
def test_vectors_of_what_is_refused(vector):
    key, sealed = bytes.fromhex(vector["key"]), bytes.fromhex(vector["sealed"])
    tenant, column, row = (vector[name] for name in ("tenant", "column", "row"))
    with pytest.raises(by_the_page.Wrong):
        by_the_page.opened_value(sealed, key, tenant, column, row)
    with pytest.raises(Altered):
        Values(tenant, key).open(column, row, sealed)


def test_two_values_are_never_sealed_alike():
    values = Values("a", KEY)
    seen = {values.seal("report.body", "job_1", b"the same") for _ in range(100)}
    assert len(seen) == 100
    assert len({sealed[1:13] for sealed in seen}) == 100


def test_each_of_two_thousand_changes_is_found_out():
    """Of bits, lengths, places and owners, drawn at random; and all bits of one value."""
    rng = random.Random(8)
    places = [(key, tenant, column, row) for key in (KEY, OTHER_KEY) for tenant in "ab" for column in COLUMNS
              for row in ("1", "2")]  # fmt: skip
    sealed = {place: _sealed(place, rng.randbytes(rng.randrange(200))) for place in places}
    some = sealed[places[0]]
    changes = [(places[0], bytes(_flipped(some, bit))) for bit in range(8 * len(some))]
    while len(changes) < 2_000:
        place, other = rng.sample(places, 2)
        value = sealed[place]
        changes += [
            (other, value),
            (place, bytes(_flipped(value, rng.randrange(8 * len(value))))),
            (place, value[: rng.randrange(len(value))]),
            (place, value + rng.randbytes(rng.randrange(1, 40))),
            (place, value[:13] + sealed[other][13:]),
            (place, sealed[other][:13] + value[13:]),
            (place, bytes((2,)) + value[1:]),
        ]
    for (key, tenant, column, row), value in changes:
        with pytest.raises(Altered):
            Values(tenant, key).open(column, row, value)
    for place, value in sealed.items():
        key, tenant, column, row = place
        Values(tenant, key).open(column, row, value)


def _sealed(place: tuple[bytes, str, Column, str], plain: bytes) -> bytes:
    key, tenant, column, row = place
    return Values(tenant, key).seal(column, row, plain)


def _flipped(value: bytes, bit: int) -> bytearray:
    flipped = bytearray(value)
    flipped[bit // 8] ^= 1 << bit % 8
    return flipped


def test_the_key_of_a_video_is_gone_with_it_and_that_of_its_tenant_stays(run):
    async def body(world):
        ring = world.keyring
        async with world.database.write("video.write", "a") as session:
            with pytest.raises(InputNotFound):
                await ring.values(session, "a", "vid_a")
            of_video = (await ring.values_to_seal(session, "a", "vid_a")).seal("report.body", "job_1", b"x")
            of_tenant = (await ring.values_to_seal(session, "a")).seal("upload.sealed", "upl_1", b"y")
            with pytest.raises(Altered):
                (await ring.values(session, "a")).open("report.body", "job_1", of_video)
        # Another process finds the same ones, also once all are wrapped anew.
        await rotating.rotate(world.database, world.keyring)
        async with world.database.write("video.write", "a") as session:
            values = await ring.values_to_seal(session, "a", "vid_a")
            assert values.open("report.body", "job_1", of_video) == b"x"
            await session.delete(await session.get_one(Video, "vid_a"))
        async with world.database.read("a") as session:
            with pytest.raises(InputNotFound):
                await ring.values(session, "a", "vid_a")
            assert (await ring.values(session, "a")).open("upload.sealed", "upl_1", of_tenant) == b"y"
        assert [row.object_key for row in await world.sql("SELECT object_key FROM data_key")] == [values_at("a", None)]

    run(body)


def test_of_two_who_make_the_first_key_both_have_the_same(run):
    async def body(world):
        async def one(number: int) -> bytes:
            async with world.database.write("video.write", "a") as session:
                values = await world.keyring.values_to_seal(session, "a", "vid_a")
                await asyncio.sleep(0.05)
                return values.seal("report.body", "job_1", bytes((number,)))

        sealed = await asyncio.gather(*(one(number) for number in range(4)))
        async with world.database.read("a") as session:
            values = await world.keyring.values(session, "a", "vid_a")
        assert [values.open("report.body", "job_1", value) for value in sealed] == [bytes((n,)) for n in range(4)]

    run(body)
