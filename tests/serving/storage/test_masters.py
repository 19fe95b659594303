"""What every master key does, wherever it is: in this process, in a KMS, in a Vault."""

import asyncio
import os

import pytest

from pipeline.errors import Altered
from serving.errors import MasterKeyMissing
from serving.storage.keyring import fresh_key, tenant_key_of
from serving.storage.master import LocalMaster, Master, SeveralMasters
from serving.storage.masters import masters
from tests.serving.kms import kms
from tests.serving.vault import TOKEN, vault

KINDS = ("local", "aws-kms", "vault")


@pytest.fixture(scope="module", params=KINDS)
def pair(request) -> "tuple[Master, Master]":
    """Two master keys of a kind."""
    match request.param:
        case "local":
            yield LocalMaster([os.urandom(32)]), LocalMaster([os.urandom(32)])
        case "aws-kms":
            with kms() as server:
                yield tuple(masters([server.address(server.key())], 60.0) for _ in range(2))
        case "vault":
            with pytest.MonkeyPatch.context() as patch, vault() as server:
                patch.setenv("VAULT_TOKEN", TOKEN)
                yield tuple(masters([server.address(key)], 60.0) for key in ("automations", "another"))


def test_a_key_comes_back_as_what_it_was_wrapped_as_and_as_nothing_else(pair):
    async def body() -> None:
        master, _ = pair
        key, what = fresh_key(), tenant_key_of("a", 1)
        kept = await master.wrap(key, what)
        assert key not in kept
        assert kept != await master.wrap(key, what)
        assert await master.unwrap(kept, what, master.name) == key
        for another in (tenant_key_of("b", 1), tenant_key_of("a", 2)):
            with pytest.raises(Altered):
                await master.unwrap(kept, another, master.name)
        for changed in (kept[:-4], b"x" + kept[1:], kept[:-6] + b"AAAAAA", b"?"):
            with pytest.raises(Altered):
                await master.unwrap(changed, what, master.name)

    asyncio.run(body())


def test_it_unwraps_what_it_wrapped_only(pair):
    async def body() -> None:
        master, other = pair
        assert master.name != other.name
        assert (master.knows(master.name), master.knows(other.name)) == (True, False)
        kept, what = await other.wrap(fresh_key(), tenant_key_of("a", 1)), tenant_key_of("a", 1)
        with pytest.raises(MasterKeyMissing, match=other.name):
            await master.unwrap(kept, what, other.name)
        # Somebody who may write to the database writes the other name beside it.
        with pytest.raises(Altered):
            await master.unwrap(kept, what, master.name)

    asyncio.run(body())


def test_it_takes_the_place_of_another_and_gives_it_back(pair):
    async def body() -> None:
        master, _ = pair
        local = LocalMaster([os.urandom(32)])
        for new, old in ((master, local), (local, master)):
            both, what, key = SeveralMasters([new, old]), tenant_key_of("a", 1), fresh_key()
            kept = await old.wrap(key, what)
            again = await both.wrap(await both.unwrap(kept, what, old.name), what)
            assert await new.unwrap(again, what, both.name) == key

    asyncio.run(body())


def test_it_says_that_it_answers(pair):
    asyncio.run(pair[0].check())


def test_what_is_wrapped_has_no_length_that_matters(pair):
    """The server's secret is wrapped in backups; it may be of any length from 32 bytes on."""

    async def body() -> None:
        secret, what = os.urandom(1000), tenant_key_of("a", 1)
        master = pair[0]
        assert await master.unwrap(await master.wrap(secret, what), what, master.name) == secret

    asyncio.run(body())
