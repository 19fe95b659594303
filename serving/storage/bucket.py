"""Objects in a bucket: S3 and what speaks it, Google Cloud Storage, Azure Blob Storage.

Credentials, regions and proxies are what obstore reads from the environment, as the tools of these services do.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from pipeline.errors import InvalidSettings
from serving.errors import StorageUnavailable
from serving.storage.address import Address
from serving.storage.objects import Objects
from serving.storage.spool import Spool
from serving.storage.unfinished import Unfinished, unfinished_of

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config

#: Bytes of a part, at least. S3 takes no less than 5 MiB, and no more than 10,000 parts.
_PART_BYTES: Final = 8 << 20
_MOST_PARTS: Final = 10_000

#: Parts of one object that are under way at once; as many are in memory, and one more.
_AT_ONCE: Final = 2

#: How long a request may take, seconds: so long, and as long as its bytes take on a slow line.
_TIMEOUT_S, _BYTES_PER_S = 30.0, 256e3

#: A request that fails is tried again so often, and for so long: who uploads waits meanwhile.
_RETRIES, _RETRIED_S = 5, 60.0

#: What is told of an answer that is none. All else of it may be secret.
_STATUS: Final = re.compile(r"status code: ([0-9]{3})\b")
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")


class Bucket(Objects):
    """Objects in a bucket, or under a prefix in it."""

    def __init__(self, where: Address, spool: Spool, *, endpoint: str = "", most_bytes: int = 0) -> None:
        """
        Args:
            spool: where files are for those who need one.
            endpoint: of a server that is not the service's own; http is spoken where it says so.
            most_bytes: of an object, so that it has no more parts than it may.

        Raises:
            InvalidSettings: what the environment says about the store cannot be.
        """
        self._part_bytes = max(_PART_BYTES, -(-most_bytes * 101 // 100 // _MOST_PARTS))
        super().__init__(opened(where, endpoint, self._part_bytes), str(where))
        self._spool = spool
        self._unfinished: Unfinished | None = unfinished_of(where, endpoint)

    async def put(self, key: str, chunks: AsyncIterable[bytes]) -> None:
        """See `Objects.put`. What fits into one part is one request; all else is written in parts, which become an
        object all together at the end."""
        source = aiter(chunks)
        head = bytearray()
        async for chunk in source:
            head += chunk
            if len(head) >= self._part_bytes:
                await self._written(key, _joined(head, source), part_bytes=self._part_bytes, at_once=_AT_ONCE)
                break
        else:
            try:
                with self._errors():
                    await obstore.put_async(self._store, key, bytes(head), use_multipart=False)
            except FileNotFoundError as error:
                raise self._told(str(error)) from None

    def file(self, key: str) -> AbstractAsyncContextManager[Path]:
        """See `Objects.file`. Its bytes are fetched first, all of them."""
        return self._spool.file(key, self)

    async def delete(self, key: str) -> bool:
        """See `Objects.delete`."""
        self._spool.forget(key)
        return await super().delete(key)

    async def sweep_unfinished(self, prefix: str, before: datetime) -> int:
        """See `Objects.sweep_unfinished`. Where the store does not list them to us, its lifecycle rule has to do it."""
        return 0 if self._unfinished is None else await self._unfinished.sweep(prefix, before)

    def _said(self, error: BaseError | FileNotFoundError) -> str:
        # Some servers answer a signature that they do not take with all that was signed, session tokens included.
        text = str(error)
        status, code = _STATUS.search(text), _CODE.search(text)
        said = (type(error).__name__, f"status {status[1]}" if status else "", code[1] if code else "")
        return ", ".join(filter(None, said))

    def _told(self, said: str) -> OSError:
        return StorageUnavailable(f"{self.name}: {said}")


async def _joined(head: bytearray, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield bytes(head)
    head.clear()
    async for chunk in rest:
        yield chunk


def opened(where: Address, endpoint: str, part_bytes: int) -> ObjectStore:
    """The store of an address. Nothing is asked of it yet. Raises InvalidSettings."""
    client: ClientConfig = {
        "timeout": timedelta(seconds=_TIMEOUT_S + part_bytes / _BYTES_PER_S),
        "connect_timeout": timedelta(seconds=10),
    }
    if endpoint.startswith("http://"):
        client["allow_http"] = True
    retry: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRIED_S)}
    prefix = where.path or None
    try:
        match where.kind:
            case "s3":
                s3: S3Config = {"endpoint": endpoint} if endpoint else {}
                return S3Store(where.bucket, prefix=prefix, config=s3, client_options=client, retry_config=retry)
            case "gs":
                gs: GCSConfig = {"base_url": endpoint} if endpoint else {}
                return GCSStore(where.bucket, prefix=prefix, config=gs, client_options=client, retry_config=retry)
            case "az":
                az: AzureConfig = {"endpoint": endpoint} if endpoint else {}
                return AzureStore(where.bucket, prefix=prefix, config=az, client_options=client, retry_config=retry)
            case "file":
                raise AssertionError("a folder is no bucket")
    except (BaseError, ValueError) as error:
        # The message may say what the environment holds.
        raise InvalidSettings(
            f"storage.url: the store cannot be used with what the environment says about it ({type(error).__name__}); "
            "docs/storage.md lists the variables"
        ) from None
