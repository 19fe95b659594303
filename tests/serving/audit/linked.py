"""Logs of tests that are in a database."""

from serving.audit.acting import ACTING, Acting
from serving.audit.checking import KeptHead, check
from serving.audit.keeping import Keeping
from serving.db.accounts import Tenant
from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster
from tests.serving.sealing import MASTER_KEY


def keeping_of(world) -> Keeping:
    """As a server has it, over the database of a test."""
    return Keeping(world.database, Keyring(LocalMaster([MASTER_KEY])))


async def written(world, count: int, tenant: str = "a") -> None:
    """Write so often, as somebody."""
    acting = ACTING.set(Acting("test", "req_1", "192.0.2.1", tenant, "key_1", "key_1"))
    for _ in range(count):
        async with world.database.write("tenant.quota", tenant) as session:
            (row,) = [await session.get(Tenant, tenant)]
            row.quota_bytes = (row.quota_bytes or 0) + 1
            session.add(row)
    ACTING.reset(acting)


async def found(world, keeping: Keeping, kept: tuple[KeptHead, ...] = ()) -> list[tuple[str, str, int | None]]:
    """What is wrong with the log: (chain, problem, number)."""
    checked = await check(world.database, await keeping.signer.key(), kept)
    assert checked.wrong == len(checked.findings)
    return [(one.chain, one.problem, one.number) for one in checked.findings]
