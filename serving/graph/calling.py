"""Asks a deployment of the graph and gets an answer, whatever becomes of its replicas meanwhile."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import DecoderStateLost, EngineFault, EngineUnavailable
from serving.graph import messages
from serving.graph.messages import ReplicaDescription

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

#: How long no replica may give a sign of life, seconds: one that is started anew has its models to load.
PATIENCE_S: Final = 120.0

#: How long an answer is waited for before somebody looks whether any replica is there at all, seconds. Answers
#: themselves may take as long as they do: replicas that do not compute are found out by Serve's checks.
_PROBE_S: Final = 15.0

#: How long replicas have to describe themselves, seconds: as long as their loops are not held up, milliseconds.
_DESCRIBE_S: Final = 10.0

#: So many replicas that ended while they had the same request may have ended of it.
_MAX_DEATHS: Final = 3

#: Wait before the first next try, and the longest, seconds; half of it is left to chance.
_AGAIN_S, _MAX_AGAIN_S = 0.1, 2.0


class Remote:
    """A deployment that takes and gives bytes. Belongs to one event loop."""

    def __init__(
        self,
        name: str,
        handle: "DeploymentHandle",
        *,
        patience_s: float = PATIENCE_S,
        resent: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """`name`: for messages; `resent`: is told why, whenever something is sent again."""
        self.name = name
        self._handle = handle
        self._patience_s = patience_s
        self._resent = resent
        self._sign_at = -float("inf")
        """When a replica gave a sign of life last, by `time.monotonic`."""
        self._probing: asyncio.Task[Any] | None = None
        self._waking: asyncio.Task[bytes] | None = None
        self._waiting = 0
        """How many wait for that."""
        self._needs = 0
        self._needed_at = -float("inf")
        """When somebody needed it last, by `time.monotonic`."""

    @property
    def idle_s(self) -> float:
        """For how long nobody has needed it, seconds: 0 while somebody does, infinite before that."""
        return 0.0 if self._needs else time.monotonic() - self._needed_at

    @contextmanager
    def needed(self) -> Iterator[None]:
        """While the block lasts, as while it is asked something, somebody needs it. To ask how it is, is no need."""
        self._needs += 1
        try:
            yield
        finally:
            self._needs -= 1
            self._needed_at = time.monotonic()

    async def ask(self, method: str, request: bytes | None, *, pin: str = "", again: bool = True) -> bytes:
        """The answer of one replica to `request`; of another one where the first is lost. Where there is none, but may
        be one, Serve starts it for this.

        Args:
            request: None for a method that takes none.
            pin: id of the replica that is to answer; where that is gone, any other does.
            again: False where only that one can.

        Raises:
            EngineUnavailable: nobody gave a sign of life for as long as the patience lasts.
            EngineFault: what answered was not our program, or several replicas ended over this.
            DecoderStateLost: with `again=False`, the replica was lost.
        """
        with self.needed():
            return await self._answer(method, request, pin, again)

    async def woken(self) -> tuple[ReplicaDescription, ...]:
        """How a replica is. Where there is none Serve starts one for this, which is waited for; one request does for
        all who wait at the same time, for each that is out counts where Serve works out how many to start.

        Raises:
            EngineUnavailable, EngineFault: as `ask`.
        """
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self.ask("describe", None))
        self._waiting += 1
        try:
            return (messages.decode(await asyncio.shield(self._waking), ReplicaDescription),)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._waking.cancel()
                # Whoever comes next is not to wait for one that was canceled.
                self._waking = None

    async def present(self) -> tuple[ReplicaDescription, ...]:
        """How each replica is that answers at once; nothing where there is none. Starts none.

        Raises:
            EngineUnavailable: there are some, and none does.
        """
        try:
            answers = await self._handle.broadcast("describe").results_async(
                timeout_s=_DESCRIBE_S, return_exceptions=True
            )
        except TimeoutError:
            # One that hangs does not hide the others: this goes to one that answers.
            answers = await self._one_description()
        except Exception as error:
            reason = lost_by(error)
            if reason is None:
                raise
            if reason == "not_deployed":
                return ()
            raise EngineUnavailable(f"no replica of {self.name} is there") from error
        found = tuple(messages.decode(one, ReplicaDescription) for one in answers if isinstance(one, bytes))
        if not found:
            raise EngineUnavailable(f"no replica of {self.name} answers")
        self._sign_at = time.monotonic()
        return found

    async def descriptions(self) -> tuple[ReplicaDescription, ...]:
        """The same of those that are there.

        Raises:
            EngineUnavailable: none is, or none answers.
        """
        found = await self.present()
        if not found:
            raise EngineUnavailable(f"no replica of {self.name} is there")
        return found

    async def _answer(self, method: str, request: bytes | None, pin: str, again: bool) -> bytes:
        """See `ask`."""
        began = time.monotonic()
        deaths, pause_s = 0, _AGAIN_S
        while True:
            try:
                return await self._once(method, request, pin, began)
            except Exception as error:
                reason = lost_by(error)
                if reason is None:
                    raise
                lost = error
            if not again:
                raise DecoderStateLost(f"the replica of {self.name} that had the parts before it was lost") from lost
            deaths += reason == "replica_died"
            if deaths >= _MAX_DEATHS:
                raise EngineFault(f"{deaths} replicas of {self.name} ended while they had the same request") from lost
            if reason == "busy":
                self._sign_at = time.monotonic()
            self._require_patience(began)
            self._resent(reason)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, _MAX_AGAIN_S)

    async def _one_description(self) -> list[bytes]:
        response = self._handle.options(method_name="describe").remote()
        try:
            async with asyncio.timeout(_DESCRIBE_S):
                return [await response]
        except TimeoutError:
            response.cancel()
            return []
        except Exception as error:
            if lost_by(error) is None:
                raise
            return []

    async def _once(self, method: str, request: bytes | None, pin: str, began: float) -> bytes:
        handle = self._handle.options(method_name=method, session_id=pin)
        response = handle.remote() if request is None else handle.remote(request)
        waiting = asyncio.create_task(_result(response))
        try:
            while not (await asyncio.wait({waiting}, timeout=_PROBE_S))[0]:
                await self._probe(began)
            answer = waiting.result()
            self._sign_at = time.monotonic()
            return answer
        except BaseException:
            waiting.cancel()
            response.cancel()
            raise

    async def _probe(self, began: float) -> None:
        """Look whether anybody is there, if nobody was heard of for a while. Raises EngineUnavailable."""
        if time.monotonic() - self._sign_at < _PROBE_S:
            return
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self.descriptions())
            # Nobody need be left who waits for it.
            self._probing.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            await asyncio.shield(self._probing)
        except EngineUnavailable:
            self._require_patience(began)

    def _require_patience(self, began: float) -> None:
        silent_s = time.monotonic() - max(self._sign_at, began)
        if silent_s > self._patience_s:
            raise EngineUnavailable(f"no replica of {self.name} was heard of for {silent_s:.0f} s")


async def _result(response: "Awaitable[Any]") -> bytes:
    """What comes back. Raises EngineFault where the program at the other end is not ours."""
    answer = await response
    if not isinstance(answer, bytes):
        raise EngineFault(f"an answer of type {type(answer).__name__}")
    return answer


def lost_by(error: BaseException) -> str | None:
    """How a request was lost that another replica, or the same one later, may well answer, in a word; None where the
    error says something else.

    `replica_died` is what it says; `replica_unavailable` may have ended or be out of reach; `answer_lost` went with the
    node that it was on; `not_deployed` are all of them just now, and `busy` as many as there may be.
    """
    from ray import exceptions as ray
    from ray.serve import exceptions as serve

    kinds: tuple[tuple[str, tuple[type[BaseException], ...]], ...] = (
        ("replica_died", (ray.ActorDiedError, ray.WorkerCrashedError)),
        ("replica_unavailable", (ray.RayActorError, ray.NodeDiedError, serve.ReplicaUnavailableError)),
        ("answer_lost", (ray.ObjectLostError, ray.RpcError, ray.TaskCancelledError, ray.LocalRayletDiedError)),
        ("not_deployed", (serve.DeploymentUnavailableError,)),
        ("busy", (serve.BackPressureError,)),
    )
    return next((word for word, classes in kinds if isinstance(error, classes)), None)
