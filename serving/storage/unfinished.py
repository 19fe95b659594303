"""Parts of objects that were never finished, in S3 and what speaks it: listed, and taken back.

They are no objects, so no listing of objects shows them, and they are paid for. obstore has no call for them. Where
this cannot ask for them either, a lifecycle rule of the bucket has to take them back: see docs/storage.md.
"""

import logging
import os
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import httpx

from serving.errors import StorageUnavailable
from serving.storage.address import Address
from serving.storage.signing import Credentials, signed

_LOG = logging.getLogger(__name__)

_TIMEOUT_S: Final = 30.0

#: Variables that name a server that is not the service's own, as obstore reads them.
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


@dataclass(frozen=True, slots=True)
class _Upload:
    path: str
    upload_id: str
    initiated: datetime


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Those of one bucket."""

    endpoint: str
    """Without a slash at its end."""
    bucket: str
    prefix: str
    """What the keys of all our objects begin with in it; empty, or with a slash at its end."""
    region: str
    credentials: Credentials
    page: int = 1000
    """Entries of an answer; servers give no more."""

    async def sweep(self, prefix: str, before: datetime) -> int:
        """Take back what was begun, and last added to, before a moment; how many there were.

        Args:
            prefix: of keys, within that of all our objects.

        Raises:
            StorageUnavailable: the store does not answer, or does not let us.
        """
        removed = 0
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=True) as client:
            async for upload in self._all(client, f"{self.prefix}{prefix}/"):
                if upload.initiated >= before or await self._last_part(client, upload) >= before:
                    continue
                await self._ask(client, "DELETE", upload.path, {"uploadId": upload.upload_id})
                removed += 1
        return removed

    async def _all(self, client: httpx.AsyncClient, prefix: str) -> AsyncIterator[_Upload]:
        marker: dict[str, str] = {}
        while True:
            page = await self._ask(
                client, "GET", "", {"uploads": "", "prefix": prefix, "max-uploads": str(self.page), **marker}
            )
            for one in _children(page, "Upload"):
                if _text(one, "Key").startswith(prefix):
                    yield _Upload(_text(one, "Key"), _text(one, "UploadId"), _moment(_text(one, "Initiated")))
            if _text(page, "IsTruncated") != "true":
                return
            marker = {"key-marker": _text(page, "NextKeyMarker"), "upload-id-marker": _text(page, "NextUploadIdMarker")}

    async def _last_part(self, client: httpx.AsyncClient, upload: _Upload) -> datetime:
        """When its latest part came; when it was begun, where there is none."""
        last, marker = upload.initiated, {}
        while True:
            page = await self._ask(
                client, "GET", upload.path, {"uploadId": upload.upload_id, "max-parts": str(self.page), **marker}
            )
            last = max([last, *(_moment(_text(part, "LastModified")) for part in _children(page, "Part"))])
            if _text(page, "IsTruncated") != "true":
                return last
            marker = {"part-number-marker": _text(page, "NextPartNumberMarker")}

    async def _ask(self, client: httpx.AsyncClient, method: str, key: str, query: dict[str, str]) -> ET.Element:
        """The answer; an empty one where what was asked for is gone."""
        path = f"/{self.bucket}/{key}" if key else f"/{self.bucket}"
        target, headers = signed(
            self.credentials, self.region, method, urlsplit(self.endpoint).netloc, path, query, datetime.now(UTC)
        )
        try:
            answer = await client.request(method, self.endpoint + target, headers=headers)
        except httpx.HTTPError as error:
            raise StorageUnavailable(f"unfinished uploads cannot be asked for ({type(error).__name__})") from error
        if answer.status_code == httpx.codes.NOT_FOUND and "uploadId" in query:
            return ET.Element("gone")
        if not answer.is_success:
            raise StorageUnavailable(
                f"unfinished uploads of {self.bucket} cannot be asked for (status {answer.status_code}); see "
                "docs/storage.md for what the server has to be allowed"
            )
        return ET.fromstring(answer.content) if answer.content.strip() else ET.Element("nothing")


def unfinished_of(where: Address, endpoint: str) -> Unfinished | None:
    """Those of a bucket; None where there is no way to ask for them: other services than S3, credentials that are not
    in the environment, addresses with the bucket's name in front."""
    if where.kind != "s3":
        return None
    key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    in_front = os.environ.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() in ("1", "true")
    if not key_id or not secret or in_front:
        _LOG.info("unfinished uploads are not swept in %s: its lifecycle rule has to (docs/storage.md)", where)
        return None
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    said = endpoint or next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    credentials = Credentials(key_id, secret, os.environ.get("AWS_SESSION_TOKEN", ""))
    prefix = f"{where.path}/" if where.path else ""
    address = said.rstrip("/") or f"https://s3.{region}.amazonaws.com"
    return Unfinished(address, where.bucket, prefix, region, credentials)


def _children(element: ET.Element, name: str) -> Iterator[ET.Element]:
    """Those of that name, whatever their namespace: servers differ in it."""
    return (child for child in element if child.tag.rpartition("}")[2] == name)


def _text(element: ET.Element, name: str) -> str:
    return next((child.text or "" for child in _children(element, name)), "")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
