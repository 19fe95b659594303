"""What was erased, as far as journals can be believed: whoever may write to the store, and has no key, could else have
a backup forget videos that nobody erased.

An entry is proved that is signed (`serving.rights.journal`), or that the database has a row of. One that is neither,
from before entries were signed or made up by somebody, is kept where the video is gone anyway. But nothing is destroyed
for it: it may name a video of another server whose keys are in the same folder, or of a newer snapshot.
"""

import contextlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlmodel import select

from serving.audit.signing import WHAT, AuditSigner
from serving.backup import form
from serving.backup.reading import rows_of
from serving.backup.rows import value, value_bytes
from serving.db.database import SYSTEM, Database
from serving.db.rights import Erasure
from serving.places import Places
from serving.rights import journal
from serving.rights.journal import Erased, JournalKey, is_signed, key_of, signed
from serving.storage.master import Master
from serving.storage.store import Store


@dataclass(frozen=True, slots=True)
class Agreed:
    """What was made of a journal."""

    entries: dict[str, Erased]
    """Id -> what is believed; signed where there is a row of it."""
    proved: frozenset[str]
    """Ids of what has a row, or a signature; the others are of videos that are gone anyway."""
    disputed: tuple[str, ...]
    """Ids of what is not: not signed, and of videos that are there."""

    @property
    def videos(self) -> frozenset[str]:
        """That were erased."""
        return frozenset(one.video_id for one in self.entries.values())

    @property
    def struck(self) -> frozenset[tuple[str, str]]:
        """(tenant, video) of what is proved: only for these anything is taken out of a backup."""
        return frozenset((one.tenant_id, one.video_id) for id, one in self.entries.items() if id in self.proved)


def agreed(
    recorded: Iterable[Erased], found: Collection[Erased], key: JournalKey | None, there: Collection[str]
) -> Agreed:
    """
    Args:
        recorded: what the database has rows of, or what whoever restores vouches for.
        found: what journals say.
        key: what they are signed with; None where nobody knows.
        there: videos that can be read.
    """
    entries = {one.id: one if key is None else signed(one, key) for one in recorded}
    if key is not None:
        for one in found:
            if one.id not in entries and is_signed(one, key):
                entries[one.id] = one
    proved, disputed = frozenset(entries), set()
    for one in found:
        if one.id in entries:
            continue
        if one.video_id in there:
            disputed.add(one.id)
        else:
            entries[one.id] = one
    return Agreed(entries, proved, tuple(sorted(disputed)))


async def known(database: Database, place: Places) -> Agreed:
    """What a server that is there knows to be erased; disputed is all that nobody proves. The store's journal is signed
    on the way, as in a backup."""
    key = key_of(await AuditSigner(database, place.keyring.master).key())
    found = await journal.read(place.store)
    # After the journal: what is in it has a row by now, unless somebody else wrote it.
    async with database.read(SYSTEM) as session:
        recorded = [journal.entry(row) for row in (await session.exec(select(Erasure))).all()]
    agreement = agreed(recorded, found, key, {one.video_id for one in found})
    await sign_there(place.store, found, agreement)
    return agreement


async def sign_there(store: Store, found: Iterable[Erased], agreement: Agreed) -> None:
    """Have a journal's entries be what was agreed on: those from before entries were signed are, once there is a row of
    them. `found`: what the store has. Whoever lets nobody write over them has them as they are."""
    better = [agreement.entries[one.id] for one in found if agreement.entries.get(one.id, one) != one]
    with contextlib.suppress(OSError):
        await journal.write_all(store, better)


async def snapshot_key(source: Store, manifest: form.Manifest, master: Master) -> JournalKey | None:
    """What the journal was signed with when a snapshot was made; None of one from before there was a key. Raises
    Altered, MasterKeyMissing."""
    async for row in rows_of(source, manifest, "audit_key"):
        wrapped = value_bytes(row["wrapped"])
        return key_of(await master.unwrap(wrapped, WHAT, value(row["master"])))
    return None


def vouched(given: Iterable[Erased], key: JournalKey | None) -> tuple[list[Erased], list[str]]:
    """Of entries that whoever restores names: those that are believed, and ids of those that were changed since they
    were signed."""
    good, changed = [], []
    for one in given:
        if one.mac is None or key is None or is_signed(one, key):
            good.append(one)
        else:
            changed.append(one.id)
    return good, changed
