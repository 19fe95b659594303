"""A video's bytes over HTTP: any range, as RFC 9110 has it."""

import random

import httpx
import pytest

from pipeline.sealed.form import HEADER_BYTES, fresh
from tests.serving.playback.conftest import content_of, uploaded, url_of

#: Five segments, the last one short.
SIZE = 4 * fresh().plain_bytes + 1234
CONTENT = content_of(SIZE)


def test_what_it_says_of_itself(call_shared):
    async def body(api):
        video = await uploaded(api.a, CONTENT, 'é "x";.webm')
        answer = await api.a.get(f"/v1/videos/{video}/stream")
        sha256 = (await api.a.get(f"/v1/videos/{video}")).json()["sha256"]
        assert answer.status_code == 200
        assert answer.content == CONTENT
        told = {
            "content-type": "video/webm",
            "content-length": str(SIZE),
            "accept-ranges": "bytes",
            "etag": f'"{sha256}"',
            "x-content-type-options": "nosniff",
            "cache-control": "private, no-cache",
            "content-disposition": "inline; filename*=UTF-8''%C3%A9%20%22x%22%3B.webm",
        }
        assert {name: answer.headers.get(name) for name in told} == told
        assert answer.headers["last-modified"].endswith(" GMT")
        head = await api.a.head(f"/v1/videos/{video}/stream", headers={"Range": "bytes=0-9"})
        assert (head.status_code, head.content) == (200, b"")
        varies = {"date", "x-request-id", "ratelimit", "ratelimit-policy"}
        assert {k: v for k, v in head.headers.items() if k not in varies} == {
            k: v for k, v in answer.headers.items() if k not in varies
        }

    call_shared(body)


RANGES = {
    # asked: status, first byte, one after the last
    "bytes=0-0": (206, 0, 1),
    "bytes=0-": (206, 0, SIZE),
    "BYTES=5-9": (206, 5, 10),
    "bytes= 5-9": (206, 5, 10),
    f"bytes={SIZE - 1}-": (206, SIZE - 1, SIZE),
    f"bytes=10-{SIZE + 99}": (206, 10, SIZE),
    f"bytes=10-{10**18}": (206, 10, SIZE),
    "bytes=-1": (206, SIZE - 1, SIZE),
    f"bytes=-{SIZE * 2}": (206, 0, SIZE),
    f"bytes={SIZE}-": (416, 0, 0),
    f"bytes={SIZE + 5}-{SIZE + 9}": (416, 0, 0),
    "bytes=-0": (416, 0, 0),
    # None, or more than one: all of it.
    "bytes=9-5": (200, 0, SIZE),
    "bytes=-": (200, 0, SIZE),
    "bytes=": (200, 0, SIZE),
    "bytes=a-b": (200, 0, SIZE),
    "bytes=0x1-2": (200, 0, SIZE),
    "bytes=٣-٤": (200, 0, SIZE),
    "items=0-5": (200, 0, SIZE),
    "bytes=0-1,5-9": (200, 0, SIZE),
    "bytes=0-1,": (200, 0, SIZE),
}


def test_ranges(call_shared):
    async def body(api):
        url = await url_of(api.a, await uploaded(api.a, CONTENT))
        for asked, (status, start, stop) in RANGES.items():
            answer = await api.nobody.get(url, headers={"Range": asked.encode()})
            assert answer.status_code == status, asked
            if status == 416:
                assert answer.headers["content-range"] == f"bytes */{SIZE}"
                assert answer.json()["code"] == "range_not_satisfiable"
                continue
            assert answer.content == CONTENT[start:stop], asked
            said = f"bytes {start}-{stop - 1}/{SIZE}" if status == 206 else None
            assert answer.headers.get("content-range") == said

    call_shared(body)


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.drill)])
def test_random_ranges_are_what_was_uploaded(call_shared, count):
    drawn = random.Random(1)

    async def body(api):
        url = await url_of(api.a, await uploaded(api.a, CONTENT))
        for _ in range(count):
            start, stop = sorted(drawn.sample(range(SIZE + 1), 2))
            answer = await api.nobody.get(url, headers={"Range": f"bytes={start}-{stop - 1}"})
            assert answer.status_code == 206
            assert answer.content == CONTENT[start:stop]

    call_shared(body)


def test_conditions(call_shared):
    async def body(api):
        video = await uploaded(api.a, CONTENT)
        url = await url_of(api.a, video)
        first = await api.nobody.get(url)
        tag, date = first.headers["etag"], first.headers["last-modified"]
        earlier, later = "Mon, 01 Jan 2024 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
        some = {"Range": "bytes=3-7"}
        for headers, status in (
            ({"If-None-Match": tag}, 304),
            ({"If-None-Match": f'"x", W/{tag}'}, 304),
            ({"If-None-Match": "*"}, 304),
            ({"If-None-Match": '"x"'}, 200),
            ({"If-None-Match": '"x"', "If-Modified-Since": later}, 200),
            ({"If-Modified-Since": date}, 304),
            ({"If-Modified-Since": earlier}, 200),
            ({"If-Modified-Since": "yesterday"}, 200),
            ({"If-None-Match": tag, **some}, 304),
            ({"If-Match": tag}, 200),
            ({"If-Match": f"W/{tag}"}, 412),
            ({"If-Match": '"x"', **some}, 412),
            ({"If-Unmodified-Since": earlier}, 412),
            ({"If-Unmodified-Since": date, **some}, 206),
            ({"If-Range": tag, **some}, 206),
            ({"If-Range": date, **some}, 206),
            ({"If-Range": f"W/{tag}", **some}, 200),
            ({"If-Range": '"x"', **some}, 200),
            ({"If-Range": later, **some}, 200),
            ({"If-Range": "x", **some}, 200),
            ({"If-Range": tag}, 200),
        ):
            answer = await api.nobody.get(url, headers=headers)
            assert answer.status_code == status, headers
            if status == 304:
                assert (answer.content, answer.headers["etag"]) == (b"", tag)
                assert (await api.nobody.head(url, headers=headers)).status_code == 304
            elif status < 300:
                assert answer.content == (CONTENT[3:8] if status == 206 else CONTENT)

    call_shared(body)


def test_bytes_that_were_changed_are_not_sent(call_shared):
    async def body(api):
        video = await uploaded(api.a, content_of(SIZE, 3))
        url = await url_of(api.a, video)
        (row,) = await api.world.sql("SELECT object_key FROM video WHERE id = :i", i=video)
        file = api.store._objects._root / row.object_key
        sealed = bytearray(file.read_bytes())
        sealed[HEADER_BYTES + 3 * fresh().segment_bytes] ^= 1
        file.write_bytes(sealed)
        whole, good, bad = "bytes=0-", "bytes=0-999", f"bytes={3 * fresh().plain_bytes}-"
        assert (await api.nobody.get(url, headers={"Range": good})).content == content_of(SIZE, 3)[:1000]
        answer = await api.nobody.get(url, headers={"Range": bad})
        assert (answer.status_code, answer.json()["code"]) == (422, "altered")
        # What was good was sent by then; that there is no more of it is told by the connection's end.
        with pytest.raises(httpx.RemoteProtocolError):
            await api.nobody.get(url, headers={"Range": whole})

    call_shared(body)
