"""Takes out of a backup what is to be in it no more: what was erased, snapshots that are old, and what none names."""

import shutil
from pathlib import Path

import msgspec

from serving.backup import form
from serving.backup.reading import listed, manifest_of
from serving.errors import BackupRefused
from serving.places import Places
from serving.rights import journal
from serving.storage.store import Store


async def strike_out(store: Store, folder: Path, keys_folder: Path) -> int:
    """What was erased goes from the backup, too: its keys from all that are there, whatever snapshot they are of, its
    objects from the folder; how many objects."""
    erased = {one.video_id for one in await journal.read(store)}
    removed = 0
    for name in form.names(folder):
        form.keys_file(keys_folder, name).with_suffix(".new").unlink(missing_ok=True)
    for file in sorted(keys_folder.glob("*.json")):
        try:
            keys = form.read_keys(keys_folder, file.stem)
        except BackupRefused:
            continue  # Another file, that somebody keeps there.
        gone = [row for row in keys.data_keys if row.video_id in erased]
        if gone:
            kept = tuple(row for row in keys.data_keys if row.video_id not in erased)
            form.write_keys(keys_folder, msgspec.structs.replace(keys, data_keys=kept))
        for row in gone:
            file = folder / "objects" / row.object_key
            removed += file.exists()
            file.unlink(missing_ok=True)
    return removed


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


async def prune(target: Store, folder: Path, keys_folder: Path, place: Places) -> int:
    """Delete objects that no snapshot names; how many there were. Where one cannot be asked, all stay."""
    named: set[str] = set()
    for name in form.names(folder):
        try:
            named |= {line.key async for line in listed(target, await manifest_of(target, keys_folder, name, place))}
        except BackupRefused:
            return 0
    removed = 0
    async for keys in target.keys("objects"):
        for key in keys:
            if key.removeprefix("objects/") not in named:
                await target.delete(key)
                removed += 1
    return removed
