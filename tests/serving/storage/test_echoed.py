"""A server that answers with what it was asked, credentials and all: of that nobody is told anything, nor is a log."""

import asyncio
import logging
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from serving.doctor import examine_storage
from serving.errors import StorageUnavailable
from serving.settings import DEFAULTS
from serving.storage.address import Address
from serving.storage.bucket import Bucket
from serving.storage.spool import Spool
from serving.uploads.becoming import told
from tests.serving.api.conftest import call
from tests.serving.playback.conftest import content_of

__all__ = ["call"]

_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAOFTHETEST",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
    "AWS_SESSION_TOKEN": "token-of-the-test",
    "AWS_REGION": "us-east-1",
}

#: What is in no message.
_SECRETS = (*list(_ENVIRONMENT.values())[:3], "AWSAccessKeyId", "SignatureProvided", "x-amz-security-token", "<Code>")


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        signature = self.headers.get("Authorization", "").rpartition("Signature=")[2]
        token = self.headers.get("x-amz-security-token")
        body = (
            "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIAOFTHETEST</AWSAccessKeyId>"
            f"<SignatureProvided>{signature}</SignatureProvided>"
            f"<CanonicalRequest>x-amz-security-token:{token}</CanonicalRequest></Error>"
        ).encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815 - what they have to be called

    def log_message(self, format: str, *args: object) -> None:
        """Not in the output of tests."""


@pytest.fixture
def echo(monkeypatch) -> Iterator[str]:
    """Its address."""
    for name, value in _ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _bucket(endpoint: str, folder) -> Bucket:
    return Bucket(Address("s3", "bucket", "x"), Spool(folder / "spool", 1 << 20), endpoint=endpoint)


def _clean(text: str) -> bool:
    return not [secret for secret in _SECRETS if secret in text]


def test_errors_hold_nothing_of_an_answer_but_its_code(echo, tmp_path):
    bucket = _bucket(echo, tmp_path)

    async def chunks(count: int):
        for _ in range(count):
            yield bytes(1 << 20)

    asked = {
        "put": lambda: bucket.put("k", chunks(1)),
        "put in parts": lambda: bucket.put("k", chunks(10)),
        "found": lambda: bucket.found("k", 0, 10, lambda found: found),
        "version": lambda: bucket.version("k"),
        "delete": lambda: bucket.delete("k"),
        "ready": bucket.ready,
    }
    for name, ask in asked.items():
        with pytest.raises(StorageUnavailable) as caught:
            asyncio.run(ask())
        assert _clean("".join(traceback.format_exception(caught.value))), name
        # There is no body where only the head is asked for.
        code = "" if name == "version" else ", SignatureDoesNotMatch"
        kind = "GenericError" if name == "ready" else "PermissionDeniedError"
        assert str(caught.value) == f"s3://bucket/x: {kind}, status 403{code}", name
        assert told(caught.value)["detail"] == "the storage does not answer as it should; the server's log says more"


def test_doctor_tells_no_more(echo, tmp_path):
    storage = msgspec.structs.replace(DEFAULTS.storage, url="s3://bucket/x", endpoint=echo)
    server = msgspec.structs.replace(DEFAULTS.server, data_dir=str(tmp_path))
    (found,) = examine_storage(msgspec.structs.replace(DEFAULTS, storage=storage, server=server))
    assert (found.good, found.says) == (
        False,
        "s3://bucket/x: PermissionDeniedError, status 403, SignatureDoesNotMatch",
    )


def test_who_uploads_is_told_that_it_is_so_and_the_log_why(call, echo, tmp_path, caplog, monkeypatch):
    async def body(api):
        monkeypatch.setattr(api.store, "_objects", _bucket(echo, tmp_path))
        with caplog.at_level(logging.INFO):
            answer = await api.a.post("/v1/videos", params={"filename": "x.webm"}, content=content_of(1000))
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["retryable"]) == (503, "storage_unavailable", True)
        assert problem["detail"] == "the storage does not answer as it should; the server's log says more"
        assert "SignatureDoesNotMatch" in caplog.text
        assert _clean(caplog.text)

    call(body)
