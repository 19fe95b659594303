"""A master key that a service has, and never gives out: each key of a tenant makes a journey there and back."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NoReturn, Protocol

from pipeline.sealed.form import KEY_BYTES, What
from serving.errors import MasterKeyUnavailable
from serving.own_thread import on_own_thread
from serving.storage.master import missing

_LOG = logging.getLogger(__name__)

#: How long an answer is waited for, with all attempts, seconds. A request to us waits for half of that, see
#: `keyring.PATIENCE_S`.
WAIT_S: Final = 10.0

#: Questions that it is asked at once by a process: some hundred in a second, where it takes its usual milliseconds. Of
#: the connections to the database (`Database`), which most of those who ask have in hand, more than half are left.
AT_ONCE: Final = 4

#: How long a place among these is waited for, seconds; and how long one of them is asked for until it counts as slow,
#: whereupon all others are told so at once.
PLACE_S: Final = 1.0

#: For how long a service is left alone that did not answer, seconds; meanwhile all are told so at once.
REST_S: Final = 2.0

#: How old an answer may be that says that it answers, seconds.
ANSWERED_S: Final = 30.0

#: As what a key is wrapped that nothing is sealed with: to see whether that works.
_TRIAL: Final = What("", "", "trial", 1)


class KeyService(Protocol):
    """A service with one master key. It may take its time, and is called on threads; from several at once, too."""

    name: str
    """Of the master key."""

    def encrypt(self, key: bytes, what: What) -> bytes:
        """A key, wrapped as this. Raises MasterKeyUnavailable: it does not answer, or does not let us."""
        ...

    def decrypt(self, wrapped: bytes, what: What) -> bytes:
        """The key. Raises Altered where it is not what was wrapped as that; and as `encrypt`."""
        ...


class RemoteMaster:
    """A `Master` whose key a service has."""

    def __init__(self, service: KeyService, kept_s: float) -> None:
        """`kept_s`: for how long what it unwrapped is kept, seconds; so long it works on without the service, and so
        long it takes until it knows that the key is not to be used any more."""
        self._service, self._kept_s = service, kept_s
        self._trouble: MasterKeyUnavailable | None = None
        self._alone_until = 0.0
        self._answered = float("-inf")
        self._places = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[object, float] = {}
        """Since when each is, seconds, monotonic."""

    @property
    def name(self) -> str:
        """See `Master.name`."""
        return self._service.name

    def knows(self, name: str) -> bool:
        """See `Master.knows`."""
        return name == self._service.name

    def kept_s(self, name: str) -> float:
        """See `Master.kept_s`."""
        return self._kept_s

    async def wrap(self, key: bytes, what: What) -> bytes:
        """See `Master.wrap`."""
        return await self._asked(lambda: self._service.encrypt(key, what))

    async def unwrap(self, wrapped: bytes, what: What, name: str) -> bytes:
        """See `Master.unwrap`."""
        if not self.knows(name):
            raise missing(name)
        return await self._asked(lambda: self._service.decrypt(wrapped, what))

    async def check(self) -> None:
        """See `Master.check`. It is asked no more often than twice a minute while all is well: each time costs."""
        if time.monotonic() - self._answered > ANSWERED_S:
            await self.wrap(os.urandom(KEY_BYTES), _TRIAL)

    async def _asked(self, work: Callable[[], bytes]) -> bytes:
        self._require_spoken_to()
        async with self._place():
            return await self._answer(work)

    def _require_spoken_to(self) -> None:
        if self._trouble is not None and time.monotonic() < self._alone_until:
            raise MasterKeyUnavailable(str(self._trouble), away=True)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of those who ask at once. Raises MasterKeyUnavailable: there is none, and none soon."""
        now = time.monotonic()
        try:
            if self._places.locked() and now - min(self._under_way.values(), default=now) > PLACE_S:
                raise TimeoutError
            async with asyncio.timeout(PLACE_S):
                await self._places.acquire()
        except TimeoutError:
            said = f"{self.name}: {AT_ONCE} others wait for it already, and it is slow"
            raise MasterKeyUnavailable(said, away=True) from None
        this = object()
        self._under_way[this] = time.monotonic()
        try:
            yield
        finally:
            del self._under_way[this]
            self._places.release()

    async def _answer(self, work: Callable[[], bytes]) -> bytes:
        # Others may have found it away while a place was waited for.
        self._require_spoken_to()
        if self._trouble is not None:
            # One tries whether it is back; others need not wait with it.
            self._alone_until = time.monotonic() + WAIT_S
        try:
            async with asyncio.timeout(WAIT_S):
                answer = await on_own_thread(work, lambda _: None)
        except TimeoutError:
            self._rest(MasterKeyUnavailable(f"{self.name}: no answer within {WAIT_S:g} s", away=True))
        except MasterKeyUnavailable as error:
            if error.away:
                self._rest(error)
            # It answers; it is this key, or this of it, that it does not let us use.
            self._here(float("-inf"))
            raise
        except asyncio.CancelledError:
            # Who tried gave up; the next one tries.
            self._alone_until = 0.0
            raise
        except Exception:
            self._here(time.monotonic())
            raise
        self._here(time.monotonic())
        return answer

    def _here(self, answered: float) -> None:
        if self._trouble is not None:
            _LOG.warning("%s answers again", self.name)
        self._trouble, self._answered = None, answered

    def _rest(self, trouble: MasterKeyUnavailable) -> NoReturn:
        if self._trouble is None:
            _LOG.warning("%s; it is left alone for %g s at a time", trouble, REST_S)
        self._trouble, self._answered = trouble, float("-inf")
        self._alone_until = time.monotonic() + REST_S
        raise trouble from None
