"""Lines that wait for their places: whoever holds that up is told, and nothing that is in the log does."""

import asyncpg
from prometheus_client import CollectorRegistry

from serving.audit.checking import check
from serving.metrics.backlog import Backlog
from tests.serving.audit.linked import found, keeping_of, written


def test_linking_that_somebody_holds_up_is_told_and_found(run, url, caplog):
    """The lock is anybody's who may connect: then lines have no places, and could be taken away unseen."""

    async def body(world):
        keeping = keeping_of(world)
        await written(world, 2)
        holder = await asyncpg.connect(url)
        await holder.execute("SELECT pg_advisory_lock(hashtextextended('audit chains', 0))")
        try:
            await keeping.keep()
            # Another server may be at it.
            assert await found(world, keeping) == []
            await world.change("UPDATE audit SET at = at - interval '61 seconds'")
            for _ in range(2):
                await keeping.keep()
            assert [one.message for one in caplog.records if "have waited for their places" in one.message]
            assert len(caplog.records) == 1
            assert await found(world, keeping) == [("a", "waiting", None)] * 2
            await world.change("DELETE FROM audit WHERE id = (SELECT min(id) FROM audit)")
            assert await found(world, keeping) == [("a", "dropped", None), ("a", "waiting", None)]
            registry = CollectorRegistry()
            await Backlog(world.database, registry).read()
            assert (registry.get_sample_value("automations_audit_unlinked_oldest_age_seconds") or 0) > 60
        finally:
            await holder.close()

    with caplog.at_level("WARNING", "serving.audit"):
        run(body)


def test_a_line_that_nobody_writes_holds_up_no_other(run):
    async def body(world):
        keeping = keeping_of(world)
        await world.change(
            "INSERT INTO audit (id, tenant_id, at, kind, operation, count, targets) "
            "VALUES ('aud_0', 'a', now(), 'read', 'x', -1, '{}')"
        )
        await world.change("INSERT INTO audit_pending (id, tenant_id) VALUES ('aud_0', 'a')")
        await written(world, 2)
        await keeping.link()
        checked = await check(world.database, await keeping.signer.key())
        assert (checked.lines, checked.waiting) == (3, 0)
        assert [(one.id, one.problem) for one in checked.findings] == [("aud_0", "untagged")]

    run(body)
