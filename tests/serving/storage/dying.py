"""Writes an object without an end into a store, until somebody kills it. An empty ENDPOINT: in the folder.

python -m tests.serving.storage.dying FOLDER KEY ENDPOINT
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from serving.storage.store import video_at
from tests.serving.buckets import ENDPOINT
from tests.serving.sealing import store_at

CHUNK = bytes(1 << 20)


async def _endless() -> AsyncIterator[bytes]:
    for number in range(1 << 20):
        yield CHUNK
        # After these, three parts are full, of which the first is certainly written.
        if number == 25:
            await asyncio.sleep(0.5)
            print("under way", flush=True)
            await asyncio.sleep(600)


if __name__ == "__main__":
    folder, key, endpoint = sys.argv[1:]
    os.environ[ENDPOINT] = endpoint
    asyncio.run(store_at(Path(folder)).put(video_at("a", key), _endless()))
