"""The one place that knows which kinds of stores there are. What a kind needs is loaded where it is used."""

from pathlib import Path

from serving.settings import Settings
from serving.storage.address import address
from serving.storage.objects import Objects


def objects(settings: Settings, folder: Path) -> Objects:
    """Where objects are by the settings.

    Args:
        folder: of the server's data.

    Raises:
        InvalidSettings: what they, or the environment, say about the store cannot be.
    """
    storage = settings.storage
    where = address(storage.url, storage.endpoint)
    if where is None or where.kind == "file":
        from serving.storage.folder import Folder

        return Folder(folder / "objects" if where is None else Path(where.path))
    from serving.storage.bucket import Bucket
    from serving.storage.spool import Spool

    spool = Spool(Path(storage.spool_dir or folder / "spool"), storage.spool_max_bytes)
    return Bucket(where, spool, endpoint=storage.endpoint, most_bytes=settings.upload.max_bytes)
