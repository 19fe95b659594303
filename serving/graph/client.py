"""Speaks to the graph's gateway for the API, which knows nothing of Ray. No state but connections, and those may break:
a cluster that was started again is found at the same place."""

import asyncio
from typing import TYPE_CHECKING, Final

from pipeline.errors import EngineUnavailable, InvalidSettings

if TYPE_CHECKING:
    import httpx

    from serving.graph.messages import Embedded

#: Where texts are embedded.
EMBED: Final = "/embed"

#: The header with the key, and the type of what is sent and answered.
HEADER: Final = "x-automations-graph"
MESSAGE: Final = "application/x-automations"

#: How long a connection may take to be made, and an answer to come, seconds. While the graph starts there is nobody at
#: that port, or a proxy that knows of no application yet: both say so at once.
_CONNECT_S: Final = 2.0
_ANSWER_S: Final = 30.0


class GraphClient:
    """Of one API process."""

    def __init__(self, url: str, key: str) -> None:
        """`url`: of the gateway; `key`: what it wants to be shown.

        Raises:
            InvalidSettings: no such address or key can be.
        """
        if not url.startswith(("http://", "https://")):
            raise InvalidSettings(f"graph.url: {url}: no address; it begins with http:// or https://")
        if not key.isascii() or not key.isprintable():
            raise InvalidSettings("graph.key holds characters that no key has")
        self._url, self._key = url.rstrip("/"), key
        self._http: httpx.AsyncClient | None = None

    async def embed(self, model: str, texts: tuple[str, ...], space: str | None = None) -> "Embedded":
        """Vectors of texts.

        Args:
            model: as jobs ask for it.
            space: that they have to be of; None: whatever the model's is now.

        Raises:
            EngineUnavailable: the graph is away, starts, or has too much to do.
            VideoError: as the graph refuses: `ModelUnavailable`, `ModelReplaced`, ...
        """
        if self._http is None:
            # Not worth its time before somebody asks, and others are not to wait for it either.
            self._http = await asyncio.to_thread(self._connections)
        from serving.graph import messages

        asked = messages.EmbedTexts(model=model, space=space, texts=texts)
        return messages.answer(await self._ask(self._http, EMBED, messages.encode(asked)), messages.Embedded)

    async def close(self) -> None:
        """Close all connections."""
        if self._http is not None:
            await self._http.aclose()

    def _connections(self) -> "httpx.AsyncClient":
        import httpx

        from serving.graph import messages as messages

        timeout = httpx.Timeout(_ANSWER_S, connect=_CONNECT_S)
        return httpx.AsyncClient(timeout=timeout, headers={HEADER: self._key}, trust_env=False)

    async def _ask(self, http: "httpx.AsyncClient", path: str, body: bytes) -> bytes:
        import httpx

        try:
            answer = await self._sent(http, path, body)
        except httpx.TimeoutException as error:
            raise EngineUnavailable("the graph gave no answer in time") from error
        except httpx.TransportError as error:
            raise EngineUnavailable(f"the graph cannot be reached: {type(error).__name__}") from error
        except httpx.InvalidURL as error:
            raise InvalidSettings(f"graph.url: {self._url}: no address ({error})") from error
        if answer.status_code == 403:
            raise EngineUnavailable(
                "the graph takes this server for another one: graph.key or the data folder is not its"
            )
        if answer.status_code != 200 or answer.headers.get("content-type") != MESSAGE:
            # Of Serve's proxy: the application is not there yet, has no replica, or too much to do.
            raise EngineUnavailable(f"the graph is not there just now (status {answer.status_code})")
        return answer.content

    async def _sent(self, http: "httpx.AsyncClient", path: str, body: bytes) -> "httpx.Response":
        import httpx

        headers = {"content-type": MESSAGE}
        try:
            return await http.post(f"{self._url}{path}", content=body, headers=headers)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            # A connection of a proxy that is no more: it shows when it is used. Nothing is done twice that matters.
            return await http.post(f"{self._url}{path}", content=body, headers=headers)
