"""Deployments that load nothing."""

import asyncio
from typing import Any

from ray import serve


class Echo:
    """Says which replica it is, after a while."""

    async def __call__(self) -> str:
        """Its id."""
        await asyncio.sleep(0.01)
        return serve.get_replica_context().replica_id.unique_id


class Front:
    """Holds the others together; asked for nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def __call__(self) -> None:
        """Nothing."""
