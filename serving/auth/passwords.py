"""Passwords: hashed with Argon2id, in threads, a few at a time."""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from serving.auth.guessable import require_unguessable
from serving.errors import InvalidRequest, RateLimited

T = TypeVar("T")

#: What a new password has to have: characters at least, bytes as UTF-8 at most. Besides, nobody may guess it at once
#: (`guessable`); nothing is asked about which characters it has.
MIN_CHARS: Final = 12
MAX_BYTES: Final = 1024

#: Passwords that are hashed at once. Each takes 64 MiB and four threads for some 50 ms.
_AT_ONCE: Final = 2

#: Those that wait besides; more are told to come again.
_MAX_WAITING: Final = 100


def require_acceptable(password: str, pointer: str = "/password") -> None:
    """Raises InvalidRequest where it cannot be a new password; `pointer` says where it was in the request."""
    size_bytes = len(password.encode())
    if len(password) < MIN_CHARS:
        raise InvalidRequest("the password is too short", ((pointer, f"has to have at least {MIN_CHARS} characters"),))
    if size_bytes > MAX_BYTES:
        raise InvalidRequest("the password is too long", ((pointer, f"may have at most {MAX_BYTES} bytes"),))


class Passwords:
    """Hashes and verifies. The parameters are the library's defaults (RFC 9106, the second of its two: 3 passes over
    64 MiB by 4 threads), and become better as it does."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="passwords")
        self._under_way = 0
        self._nobodys = _nobodys(self._hasher)

    async def chosen(self, password: str, about: Iterable[str], pointer: str = "/password") -> str:
        """What is kept of a password that somebody chose.

        Args:
            password: the new one.
            about: names and addresses of whose it is to be, of which it must not be made.
            pointer: where it was in the request.

        Raises:
            InvalidRequest: it is too short or too long.
            WeakPassword: it is guessed too easily.
            RateLimited: too many are being hashed.
        """
        require_acceptable(password, pointer)

        def looked_at() -> str:
            require_unguessable(password, about, pointer)
            return self._hasher.hash(password)

        return await self._in_thread(looked_at)

    async def hashed(self, password: str) -> str:
        """What is kept of a password that is in use. Raises RateLimited where too many are being hashed."""
        return await self._in_thread(lambda: self._hasher.hash(password))

    async def verified(self, kept: str | None, password: str) -> bool:
        """Whether it is the one that this was kept of. With None, for accounts that do not exist, it never is, and to
        find that out takes as long. Raises RateLimited as `hashed`."""
        return await self._in_thread(lambda: self._verify(self._nobodys if kept is None else kept, password))

    def outdated(self, kept: str) -> bool:
        """Whether it was hashed with other parameters than are used now."""
        return self._hasher.check_needs_rehash(kept)

    def close(self) -> None:
        """End the threads once they are idle."""
        self._pool.shutdown(wait=False)

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except VerifyMismatchError:
            return False

    async def _in_thread(self, what: Callable[[], T]) -> T:
        if self._under_way >= _AT_ONCE + _MAX_WAITING:
            raise RateLimited("too many people sign in just now", retry_after_s=2)
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, what)
        finally:
            self._under_way -= 1


def _nobodys(hasher: PasswordHasher) -> str:
    """A hash of these parameters that no password is known to give."""
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, hashed = (b64encode(bytes(size)).decode().rstrip("=") for size in (hasher.salt_len, hasher.hash_len))
    return f"$argon2id$v=19${cost}${salt}${hashed}"
