"""How an app cuts off who asked, where the server it runs in lets it."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

#: The extension of ASGI by which a server says that it can: `{"abort": a function that ends the connection now}`.
CONNECTION: Final = "automations.connection"

#: For how long is waited for the server to say that the connection is gone, seconds.
_PATIENCE_S: Final = 1.0


async def cut_off(scope: Mapping[str, Any], gone: "asyncio.Task[None]") -> None:
    """End the connection of a request, with what is not sent yet. Servers that have no such extension do what they do
    with answers that are not complete.

    Args:
        gone: done once the server says that the connection is gone.
    """
    extension = (scope.get("extensions") or {}).get(CONNECTION)
    if extension is None:
        return
    extension["abort"]()
    # By then the server knows that there is nobody to complete the answer for.
    await asyncio.wait({gone}, timeout=_PATIENCE_S)
