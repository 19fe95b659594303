"""A line to a PostgreSQL that can be frozen: what a lost network or a stopped machine is like. Nothing breaks off,
nothing is refused, and nothing comes any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.engine import make_url


class Line:
    """Passes bytes on until it is frozen."""

    def __init__(self, url: str) -> None:
        self.url = url
        """Of the same database, through this line."""
        self._thawed = asyncio.Event()
        self._thawed.set()

    def freeze(self) -> None:
        """Pass nothing on from now on."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Go on."""
        self._thawed.set()

    async def passed(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Until there is no more."""
        try:
            while chunk := await source.read(1 << 16):
                await self._thawed.wait()
                target.write(chunk)
                await target.drain()
        finally:
            target.close()


@asynccontextmanager
async def line(url: str, folder: Path) -> AsyncIterator[Line]:
    """A line to the embedded server at `url`, whose socket is in `folder`."""
    made = make_url(url)
    (real,) = Path(str(made.query["host"])).glob(".s.PGSQL.*[0-9]")
    through = Line(made.update_query_dict({"host": str(folder)}).render_as_string(hide_password=False))
    passing: set[asyncio.Task] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(real)
        passing.update({asyncio.create_task(through.passed(*pair)) for pair in ((reader, ours), (theirs, writer))})

    there = await asyncio.start_unix_server(connected, folder / real.name)
    try:
        yield through
    finally:
        there.close()
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
