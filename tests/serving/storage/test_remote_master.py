"""A service that has the master key may be away, slow, busy, or not let us: each is told in time, and passes."""

import asyncio
import logging
import threading
import time
from dataclasses import replace

import pytest

from pipeline.errors import Altered
from serving.errors import MasterKeyMissing, MasterKeyUnavailable
from serving.storage import remote_master
from serving.storage.keyring import fresh_key, tenant_key_of
from serving.storage.masters import masters
from serving.storage.remote_master import RemoteMaster
from tests.serving.kms import kms
from tests.serving.vault import TOKEN, vault

WHAT = tenant_key_of("a", 1)


class Service:
    """One that does as it is told."""

    name = "test:key"

    def __init__(self) -> None:
        self.asked, self.does = 0, lambda: b"wrapped"

    def encrypt(self, key, what) -> bytes:
        self.asked += 1
        return self.does()

    decrypt = encrypt


def _away() -> bytes:
    raise MasterKeyUnavailable("it is away", away=True)


@pytest.fixture
def service(monkeypatch) -> Service:
    monkeypatch.setattr(remote_master, "WAIT_S", 0.2)
    monkeypatch.setattr(remote_master, "REST_S", 0.1)
    return Service()


async def refused(master: RemoteMaster, said: str = ".") -> float:
    """How long that took, seconds."""
    began = time.monotonic()
    with pytest.raises(MasterKeyUnavailable, match=said):
        await master.wrap(b"", WHAT)
    return time.monotonic() - began


def test_one_that_hangs_is_waited_for_once_and_holds_up_nobody(service):
    ending = threading.Event()
    service.does = lambda: bytes(ending.wait(30))

    async def body() -> None:
        master = RemoteMaster(service, 60.0)
        assert 0.15 < await refused(master, "no answer within") < 2
        # While it is left alone nobody waits.
        assert await refused(master) < 0.05
        assert service.asked == 1
        await asyncio.sleep(0.11)
        # One tries whether it is back; others do not wait with it.
        trying = asyncio.create_task(refused(master))
        await asyncio.sleep(0.05)
        assert await refused(master) < 0.05
        await trying
        assert service.asked == 2

    try:
        asyncio.run(body())
    finally:
        ending.set()


def test_once_it_is_back_it_is_used_at_once(service, caplog):
    caplog.set_level(logging.WARNING)

    async def body() -> None:
        master = RemoteMaster(service, 60.0)
        service.does = _away
        await refused(master, "it is away")
        service.does = lambda: b"wrapped"
        await refused(master)
        await asyncio.sleep(0.11)
        assert await master.wrap(b"", WHAT) == b"wrapped"
        assert await asyncio.gather(*(master.wrap(b"", WHAT) for _ in range(4))) == [b"wrapped"] * 4

    asyncio.run(body())
    assert [record.message.partition(";")[0] for record in caplog.records] == ["it is away", "test:key answers again"]


def test_what_it_does_not_let_us_is_no_reason_not_to_ask_for_others(service):
    async def body() -> None:
        master = RemoteMaster(service, 60.0)

        def refuse() -> bytes:
            raise MasterKeyUnavailable("not this one")

        def altered() -> bytes:
            raise Altered("not what was wrapped")

        service.does = refuse
        await refused(master, "not this one")
        service.does = altered
        with pytest.raises(Altered):
            await master.unwrap(b"", WHAT, master.name)
        service.does = lambda: b"key"
        assert await master.unwrap(b"", WHAT, master.name) == b"key"
        with pytest.raises(MasterKeyMissing, match="test:other"):
            await master.unwrap(b"", WHAT, "test:other")

    asyncio.run(body())


def test_an_answer_that_is_altered_ends_the_trouble(service):
    async def body() -> None:
        master = RemoteMaster(service, 60.0)
        service.does = _away
        await refused(master)
        await asyncio.sleep(0.11)

        def altered() -> bytes:
            raise Altered("not what was wrapped")

        service.does = altered
        for _ in range(2):
            with pytest.raises(Altered):
                await master.unwrap(b"", WHAT, master.name)

    asyncio.run(body())


def test_who_gives_up_trying_leaves_it_to_the_next(service):
    async def body() -> None:
        master = RemoteMaster(service, 60.0)
        service.does = _away
        await refused(master)
        await asyncio.sleep(0.11)
        ending = threading.Event()
        service.does = lambda: bytes(ending.wait(5))
        trying = asyncio.create_task(master.wrap(b"", WHAT))
        await asyncio.sleep(0.02)
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
        ending.set()
        service.does = lambda: b"wrapped"
        assert await master.wrap(b"", WHAT) == b"wrapped"

    asyncio.run(body())


def test_whether_it_answers_is_asked_now_and_then(service, monkeypatch):
    async def body() -> None:
        master = RemoteMaster(service, 60.0)
        for _ in range(5):
            await master.check()
        assert service.asked == 1
        monkeypatch.setattr(remote_master, "ANSWERED_S", 0.0)
        service.does = _away
        with pytest.raises(MasterKeyUnavailable):
            await master.check()
        monkeypatch.setattr(remote_master, "ANSWERED_S", 30.0)
        service.does = lambda: b"wrapped"
        await asyncio.sleep(0.11)
        # It was away: whether it is back is not known by an old answer.
        await master.check()
        assert service.asked == 3

    asyncio.run(body())


def test_a_kms_that_has_too_much_to_do_is_asked_again_and_not_for_ever():
    async def body() -> None:
        with kms() as server:
            master = masters([server.address(server.key())], 60.0)
            key = fresh_key()
            kept = await master.wrap(key, WHAT)
            server.faults = ["ThrottlingException"]
            assert await master.unwrap(kept, WHAT, master.name) == key
            assert server.asked["decrypt"] == 2
            server.faults = ["ThrottlingException"] * 10
            with pytest.raises(MasterKeyUnavailable, match="ThrottlingException"):
                await master.unwrap(kept, WHAT, master.name)
            assert server.asked["decrypt"] == 5

    asyncio.run(body())


def test_a_kms_that_has_no_such_key_or_does_not_let_us_says_so_without_its_words():
    async def body() -> None:
        with kms() as server:
            master = masters([server.address("1234abcd-12ab-34cd-56ef-1234567890ab")], 60.0)
            with pytest.raises(MasterKeyUnavailable, match=r"NotFoundException$") as refused:
                await master.wrap(fresh_key(), WHAT)
            assert not refused.value.away

    asyncio.run(body())


def test_without_credentials_it_is_said(monkeypatch):
    async def body() -> None:
        with kms() as server:
            address = server.address(server.key())
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            with pytest.raises(MasterKeyUnavailable, match="NoCredentialsError"):
                await masters([address], 60.0).wrap(fresh_key(), WHAT)

    asyncio.run(body())


def test_a_vault_that_refuses_the_token_or_is_not_there(monkeypatch, tmp_path):
    async def body() -> None:
        with vault() as server:
            monkeypatch.setenv("VAULT_TOKEN", "another")
            with pytest.raises(MasterKeyUnavailable, match="status 403") as refused:
                await masters([server.address()], 60.0).wrap(fresh_key(), WHAT)
            assert not refused.value.away
            monkeypatch.delenv("VAULT_TOKEN")
            with pytest.raises(MasterKeyUnavailable, match="VAULT_TOKEN"):
                await masters([server.address()], 60.0).wrap(fresh_key(), WHAT)
            token = tmp_path / "token"
            token.write_text(TOKEN + "\n")

            master = masters([replace(server.address(), token_file=str(token))], 60.0)
            kept = await master.wrap(key := fresh_key(), WHAT)
            assert await master.unwrap(kept, WHAT, master.name) == key
        with pytest.raises(MasterKeyUnavailable, match="ConnectError") as away:
            await master.unwrap(kept, WHAT, master.name)
        assert away.value.away
        assert TOKEN not in str(away.value)

    asyncio.run(body())
