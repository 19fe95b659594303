"""Erases a video: its keys, all rows that know something of it, and then its objects.

What is erased is decided in one transaction. From its commit on nobody reads anything of the video; objects and the
journal follow, at once or, where this process dies, by the clean-up. docs/privacy.md lists what is kept where.
"""

import logging
from typing import Final, Literal

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.errors import VideoError
from serving.audit.signing import AuditSigner
from serving.db.database import SYSTEM, Database
from serving.db.media import Video
from serving.db.rights import Erasure, LegalHold
from serving.db.statements import execute
from serving.db.tagging import Correction
from serving.db.vocabularies import Vocabulary
from serving.db.work import Job
from serving.errors import AuditKeyMissing, Held, MasterKeyMissing, NotFound, ServerError
from serving.ids import new_id
from serving.rights import journal
from serving.storage.keyring import forget
from serving.storage.store import Store, is_object
from serving.tagging.due import learn_soon

_LOG = logging.getLogger(__name__)

Reason = Literal["request", "retention"]

#: Seconds after which an erasure that is not finished is finished by somebody else, and how many are in one go.
_LEFT_S: Final = 60.0
_AT_ONCE: Final = 100

#: All that has a key because of a video: its objects, whatever they are, and values of its rows. An object from before
#: objects were sealed has no key, and is named by its row only.
_OBJECTS: Final = text(
    """
    SELECT object_key FROM video WHERE id = :video AND tenant_id = :tenant
    UNION SELECT object_key FROM data_key WHERE video_id = :video AND tenant_id = :tenant
    UNION SELECT p.object_key FROM upload_part p JOIN upload u ON u.id = p.upload_id
        WHERE u.video_id = :video AND u.tenant_id = :tenant
    """
)

_COUNTS: Final = text(
    """
    SELECT
        (SELECT count(*) FROM job WHERE video_id = :video) AS jobs,
        (SELECT count(*) FROM report WHERE video_id = :video) AS reports,
        (SELECT count(*) FROM correction WHERE video_id = :video) AS corrections,
        (SELECT count(*) FROM upload WHERE video_id = :video) AS uploads,
        (SELECT count(*) FROM webhook_message WHERE video_id = :video) AS webhook_messages,
        (SELECT count(*) FROM moment m JOIN space s ON s.tenant_id = m.tenant_id AND s.space = m.space
            WHERE s.tenant_id = :tenant AND m.video_id = :video) AS vectors
    """
)

#: What knows of a video without referring to its row; all else goes with that. Uploads do refer to it, but would stay,
#: with the name and the address that the video came from.
_BESIDES: Final = (
    text(
        """
        DELETE FROM idempotency_key k WHERE k.tenant_id = :tenant AND k.target IN (
            SELECT id FROM job WHERE tenant_id = :tenant AND video_id = :video
            UNION SELECT id FROM upload WHERE tenant_id = :tenant AND video_id = :video
            UNION SELECT batch_id FROM job WHERE tenant_id = :tenant AND video_id = :video AND batch_id IS NOT NULL)
        AND NOT EXISTS (
            SELECT FROM job o WHERE o.tenant_id = k.tenant_id AND o.batch_id = k.target AND o.video_id <> :video)
        """
    ),
    text("DELETE FROM upload WHERE tenant_id = :tenant AND video_id = :video"),
    text(
        """
        UPDATE learned_label SET gained_videos = array_remove(gained_videos, cast(:video AS text)),
            lost_videos = array_remove(lost_videos, cast(:video AS text))
        WHERE tenant_id = :tenant AND (cast(:video AS text) = ANY(gained_videos)
            OR cast(:video AS text) = ANY(lost_videos))
        """
    ),
)


async def locked(session: AsyncSession, tenant: str, video_id: str) -> Video:
    """A video that is about to be erased, as it is now: until the session's transaction ends, nobody changes it.

    Raises:
        NotFound: there is none.
        Held: it is under a legal hold.
    """
    # Jobs first, as those do who end them: else each would wait for what the other has locked.
    jobs = select(Job.id).where(Job.tenant_id == tenant, Job.video_id == video_id)
    await session.exec(jobs.order_by(Job.id).with_for_update())
    # Vocabularies before the video, as those do who correct.
    await _learn_without(session, tenant, video_id)
    query = select(Video).where(Video.tenant_id == tenant, Video.id == video_id).with_for_update()
    # What the session knew of it was read before it was locked.
    video = (await session.exec(query.execution_options(populate_existing=True))).one_or_none()
    if video is None:
        raise NotFound("there is no such video")
    await require_free(session, tenant, video_id)
    return video


async def erase(session: AsyncSession, video: Video, reason: Reason, rule_id: str | None = None) -> Erasure:
    """Erase a video that is `locked`, in the session's transaction; `finish` the erasure once that is committed."""
    tenant, video_id = video.tenant_id, video.id
    this = {"tenant": tenant, "video": video_id}
    named = sorted((await execute(session, _OBJECTS, **this)).scalars())
    objects = [key for key in named if key == video.object_key or is_object(key)]
    counts = dict((await execute(session, _COUNTS, **this)).mappings().one()) | {"objects": len(objects)}
    erasure = Erasure(
        id=new_id("era"),
        tenant_id=tenant,
        video_id=video_id,
        reason=reason,
        rule_id=rule_id,
        counts=counts,
        pending=objects,
    )
    # Its bytes are unreadable from the moment that this is committed, wherever copies of them are.
    await forget(session, named)
    for statement in _BESIDES:
        await execute(session, statement, **this)
    await session.delete(video)
    session.add(erasure)
    await session.flush()
    await session.refresh(erasure)
    return erasure


async def require_free(session: AsyncSession, tenant: str, video_id: str) -> None:
    """Raises Held where a video is under a legal hold."""
    query = select(LegalHold.placed_at).where(LegalHold.tenant_id == tenant, LegalHold.video_id == video_id)
    placed = (await session.exec(query)).one_or_none()
    if placed is not None:
        raise Held(f"the video is under a legal hold since {placed:%Y-%m-%d %H:%M} UTC; nothing of it is deleted")


def signer_of(database: Database, store: Store) -> AuditSigner:
    """Who has the key that erasures are written down with; of many in a row, one signer asks the master key once."""
    return database.signer or AuditSigner(database, store.keyring.master)


async def finish(database: Database, store: Store, signer: AuditSigner, erasure: Erasure) -> bool:
    """Write an erasure down where no backup of the database takes it back, and delete its objects; whether that could
    be done. Where it could not, or this process dies, `finish_left` does it."""
    try:
        key = journal.key_of(await signer.key())
        await journal.write(store, journal.signed(journal.entry(erasure), key))
        for object_key in erasure.pending:
            await store.delete(object_key)
    except (OSError, AuditKeyMissing, MasterKeyMissing) as error:
        _LOG.warning("%s: objects of an erased video cannot be deleted now (%s); tried again", erasure.id, error)
        return False
    async with database.write("erasure.finish", SYSTEM) as session:
        await execute(session, _FINISHED, id=erasure.id)
    return True


_FINISHED: Final = text("UPDATE erasure SET pending = '{}', finished_at = now() WHERE id = :id AND finished_at IS NULL")

_LEFT: Final = text("finished_at IS NULL AND at < now() - make_interval(secs => :left_s)")


async def finish_left(database: Database, store: Store) -> int:
    """Finish what others have begun; how many there were. Of several who do it at once, each does the same."""
    left = select(Erasure).where(_LEFT).order_by(col(Erasure.at)).limit(_AT_ONCE)
    async with database.read(SYSTEM) as session:
        found = (await session.exec(left, params={"left_s": _LEFT_S})).all()
    signer, done = signer_of(database, store), 0
    for erasure in found:
        try:
            done += await finish(database, store, signer, erasure)
        except (VideoError, ServerError) as error:
            _LOG.info("%s: %s", erasure.id, error)
    return done


async def erase_now(database: Database, store: Store, tenant: str, video_id: str) -> Erasure:
    """Erase a video because somebody asks for it. Raises as `locked`."""
    async with database.write("video.delete", tenant) as session:
        erasure = await erase(session, await locked(session, tenant, video_id), "request")
    await finish(database, store, signer_of(database, store), erasure)
    return erasure


async def _learn_without(session: AsyncSession, tenant: str, video_id: str) -> None:
    """What was learnt of what people said of the video is to be learnt anew, without it."""
    said = (
        select(Vocabulary, Correction.label)
        .join(Correction, col(Correction.vocabulary_id) == col(Vocabulary.id))
        .where(Correction.tenant_id == tenant, Correction.video_id == video_id, Vocabulary.tenant_id == tenant)
        .order_by(col(Vocabulary.id), col(Correction.label))
        .with_for_update(of=Vocabulary, read=True)  # type: ignore[arg-type]
    )
    labels = {(vocabulary.id, label): vocabulary for vocabulary, label in (await session.exec(said)).all()}
    for (_, label), vocabulary in labels.items():
        await learn_soon(session, vocabulary, label)
