"""An API that answers from its first moment on: whether it lives, at once; everything else as soon as it can.

Loading what the API is made of takes over a second, and its database may not be there yet. Whoever watches over the
process need not take that for its death. Imports nothing that takes long, for this is what is there meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, Protocol

import msgspec

from serving.errors import Starting
from serving.ids import new_id
from serving.own_thread import on_own_thread
from serving.problems import kind_of

#: For how long a request waits for an API that is not there yet, seconds.
PATIENCE_S: Final = 10.0

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class App(Protocol):
    """What is waited for."""

    def __call__(self, scope: Any, receive: Any, send: Any, /) -> Awaitable[None]:
        """See ASGI."""
        ...

    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """What has to be there while it answers."""
        ...


class Early:
    """ASGI: stands for an app until that is there, and hands everything to it from then on."""

    def __init__(self, build: Callable[[], App], end: Callable[[], None], waits: Callable[[], str]) -> None:
        """
        Args:
            build: makes the app; called in a thread.
            end: has the server stop; called when there will be no app.
            waits: what of the database is waited for, in a few words; empty where that is not known.
        """
        self._build, self._end, self._waits = build, end, waits
        self._app: App | None = None
        self._settled = asyncio.Event()
        self._stop = asyncio.Event()
        self.failure: BaseException | None = None
        """Why there will be no app."""

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/livez":
            await _answer(send, 200, {"checks": {"api": "ok"}})
        elif scope["type"] == "http" and scope["path"] == "/readyz":
            waits = self._waits()
            await _answer(send, 503, {"checks": {"api": "starting"} | ({"database": waits} if waits else {})})
        else:
            await self._wait(scope, receive, send)

    async def _wait(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), PATIENCE_S)
        if self._app is not None:
            await self._app(scope, receive, send)
        else:
            request_id = new_id("req")
            told = _problem(Starting(f"the server starts; {self._waits() or 'it waits for its database'}"), request_id)
            await _answer(send, 503, told, request_id)

    async def _live(self, receive: _Receive, send: _Send) -> None:
        """The server's life: over when it is told to stop, whether the app is there by then or not."""
        await receive()
        running = asyncio.create_task(self._run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._stop.set()
        if not self._settled.is_set():
            running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await send({"type": "lifespan.shutdown.complete"})

    async def _run(self) -> None:
        try:
            app = await on_own_thread(self._build, lambda _: None)
            async with app.lifespan():
                self._app = app
                self._settled.set()
                await self._stop.wait()
        except Exception as error:  # noqa: BLE001 - told by whoever runs the server
            self.failure = error
            self._end()
        finally:
            self._settled.set()


def _problem(error: Starting, request_id: str) -> dict[str, Any]:
    """As `problem.Problem`, which takes too long to load."""
    kind = kind_of(error.code)
    return {
        "type": f"/problems/{error.code}",
        "title": kind.title,
        "status": kind.status,
        "code": error.code,
        "detail": str(error),
        "errors": [],
        "retryable": error.retryable,
        "request_id": request_id,
    }


async def _answer(send: _Send, status: int, body: dict[str, Any], request_id: str = "") -> None:
    encoded = msgspec.json.encode(body)
    headers = [
        (b"content-type", b"application/problem+json" if "code" in body else b"application/json"),
        (b"content-length", str(len(encoded)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-request-id", (request_id or new_id("req")).encode()),
        (b"x-content-type-options", b"nosniff"),
        *([(b"retry-after", b"1")] if status == 503 else []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": encoded, "more_body": False})
