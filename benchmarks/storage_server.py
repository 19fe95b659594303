"""The server that `benchmarks.storage` asks: the real API, its objects sealed, or as they came.

python -m benchmarks.storage_server URL FOLDER SECRET_HEX [--plain]     prints its port
"""

import argparse
import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import msgspec
import uvloop

from benchmarks.api_server import serve
from pipeline.sealed.form import What
from serving.api.app import create_app
from serving.db.database import Database
from serving.options import LimitOptions
from serving.settings import DEFAULTS
from serving.storage.keyring import Keyring, fresh_key
from serving.storage.master import LocalMaster
from serving.storage.store import Store, Written


class PlainStore(Store):
    """A store that seals nothing: what the same server does with less to do."""

    async def put(self, what: What, chunks: AsyncIterable[bytes]) -> Written:
        """As `Store.put`, hashed beside the writing as there."""
        digest, size = hashlib.sha256(), 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            waiting: list[bytes] = []
            held = 0
            async for chunk in chunks:
                waiting.append(chunk)
                held += len(chunk)
                if held >= 1 << 20:
                    piece, waiting, held = b"".join(waiting), [], 0
                    size += len(piece)
                    hashed = asyncio.get_running_loop().run_in_executor(None, digest.update, piece)
                    yield piece
                    await hashed
            piece = b"".join(waiting)
            size += len(piece)
            digest.update(piece)
            yield piece

        await self._objects.put(what.blob, counted())
        return Written(size, digest.hexdigest(), fresh_key())


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(prog="benchmarks.storage_server")
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("secret", type=bytes.fromhex)
    parser.add_argument("--plain", action="store_true")
    args = parser.parse_args()
    # One key asks as fast as it can: not as many times a second as is let in, but as many as can be answered.
    settings = msgspec.structs.replace(DEFAULTS, limits=LimitOptions(requests_per_s=1e6, burst=1_000_000))
    store = (PlainStore if args.plain else Store)(args.folder, Keyring(LocalMaster([bytes(32)])))
    uvloop.run(serve([create_app(Database(args.url), store, settings, args.secret)]))


if __name__ == "__main__":
    main()
