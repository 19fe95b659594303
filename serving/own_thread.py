"""Work that may hang, on a thread that nobody has to wait for."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def on_own_thread(work: Callable[[], T], unwanted: Callable[[T], None]) -> T:
    """What `work` gives, run on a thread of its own that nobody waits for at the end of the process: what hangs in it
    hangs there. `unwanted` is given what comes after this was given up."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - code of somebody else's may even want to exit
            told = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
            if done.set_running_or_notify_cancel():
                done.set_exception(told)
        else:
            if done.set_running_or_notify_cancel():
                done.set_result(result)
            else:
                unwanted(result)

    threading.Thread(target=run, name="load", daemon=True).start()
    return await asyncio.wrap_future(done)
