"""Reads by id, which frontends ask for all the time: without dependencies, for the framework resolves several of them
in tasks of their own, which takes longer than the read itself."""

from types import SimpleNamespace
from typing import Any

from litestar import Request

from serving.api.access import principal_of
from serving.db.quick import Function, QuickReads


async def read_quickly(request: Request[Any, Any, Any], function: Function, name: str) -> SimpleNamespace | None:
    """The row of whoever asks under this id; None where there is none. Raises as `QuickReads.row`."""
    quick: QuickReads = request.app.state.quick
    return await quick.row(function, principal_of(request).tenant_id, name)
