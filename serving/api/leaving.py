"""Notices that whoever asked has left while what they asked for is made, so that it need not be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from litestar import Request
from litestar.types import Receive

from serving.errors import ClientGone


async def until_gone(receive: Receive) -> None:
    """Return when the client has left. Nobody else may receive meanwhile."""
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def unless_left(request: Request[Any, Any, Any]) -> AsyncIterator[None]:
    """The block is canceled when the client leaves. For what only waits: a block that writes is not ended like that.

    Raises:
        ClientGone: it has.
    """
    block = asyncio.current_task()
    assert block is not None
    gone = asyncio.create_task(until_gone(request.receive))
    told = False

    def leave(_: object) -> None:
        nonlocal told
        if not gone.cancelled():
            told = block.cancel()

    gone.add_done_callback(leave)
    try:
        yield
    except asyncio.CancelledError:
        # Canceled by others, too, it is theirs.
        if not told or block.uncancel() > 0:
            raise
        raise ClientGone("the connection ended before there was an answer") from None
    finally:
        gone.remove_done_callback(leave)
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone
