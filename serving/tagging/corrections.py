"""What people say of tags: kept, answered at once, and learnt from later."""

import asyncio
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from serving.audit import acting
from serving.db.database import Database
from serving.db.media import Video
from serving.db.statements import execute
from serving.db.tagging import Correction, FoundTags
from serving.db.vocabularies import Vocabulary
from serving.errors import Conflict, InvalidRequest, NotFound
from serving.ids import new_id
from serving.search.spaces import active_space
from serving.storage.keyring import Keyring
from serving.tagging.deriving import (
    TO_THE_END,
    judgements,
    labels_of,
    latest_report,
    of_vocabulary,
    write_report_tags,
)
from serving.tagging.due import learn_soon
from serving.tagging.naming import named
from serving.tagging.retagging import stamp_of
from serving.tagging.writing import write_tags
from serving.vocabularies import rows

#: Of a tenant; each is read whenever its video is tagged anew.
MAX_OF_A_VIDEO: Final = 10_000

_SAY = text(
    """
    INSERT INTO correction (id, tenant_id, vocabulary_id, label, video_id, from_s, to_s, accepted, judged_at)
    VALUES (:id, :tenant, :vocabulary, :label, :video, :from_s, :to_s, :accepted, clock_timestamp())
    ON CONFLICT (video_id, origin, label, from_s, to_s)
        DO UPDATE SET accepted = excluded.accepted, judged_at = excluded.judged_at
    RETURNING id
    """
)


@dataclass(frozen=True, slots=True)
class Saying:
    """Something that somebody says of a label in a video."""

    label: str
    """Any of its names."""
    video_id: str
    accepted: bool
    vocabulary: str | None = None
    """Id or name; None: of the tags of its report."""
    start_s: float | None = None
    """With `end_s`, the stretch; without either, and without a segment: the whole video."""
    end_s: float | None = None
    segment: int | None = None
    """Place of a key segment of the latest report: the stretch."""


async def say(database: Database, keyring: Keyring, tenant: str, saying: Saying) -> Correction:
    """Keep it, in place of what was said of the same label in the same stretch, and answer accordingly from now on.

    Raises:
        NotFound: no such video, vocabulary, label or segment is there.
        InvalidRequest: no such stretch can be.
        Conflict: too much was said of the video.
    """
    async with database.write("correction.write", tenant) as session:
        vocabulary, label = await _about(session, tenant, saying.vocabulary, saying.label)
        if vocabulary is not None:
            await learn_soon(session, vocabulary, label)
        video = await _locked(session, tenant, saying.video_id)
        from_s, to_s = await _stretch(session, keyring, tenant, video, saying)
        await _require_room(session, tenant, video.id)
        kept = await execute(
            session,
            _SAY,
            id=new_id("cor"),
            tenant=tenant,
            vocabulary=None if vocabulary is None else vocabulary.id,
            label=label,
            video=video.id,
            from_s=from_s,
            to_s=to_s,
            accepted=saying.accepted,
        )
        row = await find(session, tenant, kept.scalar_one())
        acting.about(row.id)
        await answer_so(session, keyring, tenant, video, vocabulary)
    return row


async def unsay(database: Database, keyring: Keyring, tenant: str, which: str) -> None:
    """Forget a correction: what models find holds again. Raises NotFound."""
    async with database.write("correction.write", tenant) as session:
        row = await find(session, tenant, which)
        vocabulary = None
        if row.vocabulary_id is not None:
            vocabulary = await shared(session, tenant, row.vocabulary_id)
            await learn_soon(session, vocabulary, row.label)
        video = await _locked(session, tenant, row.video_id)
        await session.delete(row)
        await session.flush()
        await answer_so(session, keyring, tenant, video, vocabulary)


async def find(session: AsyncSession, tenant: str, which: str) -> Correction:
    """A correction as it is now. Raises NotFound."""
    query = select(Correction).where(Correction.tenant_id == tenant, Correction.id == which)
    row = (await session.exec(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise NotFound("there is no such correction")
    return row


async def shared(session: AsyncSession, tenant: str, which: str) -> Vocabulary:
    """A vocabulary that nobody replaces or deletes meanwhile. Raises NotFound."""
    found = await rows.find(session, tenant, which)
    query = select(Vocabulary).where(Vocabulary.tenant_id == tenant, Vocabulary.id == found.id)
    query = query.with_for_update(read=True).execution_options(populate_existing=True)
    row = (await session.exec(query)).one_or_none()
    if row is None:
        raise NotFound("there is no such vocabulary")
    return row


async def _about(session: AsyncSession, tenant: str, which: str | None, said: str) -> tuple[Vocabulary | None, str]:
    if which is None:
        return None, said
    vocabulary = await shared(session, tenant, which)
    return vocabulary, named(labels_of(vocabulary), said)


async def _locked(session: AsyncSession, tenant: str, video: str) -> Video:
    query = select(Video).where(Video.tenant_id == tenant, Video.id == video).with_for_update(key_share=True)
    row = (await session.exec(query)).one_or_none()
    if row is None:
        raise NotFound("there is no such video")
    return row


async def _stretch(
    session: AsyncSession, keyring: Keyring, tenant: str, video: Video, saying: Saying
) -> tuple[float, float]:
    if saying.segment is not None:
        report = await latest_report(session, keyring, tenant, video.id)
        if report is None or saying.segment >= len(report.segments):
            raise NotFound("the video's latest report has no such segment")
        segment = report.segments[saying.segment]
        return segment.start_s, segment.end_s
    if saying.start_s is None and saying.end_s is None:
        return 0.0, TO_THE_END
    from_s = saying.start_s or 0.0
    if video.duration_s is not None and from_s >= video.duration_s:
        raise InvalidRequest("a stretch that is not in the video", (("/start_s", f"it lasts {video.duration_s:g} s"),))
    if saying.end_s is None:
        return from_s, TO_THE_END
    if saying.end_s <= from_s:
        raise InvalidRequest("a stretch that ends before it begins", (("/end_s", f"is not above {from_s:g}"),))
    return from_s, saying.end_s if video.duration_s is None else min(saying.end_s, video.duration_s)


async def _require_room(session: AsyncSession, tenant: str, video: str) -> None:
    query = select(Correction.id).where(Correction.tenant_id == tenant, Correction.video_id == video)
    if len((await session.exec(query.limit(MAX_OF_A_VIDEO))).all()) >= MAX_OF_A_VIDEO:
        raise Conflict(f"{MAX_OF_A_VIDEO} corrections of this video are there already; delete some first")


async def answer_so(
    session: AsyncSession, keyring: Keyring, tenant: str, video: Video, vocabulary: Vocabulary | None
) -> None:
    """Have the video, which is locked, found by what holds now."""
    if vocabulary is None:
        report = await latest_report(session, keyring, tenant, video.id)
        if report is not None:
            await write_report_tags(session, tenant, video.id, report)
        return
    if vocabulary.applied_at is None:
        # Nobody is shown its tags. What was said holds once it is applied.
        return
    query = select(FoundTags).where(FoundTags.tenant_id == tenant, FoundTags.video_id == video.id)
    row = (await session.exec(query.where(FoundTags.vocabulary_id == vocabulary.id))).one_or_none()
    if row is None:
        # Nothing was found in it yet, or ever will be: it may have no vectors.
        space = await active_space(session, tenant)
        name = "" if space is None else space.space
        row = FoundTags(video_id=video.id, vocabulary_id=vocabulary.id, tenant_id=tenant, space=name, tags=[], stamp="")
    labels = labels_of(vocabulary)
    said = await judgements(session, tenant, [video.id], vocabulary.id)
    about = said.get((video.id, vocabulary.id), ())
    tags = await asyncio.to_thread(of_vocabulary, row, labels, about, video.duration_s)
    row.stamp = stamp_of(tags, labels)
    session.add(row)
    await session.flush()
    await write_tags(session, tenant, {video.id: tags}, labels, vocabulary.id)
