"""What engines made of Clips, kept until the job is done: sealed by the key of its video, and gone with that."""

import logging
from collections.abc import Sequence

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.errors import Altered
from serving.db.statements import execute
from serving.db.work import Checkpoint
from serving.storage.keyring import Keyring, values_at
from serving.storage.values import Values

_LOG = logging.getLogger(__name__)


async def keep(
    session: AsyncSession,
    keyring: Keyring,
    tenant: str,
    video_id: str,
    feature_key: str,
    outputs: Sequence[tuple[str, bytes]],
) -> None:
    """Keep outputs of Clips; of the same one, the first. Raises as `Keyring.values_to_seal`."""
    values = await keyring.values_to_seal(session, tenant, video_id)
    same = {"tenant_id": tenant, "video_id": video_id, "feature_key": feature_key}
    rows = [
        same | {"clip": clip, "output": values.seal("checkpoint.output", _name(feature_key, clip), output)}
        for clip, output in outputs
    ]
    await execute(session, insert(Checkpoint).values(rows).on_conflict_do_nothing())


async def read(session: AsyncSession, keyring: Keyring, tenant: str, feature_key: str) -> dict[str, bytes]:
    """Clip -> its output, of whichever video of the same bytes. What is not what was kept is left out, and told.

    Raises:
        MasterKeyMissing, Altered: see `Keyring.tenant_key`.
    """
    query = select(Checkpoint.clip, Checkpoint.output, Checkpoint.video_id).where(
        Checkpoint.tenant_id == tenant, Checkpoint.feature_key == feature_key
    )
    rows = (await session.exec(query)).all()
    names = {video: values_at(tenant, video) for _, _, video in rows}
    keys = await keyring.keys_of(session, tenant, list(names.values())) if names else {}
    found: dict[str, bytes] = {}
    for clip, output, video in rows:
        try:
            # One that was destroyed since took its rows along.
            if (key := keys.get(names[video])) is not None:
                found[clip] = Values(tenant, key).open("checkpoint.output", _name(feature_key, clip), output)
        except Altered as error:
            _LOG.warning("what was kept of %s is computed again: %s", video, error)
    return found


def _name(feature_key: str, clip: str) -> str:
    return f"{feature_key}/{clip}"
