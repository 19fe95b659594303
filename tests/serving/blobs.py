"""What a store keeps, past the store: for tests that look at it, and for those that change it."""

import asyncio

import httpx
import obstore

from serving.storage.bucket import Bucket
from serving.storage.folder import Folder
from serving.storage.store import Store


class Blobs:
    """The objects of a store, sealed as they are."""

    def __init__(self, store: Store) -> None:
        self._objects = store._objects
        self._store = store._objects._store

    def keys(self) -> list[str]:
        """Of all that is there, with what is unfinished: its name has a `#` in it."""
        if isinstance(self._objects, Folder):
            root = self._objects._root
            return sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())
        whole = [entry["path"] for entry in obstore.list(self._store).collect()]
        return sorted(whole + self._unfinished())

    def _unfinished(self) -> list[str]:
        assert isinstance(self._objects, Bucket)
        listed = self._objects._unfinished
        assert listed is not None

        async def look() -> list[str]:
            async with httpx.AsyncClient(verify=False) as client:
                return [
                    f"{upload.path.removeprefix(listed.prefix)}#{upload.upload_id}"
                    async for upload in listed._all(client, listed.prefix)
                ]

        return asyncio.run(look())

    def read(self, key: str) -> bytes:
        """A blob."""
        return bytes(obstore.get(self._store, key).bytes())

    def write(self, key: str, blob: bytes) -> None:
        """Put a blob in its place, or a new one."""
        obstore.put(self._store, key, blob)

    def delete(self, key: str) -> None:
        """Take one away."""
        obstore.delete(self._store, key)
