"""Takes out of a backup what is to be in it no more: what was erased, snapshots that are old, and what none names."""

import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from serving.backup import form
from serving.backup.reading import UNREADABLE, listed, manifest_of
from serving.errors import BackupRefused
from serving.flushing import flush
from serving.places import Places
from serving.storage.store import Store


def strike_out(folder: Path, keys_folder: Path, erased: Collection[tuple[str, str]]) -> int:
    """Take videos, (tenant, video), out of the backup: their objects from the folder, their keys from all that are
    there, whatever snapshot they are of; how many objects. It cannot be undone: `Agreed.struck`."""
    removed = 0
    with form.waited_for(keys_folder):
        for name in form.names(folder):
            form.keys_file(keys_folder, name).with_suffix(".new").unlink(missing_ok=True)
        for file in sorted(keys_folder.glob("*.json")):
            try:
                keys = form.read_keys(keys_folder, file.stem)
            except BackupRefused:
                continue  # Another file, that somebody keeps there.
            gone = [row.object_key for row in keys.data_keys if (row.tenant_id, row.video_id) in erased]
            if gone:
                # Objects first: once the keys are gone, nobody knows any more that they are to go.
                removed += _unlinked(folder / "objects", gone)
                kept = tuple(row for row in keys.data_keys if (row.tenant_id, row.video_id) not in erased)
                form.write_keys(keys_folder, msgspec.structs.replace(keys, data_keys=kept))
    return removed


def _unlinked(objects: Path, names: Iterable[str]) -> int:
    """How many there were; when this returns, they are gone whatever happens to the power."""
    there = [objects / name for name in names if form.is_object_name(name) and (objects / name).exists()]
    for file in there:
        file.unlink(missing_ok=True)
    for parent in {file.parent for file in there}:
        flush(parent)
    return len(there)


def drop_old(folder: Path, keys_folder: Path, keep: int | None) -> int:
    """Drop the oldest snapshots; how many there were."""
    oldest = form.names(folder)[: -keep or None] if keep else []
    for name in oldest:
        (folder / "snapshots" / name / form.WHOLE).unlink()
        remove(folder / "snapshots" / name, keys_folder)
    return len(oldest)


def remove(place: Path, keys_folder: Path) -> None:
    """Remove one that is not whole. Its keys first, so that none stay whenever this ends; and none but its own: others
    may be of another folder, or of this one, whose disk is not there today."""
    file = form.keys_file(keys_folder, place.name)
    file.unlink(missing_ok=True)
    file.with_suffix(".new").unlink(missing_ok=True)
    shutil.rmtree(place)


async def prune(target: Store, folder: Path, keys_folder: Path, place: Places) -> tuple[int, list[str]]:
    """Delete objects that no snapshot names; how many there were, and names of snapshots that cannot be asked: where
    there are any, all stay."""
    named: set[str] = set()
    unreadable: list[str] = []
    for name in form.names(folder):
        try:
            named |= {line.key async for line in listed(target, await manifest_of(target, keys_folder, name, place))}
        except UNREADABLE:
            unreadable.append(name)
    if unreadable:
        return 0, unreadable
    removed = 0
    async for keys in target.keys("objects"):
        for key in keys:
            if key.removeprefix("objects/") not in named:
                await target.delete(key)
                removed += 1
    return removed, []
