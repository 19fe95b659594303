"""Reads what a snapshot says about itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from serving.backup import form
from serving.places import Places
from serving.storage.store import Store


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
    rest = b""
    async for chunk in target.get(form.sealed_file(manifest.name, "objects"), manifest.objects_key):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield msgspec.json.decode(line, type=form.ObjectLine)
