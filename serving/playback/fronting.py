"""Objects whose beginning is known at their end only: all else is written first, and then copied behind it."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from serving.ids import new_id
from serving.storage.store import Store, Written, video_at


async def put_behind(
    store: Store, tenant: str, pieces: AsyncGenerator[bytes], head: Callable[[], bytes]
) -> tuple[str, Written]:
    """Write `pieces`, behind a head, as an object of a video: (its key, what was put). What was written meanwhile is
    sealed, too, with a key that is nowhere but here.

    Args:
        head: asked for when all pieces have come.

    Raises:
        OSError: see `Store`. And what `pieces` raises; there is no object then.
    """
    draft, object_key = (f"videos/{new_id('vid')}" for _ in range(2))
    what = video_at(tenant, draft)
    written = await store.put(what, pieces)
    try:

        async def whole() -> AsyncGenerator[bytes]:
            yield head()
            async with aclosing(store.get(what, written.key)) as rest:
                async for piece in rest:
                    yield piece

        return object_key, await store.put(video_at(tenant, object_key), whole())
    finally:
        # Nothing names it: if not now, the sweep deletes it.
        with contextlib.suppress(OSError):
            await store.delete(draft)
