"""A real HTTP server that a test tells what to answer, and that remembers what it was asked."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

from serving.egress import Egress
from serving.ids import new_id
from serving.jobs import outbox
from serving.webhooks import endpoints
from serving.webhooks.delivery import Deliverer

LOOPBACK = frozenset({"127.0.0.0/8"})


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """Its body; raises where the signature is not good."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """`answer(asked)` gives a status, raw bytes to write, or None to hang up."""

    answer: Callable = lambda _: 200
    port: int = 0
    connections: int = 0
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            asked = Asked(head[0].split()[1], headers, body)
            self.asked.append(asked)
            said = self.answer(asked)
            if asyncio.iscoroutine(said):
                said = await said
            if isinstance(said, int):
                said = f"HTTP/1.1 {said} X\r\ncontent-length: 2\r\n\r\nok".encode()
            if said is not None:
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            # Whoever asked went away; what they got until then is what the test looks at.
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(answer: Callable = lambda _: 200, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver(answer)
    listening = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = listening.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        listening.close()


@dataclass(frozen=True)
class Made:
    """An endpoint that was made."""

    id: str
    secret: str


@asynccontextmanager
async def delivering(world, count: int = 1, **how) -> AsyncIterator[None]:
    """As many deliverers at once."""
    stop = asyncio.Event()
    egress = how.pop("egress", None) or Egress(allowed=LOOPBACK)
    tasks = [
        asyncio.create_task(Deliverer(world.database, world.keyring, egress, **how).serve(stop)) for _ in range(count)
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def endpoint_at(world, url: str, *, tenant: str = "a", events: tuple[str, ...] = ()) -> Made:
    """An endpoint whose URL is not looked at."""
    async with world.database.write("webhook.write", tenant) as session:
        known = await endpoints.create(session, world.keyring, tenant, url, list(events), "")
    return Made(known.row.id, known.secrets.secret)


async def told(world, count: int = 1, *, tenant: str = "a", type_: str = "job.succeeded", **data) -> list[str]:
    """Ids of messages that were put into the outbox."""
    ids = []
    async with world.database.write("webhook.write", tenant) as session:
        for _ in range(count):
            ids.append(await outbox.tell(session, tenant, type_, new_id("req"), data or {"job_id": "job_1"}))
    return ids


async def until(world, query: str, expected: Any, timeout_s: float = 20.0) -> None:
    """Wait until the first value that a query gives is as expected."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = (await world.sql(query))[0][0]
            if found == expected:
                return
            await asyncio.sleep(0.02)


UNDELIVERED = "SELECT count(*) FROM webhook_delivery WHERE state <> 'delivered'"
