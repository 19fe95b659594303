"""Google Cloud Storage and Azure Blob Storage: made of a URL and an environment, they ask where they should, and as
whom. What answers here is no such service: it writes down what is asked of it."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from serving.storage.address import address
from serving.storage.bucket import Bucket
from serving.storage.spool import Spool

_ANSWERS = {
    "uploads": b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>",
    "uploadId": b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>",
}


class _Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str, set[str], str, int]]

    def _any(self) -> None:
        url = urlsplit(self.path)
        asked = set(parse_qs(url.query, keep_blank_values=True))
        size = len(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        who = self.headers.get("Authorization", "").partition(":")[0]
        self.seen.append((self.command, unquote(url.path), asked, who, size))
        answer = next((_ANSWERS[one] for one in _ANSWERS if self.command == "POST" and one in asked), b"")
        self.send_response(201 if self.command == "PUT" else 200)
        for name, value in (("Content-Length", str(len(answer))), ("ETag", '"e"')):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST = _any  # noqa: N815

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def recorder() -> Iterator[tuple[str, list]]:
    """Its address, and what was asked of it."""
    handler = type("Recorder", (_Recorder,), {"seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler.seen
        server.shutdown()
        thread.join()


async def _mebibytes(number: int):
    for _ in range(number):
        yield bytes(1 << 20)


def _put(url: str, endpoint: str, folder) -> None:
    bucket = Bucket(address(url, endpoint), Spool(folder, 1), endpoint=endpoint)  # type: ignore[arg-type]

    async def both() -> None:
        await bucket.put("videos/small", _mebibytes(1))
        await bucket.put("videos/large", _mebibytes(17))

    asyncio.run(both())


def test_azure(recorder, tmp_path, monkeypatch):
    endpoint, seen = recorder
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    _put("az://container/prefix", endpoint, tmp_path)
    assert {who for _, _, _, who, _ in seen} == {"SharedKey account"}
    assert seen[0][:2] == ("PUT", "/container/prefix/videos/small")
    assert {(method, path) for method, path, *_ in seen[1:]} == {("PUT", "/container/prefix/videos/large")}
    # Blocks, and last the list that makes a blob of them.
    assert sorted(size for _, _, asked, _, size in seen if "blockid" in asked) == [1 << 20, 8 << 20, 8 << 20]
    assert seen[-1][2] == {"comp"}


def test_google(recorder, tmp_path, monkeypatch):
    endpoint, seen = recorder
    private = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"private_key": private.decode(), "private_key_id": "k", "client_email": "a@example.com"}
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(account))
    _put("gs://bucket/prefix", endpoint, tmp_path)
    assert all(who.startswith("Bearer ey") for _, _, _, who, _ in seen)
    assert seen[0][:2] == ("PUT", "/bucket/prefix/videos/small")
    assert {path for _, path, *_ in seen[1:]} == {"/bucket/prefix/videos/large"}
    assert sorted(size for _, _, asked, _, size in seen if "partNumber" in asked) == [1 << 20, 8 << 20, 8 << 20]
    assert [asked for method, _, asked, _, _ in seen if method == "POST"] == [{"uploads"}, {"uploadId"}]
