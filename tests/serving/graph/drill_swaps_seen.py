"""What is seen of a swap in `drill_swaps`, and what of it is not as it has to be."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

UNREADY_S: Final = 10.0
"""For how long `GET /v1/models` may say that the model is not ready, seconds. Serve takes a replica that it hands a new
`user_config` out of the set of those that can be asked, for a moment; a worker that looks just then says that there is
none, until it looks again (`serving.graph.toolkits.POLL_S`)."""

FAILED: Final = "what was to replace it failed: "
"""What `automations models status` says before the cause."""


class Shown(msgspec.Struct, frozen=True):
    """What `GET /v1/models` said of the model at a moment."""

    state: str
    version: str | None
    space: str | None
    generation: int | None
    loaded_at: datetime | None
    """By the clock of the database."""
    error: str | None
    coming: str | None
    swap_error: str | None


@dataclass(slots=True)
class Unready:
    """A while for which `GET /v1/models` said that the model was not ready. Moments are by `time.monotonic`."""

    shown: Shown
    """What it said first."""
    at: float
    until: float | None = None
    """None: to the end."""

    @property
    def lasted_s(self) -> float:
        """For how long."""
        return round((float("inf") if self.until is None else self.until) - self.at, 2)


@dataclass(slots=True)
class Swap:
    """A model that was deployed to replace another. Moments are by `time.monotonic`."""

    kind: str
    """`good`, or the way in which it is broken: a key of `making.BROKEN`."""
    before: Shown
    at: float
    """When the command was given."""
    posted: int
    """Jobs that clients waited for then."""
    space: str | None = None
    """Of a good one."""
    version: str | None = None
    says: str = ""
    """Of a broken one: what has to be in the cause."""
    deployed_s: float | None = None
    """What the command took."""
    shown_s: float | None = None
    """After so long from its beginning, `GET /v1/models` said that it had replaced the other, or why not; None: it did
    not in time. So with the next one."""
    traffic_s: float | None = None
    """After so long, a client had read a report by it; of a broken one, a report of a job posted after the cause was
    shown."""
    after: Shown | None = None
    told: str = ""
    """What `automations models status` printed then."""
    code: int | None = None
    """And its exit code."""

    @property
    def good(self) -> bool:
        """Whether it is to replace the other one."""
        return self.kind == "good"

    @property
    def shown_at(self) -> float:
        """When the swap was over; never, if it was not."""
        return float("inf") if self.shown_s is None else self.at + self.shown_s


def trouble(swap: Swap) -> Iterator[str]:
    """What is not as it has to be of a swap, in words."""
    if not swap.posted:
        yield "nobody waited for a job when it was deployed"
    if swap.after is None or swap.traffic_s is None:
        yield f"it was not over in time: {swap}"
        return
    after, before = swap.after, swap.before
    if after.state != "ready" or after.coming is not None or swap.code != 0:
        yield f"{after}, and models status ended with {swap.code}"
    generation = (before.generation or 0) + swap.good
    expected = (swap.space, swap.version) if swap.good else (before.space, before.version)
    if (after.space, after.version) != expected or after.generation != generation:
        yield f"{expected} should serve as generation {generation}, not {after}"
    cause = after.swap_error
    if swap.good and cause is not None:
        yield f"it is said to have failed: {cause}"
    if not swap.good and (cause is None or swap.says not in cause):
        yield f"its cause should speak of {swap.says!r}: {cause}"
    if (FAILED in swap.told) == swap.good or (str(after.version) if swap.good else f"{FAILED}{cause}") not in swap.told:
        yield f"models status says something else: {swap.told}"
