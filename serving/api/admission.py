"""Lets requests in, before their body is read: each takes a token, and goes on where whoever asks may do it."""

import math
import time
from typing import Final

from litestar.types import Scope

from serving.api.access import require
from serving.api.peers import address_of, network_of
from serving.api.strict import require_strict
from serving.auth.principals import Principal
from serving.errors import RateLimited
from serving.limiting import Limits, Rule
from serving.metrics.meters import Meters
from serving.options import LimitOptions

#: What monitors ask for, who must not be turned away.
_UNLIMITED: Final = frozenset({"live", "ready", "metrics"})

#: How often a process looks up a key that is new to it, of addresses that have no token left, seconds.
LOOK_UP_EVERY_S: Final = 0.1


def is_limited(scope: Scope, operation: str) -> bool:
    """Whether a request takes a token. Of those that do not, nobody asks who they come from either: that would be a way
    to the database without a limit."""
    return operation not in _UNLIMITED and scope.get("method") != "OPTIONS"


class _Policy:
    """A rule, and how answers say it: as draft-ietf-httpapi-ratelimit-headers (10) has it; the window of a bucket is
    the time in which it fills up."""

    __slots__ = ("_header", "name", "rule")

    def __init__(self, name: str, rule: Rule) -> None:
        self.name, self.rule = name, rule
        window_s = math.ceil(rule.burst / rule.per_s)
        self._header = (b"ratelimit-policy", f'"{name}";q={rule.burst};w={window_s}'.encode())

    def say(self, scope: Scope, tokens: int, full_in_s: float) -> None:
        """Have the answer say what is left."""
        left = f'"{self.name}";r={tokens};t={math.ceil(full_in_s)}'
        scope["limit_headers"] = (self._header, (b"ratelimit", left.encode()))  # type: ignore[typeddict-unknown-key]


class Admission:
    """Keeps requests within the limits, and those who may not out of what they may not do."""

    def __init__(self, limits: Limits, options: LimitOptions, meters: Meters) -> None:
        self._limits, self._meters = limits, meters
        self._look_up_at = 0.0
        self._known = _policy("requests", options.requests_per_s, options.burst)
        self._unknown = _policy("address", options.unknown_per_s, options.unknown_burst)

    async def admit(self, scope: Scope, principal: Principal | None, limited: bool) -> None:
        """Let a request in. `limited`: see `is_limited`. Raises RateLimited, and as `access.require` and
        `strict.require_strict`."""
        if limited and principal is not None:
            bucket = scope.get("bucket") or f"requests:{principal.actor}"
            await self._take(scope, self._known, str(bucket))
        elif limited:
            await self.take_of_stranger(scope)
        handler = scope["route_handler"]
        require(handler, str(scope.get("method")), principal)
        require_strict(handler, scope["path_params"], scope["query_string"])

    async def take_of_stranger(self, scope: Scope) -> None:
        """Take a token of the address's: those who need no key and those who have no good one alike. Who is known never
        pays for their neighbours. Raises RateLimited."""
        await self._take(scope, self._unknown, _bucket_of_address(scope))

    def refuse_early(self, scope: Scope) -> None:
        """Before anybody looks up a key that is new here: where the address is known to have no token left, most likely
        it is one of many that were made up, and would be refused all the same. A few are looked up even so, for it may
        be that of a neighbour. Raises RateLimited."""
        if self._unknown is None:
            return
        wait_s, now = self._limits.wait_s(_bucket_of_address(scope)), time.monotonic()
        if wait_s > 0 and now < self._look_up_at:
            error = RateLimited("too many requests; wait a little", wait_s)
            raise self._refused(scope, self._unknown, error)
        if wait_s > 0:
            self._look_up_at = now + LOOK_UP_EVERY_S

    async def _take(self, scope: Scope, policy: _Policy | None, bucket: str) -> None:
        if policy is None:
            return
        left = self._limits.take_now(bucket, policy.rule)
        if left is None:
            try:
                left = await self._limits.take(bucket, policy.rule)
            except RateLimited as error:
                raise self._refused(scope, policy, error) from None
        policy.say(scope, *left)

    def _refused(self, scope: Scope, policy: _Policy, error: RateLimited) -> RateLimited:
        self._meters.limited(policy.name)
        policy.say(scope, 0, error.retry_after_s)
        return error


def _bucket_of_address(scope: Scope) -> str:
    return f"address:{network_of(address_of(scope))}"


def _policy(name: str, per_s: float, burst: int) -> _Policy | None:
    return _Policy(name, Rule(per_s, burst)) if per_s > 0 else None
