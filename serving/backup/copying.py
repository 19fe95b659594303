"""Copies into a backup what it does not have yet: objects, and the journal of erasures."""

import hashlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from serving.backup import form
from serving.backup.reading import listed, manifest_of
from serving.errors import BackupRefused
from serving.places import Places
from serving.rights import journal
from serving.storage.store import Store


async def known_objects(target: Store, folder: Path, keys_folder: Path, place: Places) -> dict[str, form.ObjectLine]:
    """Objects of the latest snapshot. One that cannot be read is no reason not to make another: then all are copied."""
    for name in form.names(folder)[-1:]:
        try:
            opened = await manifest_of(target, keys_folder, name, place)
            return {line.key: line async for line in listed(target, opened)}
        except (BackupRefused, OSError):
            return {}
    return {}


async def copied_objects(
    store: Store, target: Store, folder: Path, known: dict[str, form.ObjectLine], keys: Iterable[str]
) -> tuple[list[form.ObjectLine], list[form.ObjectLine], list[str]]:
    """All objects, those that were copied, and keys of those that are not there."""
    lines, copied, missing = [], [], []
    for key in keys:
        line, file = known.get(key), folder / "objects" / key
        if line is None or not file.exists() or file.stat().st_size != line.size_bytes:
            try:
                line = await _copied(store, target, key)
            except FileNotFoundError:
                missing.append(key)
                continue
            copied.append(line)
        lines.append(line)
    return lines, copied, missing


async def _copied(store: Store, target: Store, key: str) -> form.ObjectLine:
    digest, size = hashlib.sha256(), 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal size
        async for chunk in store.get_raw(key):
            digest.update(chunk)
            size += len(chunk)
            yield chunk

    await target.put_raw(f"objects/{key}", counted())
    return form.ObjectLine(key=key, size_bytes=size, sha256=digest.hexdigest())


async def copied_erasures(store: Store, target: Store) -> None:
    """Copy what is new in the journal."""
    there = {key async for keys in target.keys(journal.PREFIX) for key in keys}
    async for keys in store.keys(journal.PREFIX):
        for key in keys:
            if key not in there:
                await target.put_raw(key, store.get_raw(key))
