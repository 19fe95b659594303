"""Entries are linked after they were committed, whoever dies meanwhile, and cleaned without breaking what is left."""

import asyncio
import os
import subprocess
import sys

import pytest
from sqlalchemy import text

from serving.audit import cleaning, linking
from serving.audit.checking import check, heads
from serving.audit.cleaning import clean_audit
from serving.audit.keeping import Keeping
from serving.audit.lines import head_of
from serving.db import failpoints
from serving.db.database import Database
from serving.errors import AuditKeyMissing
from serving.options import AuditOptions
from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster
from serving.storage.rotating import rotate
from tests.serving.audit.linked import found, keeping_of, written
from tests.serving.audit.logs import KEY, sealed
from tests.serving.commands import ROOT
from tests.serving.sealing import MASTER_KEY


def test_what_is_committed_is_linked_once_in_the_order_of_time_in_chains_of_their_own(run):
    async def body(world):
        keeping = keeping_of(world)
        others = [keeping_of(world) for _ in range(4)]
        await written(world, 5)
        before = await check(world.database, await keeping.signer.key())
        assert (before.lines, before.waiting, before.wrong) == (0, 5, 0)

        async def link() -> None:
            for _ in range(10):
                await asyncio.gather(*(one.link() for one in (keeping, *others)))

        await asyncio.gather(link(), written(world, 20), written(world, 20, "b"), written(world, 20))
        await keeping.link()
        after = await check(world.database, await keeping.signer.key())
        # The system's is there from the beginning, and has no line.
        assert (after.chains, after.lines, after.waiting, after.wrong, after.untagged) == (3, 65, 0, 0, 0)
        rows = await world.sql("SELECT l.*, a.tenant_id FROM audit_link l JOIN audit a USING (id) ORDER BY number")
        for tenant, count in (("a", 45), ("b", 20)):
            own = [row for row in rows if row.chain == tenant]
            assert [row.number for row in own] == list(range(1, count + 1))
            assert {row.tenant_id for row in own} == {tenant}

    run(body)


@pytest.mark.parametrize("point", ["before", "after"])
def test_who_dies_while_linking_leaves_nothing_half_linked(run, url, point):
    async def body(world):
        keeping = keeping_of(world)
        await written(world, 7)
        await written(world, 3, "b")
        code = (
            "import asyncio, sys\n"
            "from serving.audit.keeping import Keeping\n"
            "from serving.db.database import Database\n"
            "from serving.storage.keyring import Keyring\n"
            "from serving.storage.master import LocalMaster\n"
            "asyncio.run(Keeping(Database(sys.argv[1]), Keyring(LocalMaster([bytes(range(32))]))).link())"
        )
        environment = os.environ | {failpoints.VARIABLE: f"audit.link:{point}"}
        died = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", code, url], cwd=ROOT, env=environment, timeout=60
        )
        assert died.returncode == failpoints.EXIT
        assert await keeping.link() == (10 if point == "before" else 0)
        checked = await check(world.database, await keeping.signer.key())
        assert (checked.lines, checked.waiting, checked.wrong) == (10, 0, 0)

    run(body)


def test_old_entries_go_and_what_is_left_still_holds(run, monkeypatch, as_of):
    monkeypatch.setattr(cleaning, "_AT_ONCE", 4)

    async def body(world):
        keeping = keeping_of(world)
        for days in (400, 31, 29, 2):
            as_of(days)
            await written(world, 3)
        await written(world, 1, "b")
        await keeping.link()
        kept = await heads(world.database)

        async def clean(days: int) -> int:
            options = AuditOptions(keep_days=days)
            return sum(await asyncio.gather(*(clean_audit(world.database, keeping.signer, options) for _ in range(2))))

        assert await clean(30) == 6
        assert await clean(30) == 0
        assert await found(world, keeping, kept) == []
        rows = await world.sql("SELECT chain, number FROM audit_link ORDER BY chain, number")
        assert [tuple(row) for row in rows] == [*(("a", number) for number in range(7, 13)), ("b", 1)]
        (head,) = [head_of(row) for row in await world.sql("SELECT * FROM audit_head WHERE chain = 'a'")]
        assert (head.first, head.number) == (6, 12)
        # All may be old.
        # Of two who do it at once, each may leave a rest to the other, for the next time.
        assert await clean(1) + await clean(1) == 7
        assert await world.sql("SELECT * FROM audit") == []
        assert await found(world, keeping, kept) == []
        as_of(0)
        await written(world, 1)
        await keeping.link()
        assert await found(world, keeping, kept) == []

    run(body)


def test_what_was_changed_is_not_cleaned_away(run, caplog, as_of):
    async def body(world):
        keeping = keeping_of(world)
        as_of(40)
        await written(world, 6)
        as_of(0)
        await written(world, 2)
        await keeping.link()
        options = AuditOptions(keep_days=30)
        await world.change("UPDATE audit SET actor = 'x' WHERE id IN (SELECT id FROM audit_link WHERE number = 3)")
        assert await clean_audit(world.database, keeping.signer, options) == 2
        assert await found(world, keeping) == [("a", "changed", 3)]
        assert "automations audit verify" in caplog.text
        # Nor what somebody says is old.
        await world.change("UPDATE audit SET at = at - interval '90 days'")
        await world.change("UPDATE audit_head SET first = 4, first_mac = l.mac FROM audit_link l WHERE l.number = 4")
        assert await clean_audit(world.database, keeping.signer, options) == 0

    run(body)


@pytest.fixture
def as_of(monkeypatch):
    """Has transactions say that they began so many days ago, from when it is called on."""

    def ago(days: int) -> None:
        begun = f"SELECT now() - interval '{days} days' AS at, set_config('app.tenant', :tenant, true)"
        monkeypatch.setattr("serving.db.database._BEGIN_FOR", text(begun))

    return ago


#: Written by hand, to be linked.
_UNTAGGED = (
    "WITH made AS (INSERT INTO audit (id, tenant_id, kind, operation) VALUES ('aud_x', '{0}', 'write', 'x')) "
    "INSERT INTO audit_pending (id, tenant_id, tagged) VALUES ('aud_x', '{0}', {1})"
)


@pytest.mark.parametrize("said", ["true", "false"])
def test_the_first_line_of_a_chain_has_a_tag_already(run, said):
    async def body(world):
        keeping = keeping_of(world)
        await keeping.signer.key()
        await world.change(_UNTAGGED.format("b", said))
        await keeping.link()
        assert await found(world, keeping) == [("b", "untagged", 1)]
        await written(world, 2, "b")
        await keeping.link()
        assert await found(world, keeping) == [("b", "untagged", 1)]

    run(body)


def test_places_of_entries_from_before_go_to_nothing_else(run):
    async def body(world):
        await world.change(_UNTAGGED.format("a", "false"))
        keeping = keeping_of(world)
        await keeping.signer.key()
        await world.change("DELETE FROM audit_pending")
        await world.change("DELETE FROM audit")
        await written(world, 1)
        await keeping.link()
        assert await found(world, keeping) == []
        await world.change(_UNTAGGED.format("a", "false"))
        await keeping.link()
        assert await found(world, keeping) == [("a", "untagged", 2)]

    run(body)


def test_entries_from_before_there_were_chains_are_linked_first_and_told_apart(run, monkeypatch):
    async def body(world):
        for number in range(3):
            await world.change(
                "WITH made AS (INSERT INTO audit (id, tenant_id, kind, operation) VALUES (:id, 'a', 'write', 'x')) "
                "INSERT INTO audit_pending (id, tenant_id, tagged) VALUES (:id, 'a', false)",
                id=f"zzz_{number}",
            )
        keeping = keeping_of(world)
        # Linked some at a time, they still come first, whatever was written meanwhile.
        monkeypatch.setattr(linking, "_AT_ONCE", 2)
        await written(world, 2)
        await keeping.link()
        checked = await check(world.database, await keeping.signer.key())
        assert (checked.lines, checked.untagged, checked.wrong) == (5, 3, 0)
        # None comes after them, though it says it is one.
        await world.change(_UNTAGGED.format("a", "false"))
        await keeping.link()
        assert await found(world, keeping) == [("a", "untagged", 6)]

    run(body)


def test_many_lines_are_linked_some_at_a_time(run, monkeypatch):
    monkeypatch.setattr(linking, "_AT_ONCE", 3)

    async def body(world):
        keeping = keeping_of(world)
        await written(world, 7)
        await written(world, 1, "b")
        assert await keeping.link() == 8
        assert await found(world, keeping) == []

    run(body)


def test_the_key_is_one_wrapped_and_goes_under_another_master_key(run, url):
    async def body(world):
        keepings = [keeping_of(world) for _ in range(5)]
        keys = await asyncio.gather(*(one.signer.key() for one in keepings))
        assert len(set(keys)) == 1
        (row,) = await world.sql("SELECT * FROM audit_key")
        assert keys[0] not in row.wrapped
        await written(world, 2)
        await keepings[0].link()
        new = os.urandom(32)
        await rotate(world.database, Keyring(LocalMaster([new, MASTER_KEY])))
        await keepings[0].link()
        database = Database(url)
        after = Keeping(database, Keyring(LocalMaster([new])))
        assert await after.signer.key() == keys[0]
        assert await found(world, after) == []
        ((operation, actor),) = await world.sql("SELECT operation, actor FROM audit WHERE kind = 'key'")
        assert (operation, actor) == ("key.master", "server")
        await database.close()
        # Without it, nothing is written that somebody does, and no other key takes its place.
        await world.change("DELETE FROM audit_key")
        fresh = keeping_of(world)
        with pytest.raises(AuditKeyMissing, match="backup"):
            await fresh.signer.key()
        with pytest.raises(AuditKeyMissing):
            await written(world, 1)

    run(body)


def test_heads_are_sealed_as_the_second_implementation_seals_them(run):
    """Over rows, with the key of tests in the place of the real one."""

    async def body(world):
        keeping = keeping_of(world)
        await keeping.signer.key()
        keeping.signer._key = KEY
        await written(world, 2)
        await keeping.link()
        (row,) = await world.sql("SELECT * FROM audit_head WHERE chain = 'a'")
        head = head_of(row)
        assert (head.ordinal, head.tagged, head.number) == (1, 1, 2)
        assert row.seal == sealed(head)

    run(body)
