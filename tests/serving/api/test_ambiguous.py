"""Messages that two parsers could read differently: each is refused and its connection closed, or read one way. So
nothing that a proxy in front takes for a body is a request here."""

import asyncio
import re
from urllib.parse import urlsplit

import pytest

#: What is smuggled; its answer is the only one with 200.
HIDDEN = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"

_POST = b"POST /v1/auth/logout HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
_GET = b"GET /problems/conflict HTTP/1.1\r\nHost: a\r\n"


def _chunked(size: bytes) -> bytes:
    return _POST + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n{}\r\n0\r\n\r\n"


REFUSED = {
    "both lengths": _POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, the other way": _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": _POST + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
    "the same length twice": _POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": _POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": _POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": _POST + b"Content-Length: -2\r\n\r\n{}",
    "a length in hex": _POST + b"Content-Length: 0x2\r\n\r\n{}",
    "a huge length": _POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "an unknown coding": _POST + b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunked not last": _POST + b"Transfer-Encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a control in a coding": _POST + b"Transfer-Encoding: chunked\x0b\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a space before a colon": _POST + b"Content-Length : 2\r\n\r\n{}",
    "a folded header": _GET + b"X-Long: a\r\n b\r\n\r\n",
    "a folded length": _POST + b"Content-Length:\r\n 2\r\n\r\n{}",
    "bare line feeds": _POST.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}",
    "a bare carriage return": _GET + b"X: a\rContent-Length: 40\r\n\r\n",
    "a zero in a value": _GET + b"X: a\x00b\r\n\r\n",
    "a name that is none": _GET + b"X(y): a\r\n\r\n",
    "a chunk of no size": _chunked(b""),
    "a signed chunk": _chunked(b"+2"),
    "a chunk in hex twice": _chunked(b"0x2"),
    "a huge chunk": _chunked(b"ffffffffffffffffff2"),
    "a chunk with a bare line feed": _chunked(b"2").replace(b"2\r\n{}", b"2\n{}"),
}

READ_ONE_WAY = {
    "a chunk with an extension": _chunked(b"2;a=b"),
    "a chunk of small letters": _chunked(b"0002"),
    "a length in a GET": _GET + b"Content-Length: 0\r\n\r\n",
}


async def _statuses(address: str, sent: bytes) -> tuple[list[int], bool]:
    """What each request on one connection was answered with, and whether it was closed by the server."""
    where = urlsplit(address)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(sent)
    said, closed = b"", False
    try:
        while not closed:
            more = await asyncio.wait_for(reader.read(1 << 16), 0.5)
            said, closed = said + more, not more
    except TimeoutError:
        pass
    except ConnectionError:
        closed = True
    writer.close()
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", said)], closed


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_read_in_two_ways_is_not_read(call_shared, name):
    async def body(api):
        statuses, closed = await _statuses(api.address, REFUSED[name] + HIDDEN)
        assert statuses in ([400], [])
        assert closed

    call_shared(body)


@pytest.mark.parametrize("name", READ_ONE_WAY)
def test_the_rest_ends_where_it_says(call_shared, name):
    async def body(api):
        statuses, closed = await _statuses(api.address, READ_ONE_WAY[name] + HIDDEN)
        assert len(statuses) == 2
        assert statuses[1] == 200
        assert not closed

    call_shared(body)
