"""How many streams are open, and how many may be: of events, with which requests that wait for a job to end count, of
the bytes of videos, and of archives that are read."""

from collections import Counter

from serving.errors import RateLimited

#: When who was refused may come again, seconds: when streams end, nobody knows beforehand.
_AGAIN_S = 5.0


class Streams:
    """Counts the streams of one kind in one process."""

    def __init__(
        self, most: int, most_per_tenant: int, kind: str = "streams of events", setting: str | None = "max_streams"
    ):
        """`kind`, `setting`: what they are called, and the setting that says how many there may be; None: none does."""
        self._most, self._most_per_tenant, self._kind = most, most_per_tenant, kind
        told = "; wait until they are through" if setting is None else f" (server.{setting}_per_tenant); close some"
        self._advice = told
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many there are."""
        return self._open.total()

    def take(self, tenant: str) -> "Slot":
        """One more, open until the slot is given back.

        Raises:
            RateLimited: there are as many as may be.
        """
        if self._open[tenant] >= self._most_per_tenant:
            raise RateLimited(
                f"{self._most_per_tenant} {self._kind} are open, as many as one tenant may have here{self._advice}",
                _AGAIN_S,
            )
        if self.open >= self._most:
            raise RateLimited(f"{self._most} {self._kind} are open here, as many as may be", _AGAIN_S)
        self._open[tenant] += 1
        return Slot(self._open, tenant)


class Slot:
    """The place of one stream. It is given back once, at the latest when nobody has it any more: a stream whose client
    went away before its first byte never runs, and so never ends."""

    def __init__(self, open_: Counter[str], tenant: str) -> None:
        self._open, self._tenant = open_, tenant
        self._held = True

    def release(self) -> None:
        """Give it back."""
        if self._held:
            self._held = False
            self._open[self._tenant] -= 1
            if not self._open[self._tenant]:
                del self._open[self._tenant]

    def __enter__(self) -> "Slot":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()
