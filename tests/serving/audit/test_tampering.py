"""Whatever somebody does who may write to the database, but has not got the master key, is found."""

import asyncio

import pytest
from sqlalchemy import text

from serving.audit import linking
from serving.audit.checking import KeptHead, heads
from tests.serving.audit.linked import found, keeping_of, written

#: What somebody does who may write to the database: statements, and what is found.
TAMPERED = {
    "a line is edited": (
        "UPDATE audit SET actor = 'key_2' WHERE id = (SELECT id FROM audit_link WHERE chain = 'a' AND number = 3)",
        [("a", "changed", 3)],
    ),
    "a line is deleted": (
        "DELETE FROM audit WHERE id = (SELECT id FROM audit_link WHERE chain = 'a' AND number = 3)",
        [("a", "dropped", 3)],
    ),
    "a line and its link are deleted": (
        "WITH gone AS (DELETE FROM audit_link WHERE chain = 'a' AND number = 3 RETURNING id) "
        "DELETE FROM audit WHERE id IN (SELECT id FROM gone)",
        [("a", "dropped", 3), ("a", "changed", 4)],
    ),
    "a link is deleted": (
        "DELETE FROM audit_link WHERE chain = 'a' AND number = 3",
        [("a", "dropped", 3), ("a", "changed", 4), ("a", "added", None)],
    ),
    "two lines change places": (
        "DO $$ BEGIN DROP INDEX ix_audit_link_id; UPDATE audit_link l SET id = o.id FROM audit_link o "
        "WHERE l.chain = 'a' AND o.chain = 'a' AND l.number IN (3, 4) AND o.number = 7 - l.number; END $$",
        [("a", "changed", 3), ("a", "changed", 4)],
    ),
    "a line goes to another tenant": (
        "UPDATE audit SET tenant_id = 'b' WHERE id = (SELECT id FROM audit_link WHERE chain = 'a' AND number = 3)",
        [("a", "changed", 3)],
    ),
    "the end is cut off": (
        "DELETE FROM audit_link WHERE chain = 'a' AND number > 4",
        [("a", "cut off", 5), ("a", "added", None), ("a", "added", None)],
    ),
    "the end is cut off, and the head is told": (
        "WITH gone AS (DELETE FROM audit_link WHERE chain = 'a' AND number > 4 RETURNING id), "
        "lines AS (DELETE FROM audit WHERE id IN (SELECT id FROM gone)) "
        "UPDATE audit_head SET number = 4, mac = (SELECT mac FROM audit_link WHERE chain = 'a' AND number = 4) "
        "WHERE chain = 'a'",
        [("a", "head altered", None)],
    ),
    "a chain is taken away": (
        "WITH gone AS (DELETE FROM audit_link WHERE chain = 'a'), head AS (DELETE FROM audit_head WHERE chain = 'a') "
        "DELETE FROM audit WHERE tenant_id = 'a'",
        [("", "head missing", None)],
    ),
    "all chains are taken away, but not their key": (
        "WITH gone AS (DELETE FROM audit_link), head AS (DELETE FROM audit_head) DELETE FROM audit",
        [("", "head missing", None)],
    ),
    "a line is written by hand": (
        "INSERT INTO audit (id, tenant_id, kind, operation) VALUES ('aud_x', 'a', 'write', 'x')",
        [("a", "added", None)],
    ),
    "a line is written by hand, to be linked": (
        "WITH made AS (INSERT INTO audit (id, tenant_id, kind, operation) VALUES ('aud_x', 'a', 'write', 'x')) "
        "INSERT INTO audit_pending (id, tenant_id) VALUES ('aud_x', 'a')",
        [("a", "untagged", 7)],
    ),
    "a line is copied, to be linked": (
        "WITH made AS (INSERT INTO audit (id, tenant_id, kind, operation, tag) "
        "SELECT 'aud_x', tenant_id, kind, operation, tag FROM audit LIMIT 1) "
        "INSERT INTO audit_pending (id, tenant_id) VALUES ('aud_x', 'a')",
        [("a", "forged", 7)],
    ),
    "a line is deleted, before it is linked": (
        "INSERT INTO audit_pending (id, tenant_id) VALUES ('aud_x', 'a')",
        [("a", "dropped", 7)],
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_whatever_is_done_to_tables_is_found_before_and_after_more_is_linked(run, what):
    statement, expected = TAMPERED[what]

    async def body(world):
        keeping = keeping_of(world)
        await written(world, 6)
        await written(world, 6, "b")
        await keeping.link()
        assert await found(world, keeping) == []
        await world.change(statement)
        if "to be linked" in what or "before it is linked" in what:
            await keeping.link()
        assert await found(world, keeping) == expected
        # That it is gone on with hides nothing.
        await written(world, 2)
        await keeping.link()
        assert set(expected) <= set(await found(world, keeping)) or "taken away" in what or "cut off" in what
        assert await found(world, keeping) != []
        await asyncio.gather(written(world, 1), keeping.link())

    run(body)


def test_a_log_that_was_replaced_by_an_earlier_one_is_known_by_a_head_that_was_kept(run):
    async def body(world):
        keeping = keeping_of(world)
        await written(world, 3)
        await keeping.link()
        early = await world.sql("SELECT * FROM audit_head WHERE chain = 'a'")
        await written(world, 3)
        await keeping.link()
        kept = await heads(world.database)
        assert await found(world, keeping, kept) == []
        await world.change(
            "WITH gone AS (DELETE FROM audit_link WHERE chain = 'a' AND number > 3 RETURNING id), "
            "lines AS (DELETE FROM audit WHERE id IN (SELECT id FROM gone)) "
            "UPDATE audit_head SET number = 3, mac = :mac, seal = :seal WHERE chain = 'a'",
            mac=early[0].mac,
            seal=early[0].seal,
        )
        assert await found(world, keeping) == [], "nothing in the database knows of it"
        assert await found(world, keeping, kept) == [("a", "not as kept elsewhere", 6)]
        assert await found(world, keeping, (KeptHead(chain="z", number=1, mac="00"),)) == [
            ("z", "not as kept elsewhere", 1)
        ]

    run(body)


def test_a_line_that_is_linked_is_not_linked_again(run, monkeypatch):
    again = "INSERT INTO audit_pending (id, tenant_id) SELECT id, '{}' FROM audit_link WHERE chain = 'a' AND number = 3"

    async def body(world):
        keeping = keeping_of(world)
        await written(world, 6)
        await keeping.link()
        for tenant in "ab":
            await world.change(again.format(tenant))
            assert await keeping.link() == 1
            assert await world.sql("SELECT 1 FROM audit_pending") == []
            assert await found(world, keeping) == []
        assert await world.sql("SELECT max(number), count(*) FROM audit_link") == [(6, 6)]
        # Were it linked again for whatever reason, that is found.
        monkeypatch.setattr(linking, "_PLACED", text("SELECT id FROM audit_link WHERE id = ANY(:ids) AND false"))
        await world.change("DROP INDEX ix_audit_link_id")
        await world.change(again.format("a"))
        await keeping.link()
        assert await found(world, keeping) == [("a", "repeated", 7)]

    run(body)
