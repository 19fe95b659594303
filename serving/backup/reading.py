"""Reads what a snapshot says about itself."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from pipeline.errors import Altered
from serving.backup import form
from serving.backup.rows import lines
from serving.errors import BackupRefused, MasterKeyMissing
from serving.places import Places
from serving.storage.store import Store

#: What there may be to a snapshot that cannot be read: its keys are elsewhere, the master key that it was made with was
#: taken away since, or something is damaged.
UNREADABLE: Final = (BackupRefused, MasterKeyMissing, Altered, OSError)


async def manifest_of(target: Store, keys_folder: Path, name: str, place: Places) -> form.Manifest:
    """What a snapshot holds.

    Raises:
        BackupRefused: there is no such one, or its keys are not there.
        MasterKeyMissing: the master key that it was made with is not here.
        Altered: it is not what was written.
    """
    keys = form.read_keys(keys_folder, name)
    key = await place.keyring.master.unwrap(keys.manifest, form.manifest_key(name), keys.master)
    what = form.sealed_file(name, "manifest")
    return form.parsed(b"".join([chunk async for chunk in target.get(what, key)]), name)


async def listed(target: Store, manifest: form.Manifest) -> AsyncIterator[form.ObjectLine]:
    """Objects of a snapshot. Raises Altered."""
    async for line in lines(target.get(form.sealed_file(manifest.name, "objects"), manifest.objects_key)):
        yield msgspec.json.decode(line, type=form.ObjectLine)


async def rows_of(target: Store, manifest: form.Manifest, table: str) -> AsyncIterator[dict[str, bytes]]:
    """Rows of a small table of a snapshot, column -> value as COPY has it; none where the snapshot has no such table.
    Raises Altered."""
    for one in manifest.tables:
        if one.name == table:
            async for line in lines(target.get(form.sealed_file(manifest.name, table), one.key)):
                yield dict(zip(one.columns, line.rstrip(b"\n").split(b"\t"), strict=True))
