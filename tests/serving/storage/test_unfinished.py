"""Requests to S3 that obstore has no call for: signed as the service's own library does it, and asked page by page."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from serving.errors import StorageUnavailable
from serving.storage.address import Address
from serving.storage.signing import Credentials, signed
from serving.storage.unfinished import Unfinished, unfinished_of
from tests.serving.buckets import NAME

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
AT = datetime(2026, 11, 26, 12, 34, 56, tzinfo=UTC)


@pytest.mark.parametrize("token", ["", "a session's token/+="])
@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/bucket", {"uploads": "", "prefix": "a b/c~d"}),
        ("/bucket/a b/c+d/ü", {"uploadId": "x/y=+"}),
        ("/bucket/a", {"uploadId": "1", "part-number-marker": "1000", "A": "&"}),
    ],
)
def test_signatures_are_those_of_the_services_own_library(path, query, token):
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Theirs

    class Then(S3SigV4Auth):
        """Signs as of then."""

        def add_auth(self, request):
            request.context["timestamp"] = "20261126T123456Z"
            self._modify_request_before_signing(request)
            canonical = self.canonical_request(request)
            signature = self.signature(self.string_to_sign(request, canonical), request)
            self._inject_signature_to_request(request, signature)

    ours = Credentials(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], token)
    target, headers = signed(ours, "eu-central-1", "GET", "s3.example.com:9000", path, query, AT)
    assert dict(parse_qsl(urlsplit(target).query, keep_blank_values=True)) == query
    request = AWSRequest("GET", f"https://s3.example.com:9000{target}", headers={"x-amz-date": "20261126T123456Z"})
    request.context["payload_signing_enabled"] = True
    theirs = Theirs(ours.key_id, ours.secret, token or None)
    Then(theirs, "s3", "eu-central-1").add_auth(request)
    assert headers["authorization"] == request.headers["Authorization"]


def test_all_pages_are_asked_for(s3_server):
    """More than two pages of uploads, of which one has more than a page of parts."""
    found = unfinished_of(Address("s3", NAME, "pages"), s3_server)
    assert found is not None
    ours = replace(found, page=3)
    with httpx.Client(base_url=s3_server, verify=False) as client:
        for number in range(8):
            prefix = "pages" if number else "other"
            begun = client.post(f"/{NAME}/{prefix}/videos/{number}", params={"uploads": ""}).text
            upload = begun.partition("<UploadId>")[2].partition("</UploadId>")[0]
            for part in range(1, 8 if number == 4 else 2):
                query = {"partNumber": part, "uploadId": upload}
                client.put(f"/{NAME}/{prefix}/videos/{number}", params=query, content=b"x").raise_for_status()

    async def body() -> None:
        now = datetime.now(UTC)
        assert await ours.sweep("videos", now - timedelta(minutes=1)) == 0, "parts came just now"
        assert await ours.sweep("uploads", now + timedelta(minutes=1)) == 0
        assert await ours.sweep("videos", now + timedelta(minutes=1)) == 7
        assert await ours.sweep("videos", now + timedelta(minutes=1)) == 0
        others = unfinished_of(Address("s3", NAME, "other"), s3_server)
        assert others is not None
        assert await others.sweep("videos", now + timedelta(minutes=1)) == 1

    asyncio.run(body())


def test_who_may_not_ask_is_told(s3_server):
    nowhere = unfinished_of(Address("s3", "no-such-bucket", ""), s3_server)
    assert nowhere is not None
    with pytest.raises(StorageUnavailable, match="status 404"):
        asyncio.run(nowhere.sweep("videos", AT))
    gone = unfinished_of(Address("s3", NAME, ""), "http://127.0.0.1:9")
    assert gone is not None
    with pytest.raises(StorageUnavailable, match="ConnectError"):
        asyncio.run(gone.sweep("videos", AT))


def test_where_it_cannot_be_asked_nothing_is(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    assert unfinished_of(Address("s3", "bucket", ""), "") == Unfinished(
        "https://s3.us-east-1.amazonaws.com", "bucket", "", "us-east-1", Credentials(*KEYS.values())
    )
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example.com/")
    found = unfinished_of(Address("s3", "bucket", "a"), "")
    assert found is not None
    assert (found.endpoint, found.prefix, found.region) == ("https://s3.example.com", "a/", "eu-central-1")
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in repr(found)
    assert unfinished_of(Address("gs", "bucket", ""), "") is None
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    assert unfinished_of(Address("s3", "bucket", ""), "") is None
    monkeypatch.delenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert unfinished_of(Address("s3", "bucket", ""), "") is None
