"""What a text tower makes of texts, kept: another threshold, parent or name asks no model for anything."""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.db.database import SYSTEM, Database
from serving.db.search import Space
from serving.db.statements import execute
from serving.errors import SpaceMismatch

if TYPE_CHECKING:
    # The API, which asks no model, keeps clear of what these bring along.
    from pipeline.toolkit import Toolkit
    from serving.jobs.running import Toolkits

#: Texts that a tower is given at once.
_AT_ONCE: Final = 256

_KNOWN = text(
    """
    SELECT digest, vector FROM phrase
    WHERE tenant_id = :tenant AND space = :space AND digest = ANY(cast(:digests AS bytea[]))
    """
)
_KEEP = text(
    """
    INSERT INTO phrase (tenant_id, space, digest, vector)
    SELECT :tenant, :space, digest, vector
    FROM unnest(cast(:digests AS bytea[]), cast(:vectors AS bytea[])) AS new (digest, vector)
    ON CONFLICT DO NOTHING
    """
)


async def known(session: AsyncSession, tenant: str, space: Space, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Text -> its vector, float32 [D], of those that were asked for before."""
    names = {hashlib.sha256(one.encode()).digest(): one for one in texts}
    rows = (await execute(session, _KNOWN, tenant=tenant, space=space.space, digests=list(names))).all()
    return {names[bytes(row.digest)]: np.frombuffer(row.vector, "<f4") for row in rows}


async def ask(database: Database, toolkits: "Toolkits", tenant: str, space: Space, texts: Sequence[str]) -> int:
    """See to it that all are known; how many were not.

    Raises:
        SpaceMismatch: the model gives vectors of another space by now.
        EngineUnavailable, ModelUnavailable: see `Toolkits.get`.
    """
    async with database.read(tenant) as session:
        there = await known(session, tenant, space, texts)
    missing = [one for one in dict.fromkeys(texts) if one not in there]
    if not missing:
        return 0
    toolkit = await toolkits.get(space.model)
    if toolkit.encoder.info.space != space.space:
        raise SpaceMismatch(
            f"{space.model} gives vectors of the space {toolkit.encoder.info.space} by now, the library is in "
            f"{space.space}: analyse the videos again with it, or have the server load the model that they have"
        )
    for first in range(0, len(missing), _AT_ONCE):
        some = missing[first : first + _AT_ONCE]
        rows = await asyncio.to_thread(_embedded, toolkit, some)
        async with database.write("tagging.phrases", SYSTEM) as session:
            digests = [hashlib.sha256(one.encode()).digest() for one in some]
            vectors = [np.ascontiguousarray(row, "<f4").tobytes() for row in rows]
            await execute(session, _KEEP, tenant=tenant, space=space.space, digests=digests, vectors=vectors)
    return len(missing)


def _embedded(toolkit: "Toolkit", texts: list[str]) -> np.ndarray:
    return toolkit.encoder.embed_text(texts)
