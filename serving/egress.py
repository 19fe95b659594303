"""The only way on which the server makes HTTP requests on somebody's behalf.

Whoever names a URL must not get at what only this machine can reach: other services on it, its network, the metadata of
its cloud. So a name is resolved once, by the same resolver that a plain connection would use; every address that this
gave has to be one of the public Internet; and the connection goes to the very address that was checked. What the name
leads to a moment later does not matter. TLS still verifies the name, and the request still carries it.

Proxies that the environment names are not used: they would do the resolving.
"""

import asyncio
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

import httpcore
import httpx

from serving.addresses import checked, require_public
from serving.errors import AddressRefused, FetchedTooMuch, FetchFailed

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Host and port -> addresses, as texts. Raises OSError where there is none."""

#: How often a redirect is followed.
MAX_HOPS: Final = 5

#: Seconds for a connection to one address, and for each wait within a request.
_CONNECT_S: Final = 5.0
_STEP_S: Final = 15.0

#: Statuses of answers that may be others in a while; all from 500 on are besides.
_PASSING: Final = frozenset({408, 425, 429})

_USER_AGENT: Final = b"automations/1"

#: Threads that wait for names. Not asyncio's own, which others may have filled with work of minutes.
_RESOLVING: Final = ThreadPoolExecutor(16, thread_name_prefix="resolving")


async def system_resolver(host: str, port: int) -> list[str]:
    """What the operating system makes of a name."""
    ask = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_RESOLVING, ask)
    return [str(entry[4][0]) for entry in found]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of those sent twice, the last."""
    body: bytes
    """Its beginning."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Something that is being read."""

    url: str
    """Where it was in the end, after redirects."""
    headers: Mapping[str, str]
    """As in `Answer`."""
    chunks: AsyncIterator[bytes]
    """Its bytes, as they come. Raises FetchFailed where they are too many, or break off."""


class Egress:
    """Makes requests, to public addresses only."""

    def __init__(
        self,
        *,
        allowed: frozenset[str] = frozenset(),
        resolve: Resolver = system_resolver,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """
        Args:
            allowed: networks that are let through besides, as `127.0.0.0/8`.
            trust: whose certificates count; the usual authorities where none is given.
        """
        self._allowed = allowed
        self._backend = _Pinned(resolve, allowed)
        self._trust = trust or httpx.create_ssl_context(trust_env=False)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, max_bytes: int = 4096
    ) -> Answer:
        """Send a body. Redirects are answers like others. Of the answer's body, `max_bytes` are read.

        Args:
            timeout_s: for all of it: name, connection, request and answer.

        Raises:
            AddressRefused: not a URL that this server goes to.
            FetchFailed: no answer came, or none in time.
        """
        parsed = checked(url, self._allowed)
        async with self._failing_in_one_way(timeout_s), self._pool() as pool:
            request = _request("POST", parsed, headers, body)
            async with _answered(pool, request) as response:
                read = bytearray()
                async for chunk in response.aiter_stream():
                    read += chunk
                    if len(read) >= max_bytes:
                        break
                return Answer(response.status, _headers(response), bytes(read[:max_bytes]))

    @asynccontextmanager
    async def fetch(
        self, url: str, *, max_bytes: int, timeout_s: float, max_hops: int = MAX_HOPS
    ) -> AsyncIterator[Fetched]:
        """Read what is at a URL; it is checked anew wherever a redirect leads.

        Args:
            max_bytes: of the body; more is an error.
            timeout_s: for all of it, to the last byte.

        Raises:
            AddressRefused: the URL, or one that it leads to, is not one that this server goes to.
            FetchFailed: there was no answer, not in time, or another one than 200; it says whether that may pass.
            FetchedTooMuch: there is more than `max_bytes`.
        """
        async with self._failing_in_one_way(timeout_s), self._pool() as pool:
            for _ in range(max_hops + 1):
                parsed = checked(url, self._allowed)
                async with _answered(pool, _request("GET", parsed, {"accept": "*/*"}, None)) as response:
                    headers = _headers(response)
                    if response.status not in (301, 302, 303, 307, 308):
                        if response.status != 200:
                            raise _answered_otherwise(response.status, headers.get("retry-after", ""))
                        _require_size(headers.get("content-length", ""), max_bytes)
                        yield Fetched(str(parsed), headers, _bounded(response, max_bytes))
                        return
                    url = _next(parsed, headers.get("location", ""))
            raise FetchFailed(f"the address redirects more than {max_hops} times", retryable=False)

    def _pool(self) -> httpcore.AsyncConnectionPool:
        # One for each request: nobody's connection is used for what somebody else asks for.
        return httpcore.AsyncConnectionPool(
            ssl_context=self._trust, max_keepalive_connections=0, network_backend=self._backend
        )

    @asynccontextmanager
    async def _failing_in_one_way(self, timeout_s: float) -> AsyncIterator[None]:
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                yield
        except (TimeoutError, httpcore.TimeoutException) as error:
            # Whoever reads in the block may run into a time limit of their own.
            if isinstance(error, TimeoutError) and not limit.expired():
                raise
            raise FetchFailed("the address did not answer in time") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
            what = f"the address cannot be read ({type(error).__name__}: {str(error)[:200]})"
            # Certificates do not mend themselves.
            certificate = isinstance(error.__cause__ or error, ssl.SSLCertVerificationError)
            raise FetchFailed(what, retryable=not certificate) from error


class _Pinned(httpcore.AsyncNetworkBackend):
    """Opens connections to addresses that were checked: every connection of an `Egress` is made here."""

    def __init__(self, resolve: Resolver, allowed: frozenset[str]) -> None:
        self._resolve, self._allowed = resolve, allowed
        self._plain: httpcore.AsyncNetworkBackend = httpcore.AnyIOBackend()  # type: ignore[assignment]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See `AsyncNetworkBackend`."""
        try:
            found = [ip_address(text) for text in await self._resolve(host, port)]
        except (OSError, UnicodeError) as error:
            passing = isinstance(error, OSError) and error.errno != socket.EAI_NONAME
            raise FetchFailed("the name of the host is not known", retryable=passing) from error
        # One bad address is enough: a name that has both kinds was made to be tried until the bad one is used.
        require_public(found, self._allowed)
        failure: Exception = FetchFailed("the name of the host has no address")
        for address in dict.fromkeys(found):
            try:
                return await self._plain.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise AddressRefused("a socket of this machine is no public address")

    async def sleep(self, seconds: float) -> None:
        """See `AsyncNetworkBackend`."""
        await asyncio.sleep(seconds)


def _request(method: str, url: httpx.URL, headers: Mapping[str, str], body: bytes | None) -> httpcore.Request:
    sent = {
        b"host": url.netloc,
        b"user-agent": _USER_AGENT,
        # Nothing is unpacked here: what is small on the way may be huge.
        b"accept-encoding": b"identity",
        **{name.lower().encode(): value.encode() for name, value in headers.items()},
    }
    if body is not None:
        sent[b"content-length"] = str(len(body)).encode()
    return httpcore.Request(
        method,
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=list(sent.items()),
        content=body,
        extensions={"timeout": {"connect": _CONNECT_S, "read": _STEP_S, "write": _STEP_S, "pool": _STEP_S}},
    )


@asynccontextmanager
async def _answered(pool: httpcore.AsyncConnectionPool, request: httpcore.Request) -> AsyncIterator[httpcore.Response]:
    response = await pool.handle_async_request(request)
    try:
        yield response
    finally:
        await response.aclose()


def _headers(response: httpcore.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _next(url: httpx.URL, location: str) -> str:
    try:
        found = url.join(location)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise FetchFailed("the address redirects to what is no URL", retryable=False) from error
    if not location or (url.scheme == "https" and found.scheme == "http"):
        raise FetchFailed("the address redirects to nowhere, or from https to http", retryable=False)
    return str(found)


def _answered_otherwise(status: int, retry_after: str) -> FetchFailed:
    # Retry-After may be a date, too. Then the usual wait has to do.
    after_s = float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 7 else 0.0
    passing = status >= 500 or status in _PASSING
    return FetchFailed(f"the address answers with HTTP status {status}", retryable=passing, after_s=after_s)


def _require_size(length: str, max_bytes: int) -> None:
    if length.isdecimal() and int(length) > max_bytes:
        raise FetchedTooMuch(f"there are {length} bytes or more at the address, at most {max_bytes} are read")


async def _bounded(response: httpcore.Response, max_bytes: int) -> AsyncIterator[bytes]:
    read = 0
    async for chunk in response.aiter_stream():
        read += len(chunk)
        _require_size(str(read), max_bytes)
        yield chunk
