"""What was erased, as far as journals can be believed: whoever may write to the store, and has no key, could else have
a backup forget videos that nobody erased.

An entry is believed that is signed (`serving.rights.journal`), or that the database has a row of. One that is neither,
from before entries were signed or made up by somebody, is believed where the video is gone anyway.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from serving.audit.signing import WHAT
from serving.backup import form
from serving.backup.reading import rows_of
from serving.backup.rows import value, value_bytes
from serving.rights.journal import Erased, JournalKey, is_signed, key_of, signed
from serving.storage.master import Master
from serving.storage.store import Store


@dataclass(frozen=True, slots=True)
class Agreed:
    """What was made of a journal."""

    entries: dict[str, Erased]
    """Id -> what is believed; signed where there is a row of it."""
    disputed: tuple[str, ...]
    """Ids of what is not: not signed, and of videos that are there."""

    @property
    def videos(self) -> frozenset[str]:
        """That were erased."""
        return frozenset(one.video_id for one in self.entries.values())


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
    disputed = set()
    for one in found:
        if one.id in entries:
            continue
        if one.video_id in there:
            disputed.add(one.id)
        else:
            entries[one.id] = one
    return Agreed(entries, tuple(sorted(disputed)))


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
