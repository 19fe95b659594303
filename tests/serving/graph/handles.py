"""A handle to replicas that are in this process: routed as Serve does with our router, and lost as replicas are."""

import asyncio
import random
from collections.abc import Callable

from ray.exceptions import ActorDiedError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError


class Handle:
    """Stands for `ray.serve.handle.DeploymentHandle`. `replicas`: id -> what answers; may be changed at any time."""

    def __init__(self, replicas: dict, *, method: str = "", pin: str = "", state: "_State | None" = None) -> None:
        self.replicas = replicas
        self._method, self._pin = method, pin
        self._state = state or _State()

    @property
    def asked(self) -> list[tuple[str, str]]:
        """(method, id) of every request so far that got as far as a replica."""
        return self._state.asked

    @property
    def waiting(self) -> int:
        """Requests that wait for a replica to be there: what makes Serve start one."""
        return self._state.waiting

    def lose(self, trouble: Callable[[str, str], BaseException | None]) -> None:
        """(method, id) -> what becomes of the answer, which the replica has given by then."""
        self._state.trouble = trouble

    def options(self, *, method_name: str, session_id: str = "") -> "Handle":
        """See `DeploymentHandle.options`."""
        return Handle(self.replicas, method=method_name, pin=session_id, state=self._state)

    def remote(self, *args) -> "Response":
        """See `DeploymentHandle.remote`."""
        return Response(self._answer(*args))

    def broadcast(self, method: str) -> "Broadcast":
        """See `DeploymentHandle.broadcast`."""
        return Broadcast(self, method)

    async def _answer(self, *args) -> bytes:
        self._state.waiting += 1
        try:
            while not self.replicas:
                await asyncio.sleep(0.01)
        finally:
            self._state.waiting -= 1
        chosen = self._pin if self._pin in self.replicas else random.choice(list(self.replicas))
        return await self._answer_of(chosen, self._method, *args)

    async def _answer_of(self, chosen: str, method: str, *args) -> bytes:
        self._state.asked.append((method, chosen))
        answer = await getattr(self.replicas[chosen], method)(*args)
        if (trouble := self._state.trouble(method, chosen)) is not None:
            raise trouble
        if chosen not in self.replicas:
            raise ActorDiedError()
        return answer


class _State:
    """What copies of a handle have in common."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.waiting = 0
        self.trouble: Callable[[str, str], BaseException | None] = lambda method, replica: None


class Response:
    """See `DeploymentResponse`."""

    def __init__(self, work) -> None:
        self._task = asyncio.ensure_future(work)

    def __await__(self):
        return self._task.__await__()

    def cancel(self) -> None:
        """See `DeploymentResponse.cancel`."""
        self._task.cancel()


class Broadcast:
    """See `DeploymentBroadcastResponse`."""

    def __init__(self, handle: Handle, method: str) -> None:
        self._handle, self._method = handle, method

    async def results_async(self, *, timeout_s: float, return_exceptions: bool) -> list:
        """See `DeploymentBroadcastResponse.results_async`."""
        if not self._handle.replicas:
            raise DeploymentUnavailableError(DeploymentID("engine-default", "automations"))
        answers = (self._handle._answer_of(one, self._method) for one in list(self._handle.replicas))
        return await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=return_exceptions), timeout_s)
