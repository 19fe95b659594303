"""Copies into a backup what it does not have yet: objects, and the journal of erasures."""

import hashlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from pipeline.errors import Altered
from serving.backup import form
from serving.backup.reading import UNREADABLE, listed, manifest_of
from serving.places import Places
from serving.rights import journal
from serving.rights.journal import Erased
from serving.storage.store import Store


async def known_objects(
    target: Store, folder: Path, keys_folder: Path, place: Places
) -> tuple[dict[str, form.ObjectLine], list[str]]:
    """Objects of the latest snapshot that can be read, and names of the later ones, which cannot: that is no reason not
    to make another. Where none can, all objects are copied."""
    unreadable: list[str] = []
    for name in reversed(form.names(folder)):
        try:
            opened = await manifest_of(target, keys_folder, name, place)
            return {line.key: line async for line in listed(target, opened)}, unreadable
        except UNREADABLE:
            unreadable.append(name)
    return {}, unreadable


async def copied_objects(
    store: Store, target: Store, folder: Path, known: dict[str, form.ObjectLine], keys: Iterable[str], proved: bool
) -> tuple[list[form.ObjectLine], list[form.ObjectLine], list[str]]:
    """All objects, those that were copied, and keys of those that are not there. `proved`: those that were there
    already are read, and copied again where they are not what they were."""
    lines, copied, missing = [], [], []
    for key in keys:
        line, file = known.get(key), folder / "objects" / key
        is_there = line is not None and file.exists() and file.stat().st_size == line.size_bytes
        if line is None or not is_there or (proved and not await is_whole(target, line)):
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


async def is_whole(target: Store, line: form.ObjectLine) -> bool:
    """Whether an object of a backup is what was saved."""
    digest, size = hashlib.sha256(), 0
    try:
        async for chunk in target.get_raw(f"objects/{line.key}"):
            digest.update(chunk)
            size += len(chunk)
    except OSError:
        return False
    return (size, digest.hexdigest()) == (line.size_bytes, line.sha256)


async def damaged_in(
    target: Store, folder: Path, keys_folder: Path, place: Places, proved: Iterable[str]
) -> tuple[str, ...]:
    """What is damaged or gone of all snapshots that can be read, but for objects that were `proved`: names of objects,
    and of files."""
    done, damaged = set(proved), []
    for name in form.names(folder):
        try:
            manifest = await manifest_of(target, keys_folder, name, place)
            # What was erased since is in the list, and nowhere else.
            kept = {row.object_key for row in form.read_keys(keys_folder, name).data_keys}
            async for line in listed(target, manifest):
                if line.key in kept and line.key not in done:
                    done.add(line.key)
                    damaged += [] if await is_whole(target, line) else [line.key]
        except UNREADABLE:
            continue  # It is told of besides.
        for table in manifest.tables:
            try:
                async for _ in target.get(form.sealed_file(name, table.name), table.key):
                    pass
            except (Altered, OSError):
                damaged.append(f"snapshots/{name}/{table.name}")
    return tuple(damaged)


async def copied_erasures(target: Store, there: Iterable[Erased], entries: Iterable[Erased]) -> None:
    """Have a backup's journal be these entries. `there`: what it has."""
    had = {one.id: one for one in there}
    await journal.write_all(target, [one for one in entries if had.get(one.id) != one])
