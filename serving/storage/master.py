"""The master key, which all others are wrapped by; and how a key is wrapped."""

import hashlib
import hmac
import math
import os
from collections.abc import Sequence
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.errors import Altered
from pipeline.sealed.form import KEY_BYTES, What
from serving.errors import MasterKeyMissing

_NONCE_BYTES: Final = 12


class Master(Protocol):
    """Who has the master key: this process, or a service that never gives it out."""

    @property
    def name(self) -> str:
        """Of the key that it wraps by now; it is written beside what was wrapped."""
        ...

    def knows(self, name: str) -> bool:
        """Whether it unwraps what the master key of that name has wrapped."""
        ...

    def kept_s(self, name: str) -> float:
        """For how long a key may be kept that the master key of that name has unwrapped, seconds."""
        ...

    async def wrap(self, key: bytes, what: What) -> bytes:
        """A key, wrapped by the master key of `name`; it is unwrapped as this only.

        Raises:
            MasterKeyUnavailable: whoever has the master key does not answer, or does not let us.
        """
        ...

    async def unwrap(self, wrapped: bytes, what: What, name: str) -> bytes:
        """The key.

        Args:
            name: of the master key that it was wrapped by.

        Raises:
            MasterKeyMissing: there is no such one here; MasterKeyUnavailable, which is one: see `wrap`.
            Altered: it is not what was wrapped as that.
        """
        ...

    async def check(self) -> None:
        """Whether keys can be wrapped just now. Raises MasterKeyUnavailable."""
        ...


class LocalMaster:
    """A `Master` whose keys are in this process."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys`: [32] each; the first one wraps, all unwrap."""
        self._keys = {named(key): key for key in keys}
        self._name = named(keys[0])

    @property
    def name(self) -> str:
        """See `Master.name`."""
        return self._name

    def knows(self, name: str) -> bool:
        """See `Master.knows`."""
        return name in self._keys

    def kept_s(self, name: str) -> float:
        """See `Master.kept_s`. For good: who has the process's memory has the master key."""
        return math.inf

    async def wrap(self, key: bytes, what: What) -> bytes:
        """See `Master.wrap`."""
        return wrapped(self._keys[self._name], key, what)

    async def unwrap(self, wrapped: bytes, what: What, name: str) -> bytes:
        """See `Master.unwrap`."""
        key = self._keys.get(name)
        if key is None:
            raise missing(name)
        return unwrapped(key, wrapped, what)

    async def check(self) -> None:
        """See `Master.check`."""


class SeveralMasters:
    """Several of them, each with master keys of its own."""

    def __init__(self, masters: Sequence[Master]) -> None:
        """The first one wraps, all unwrap."""
        self._masters = tuple(masters)

    @property
    def name(self) -> str:
        """See `Master.name`."""
        return self._masters[0].name

    def knows(self, name: str) -> bool:
        """See `Master.knows`."""
        return any(master.knows(name) for master in self._masters)

    def kept_s(self, name: str) -> float:
        """See `Master.kept_s`."""
        return self._that_knows(name).kept_s(name)

    async def wrap(self, key: bytes, what: What) -> bytes:
        """See `Master.wrap`."""
        return await self._masters[0].wrap(key, what)

    async def unwrap(self, wrapped: bytes, what: What, name: str) -> bytes:
        """See `Master.unwrap`."""
        return await self._that_knows(name).unwrap(wrapped, what, name)

    async def check(self) -> None:
        """See `Master.check`."""
        await self._masters[0].check()

    def _that_knows(self, name: str) -> Master:
        """Where nobody does, the first one says so."""
        return next((master for master in self._masters if master.knows(name)), self._masters[0])


def missing(name: str) -> MasterKeyMissing:
    """What is raised where a master key is not here."""
    return MasterKeyMissing(
        f"keys are wrapped by the master key {name}, which is not here; put it back, or name it in "
        "storage.old_master_keys"
    )


def named(key: bytes) -> str:
    """The name of a master key, 16 hexadecimal digits; it says nothing about the key."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a master key has {KEY_BYTES} bytes, {len(key) = }")
    return hmac.digest(key, b"automations name of a master key", hashlib.sha256).hex()[:16]


def wrapped(by: bytes, key: bytes, what: What) -> bytes:
    """[12 + 32 + 16] A key, wrapped by another: a random nonce, and AES-256-GCM. It is unwrapped as this only."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(by).encrypt(nonce, key, what.encoded())


def unwrapped(by: bytes, wrapped: bytes, what: What) -> bytes:
    """The key. Raises Altered where it is not what was wrapped as that."""
    try:
        return AESGCM(by).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], what.encoded())
    except (InvalidTag, ValueError):
        raise Altered(f"the {what.purpose} of {what.blob or what.tenant} is not what was kept") from None
