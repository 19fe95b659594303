"""Segments on their way to clients: each in memory once, however many take it, and no more of them than there is room
for. A client may take its time over one; that it does costs others nothing but their turn."""

from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final

from serving.errors import Busy

#: When who was turned away may come again, seconds: a segment is on its way for about so long.
_AGAIN_S: Final = 2.0


@dataclass(slots=True)
class _Lent:
    tenant: str
    size_bytes: int
    takers: int = 0
    content: bytes | None = None


class Lending:
    """Of one process."""

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes`: of all that is lent; one tenant has half of them."""
        self._most, self._each = most_bytes, most_bytes // 2
        self._lent: dict[Hashable, _Lent] = {}
        self._bytes: Counter[str] = Counter()

    @property
    def size_bytes(self) -> int:
        """Of all that is lent."""
        return self._bytes.total()

    async def take(self, tenant: str, name: Hashable, size_bytes: int, make: Callable[[], Awaitable[bytes]]) -> "Loan":
        """Something under its name, made where nobody has it. Room is taken before it is made.

        Args:
            name: nothing of another tenant has it.
            size_bytes: what it counts.

        Raises:
            Busy: there is no room for it. And what `make` raises.
        """
        lent = self._lent.get(name)
        if lent is None:
            if self.size_bytes + size_bytes > self._most or self._bytes[tenant] + size_bytes > self._each:
                raise Busy("too much video is on its way to slow clients just now; ask again in a moment", _AGAIN_S)
            lent = self._lent[name] = _Lent(tenant, size_bytes)
            self._bytes[tenant] += size_bytes
        loan = Loan(self, name, lent)
        try:
            if lent.content is None:
                made = await make()
                # Of several who had it made, all get the one.
                lent.content = made if lent.content is None else lent.content
        except BaseException:
            loan.release()
            raise
        return loan

    def give_back(self, name: Hashable, lent: _Lent) -> None:
        """For loans."""
        lent.takers -= 1
        if not lent.takers:
            del self._lent[name]
            self._bytes[lent.tenant] -= lent.size_bytes
            if not self._bytes[lent.tenant]:
                del self._bytes[lent.tenant]


class Loan:
    """What one client takes. It is given back once, at the latest when nobody has the loan any more."""

    def __init__(self, lending: Lending, name: Hashable, lent: _Lent) -> None:
        self._lending, self._name, self._lent = lending, name, lent
        self._held = True
        lent.takers += 1

    @property
    def content(self) -> bytes:
        """What was lent."""
        assert self._lent.content is not None
        return self._lent.content

    def release(self) -> None:
        """Give it back."""
        if self._held:
            self._held = False
            self._lending.give_back(self._name, self._lent)

    def __enter__(self) -> "Loan":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()
