"""Lets requests in, before their body is read: each takes a token, is known by who acts from here on, and goes on where
they may do it."""

import math
import time
from typing import Final

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from serving.api.access import require
from serving.api.peers import address_of, network_of, operation_of
from serving.api.strict import require_strict
from serving.audit.acting import ACTING, Acting
from serving.auth.principals import Principal
from serving.errors import RateLimited
from serving.limiting import Left, Limits, Rule
from serving.metrics.meters import Meters
from serving.options import LimitOptions

#: What monitors ask for, who must not be turned away.
_UNLIMITED: Final = frozenset({"live", "ready", "metrics"})

#: How often a process looks up a key that is new to it, of addresses that have no token left, seconds.
LOOK_UP_EVERY_S: Final = 0.1


def is_limited(scope: Scope) -> bool:
    """Whether a request takes a token. Of those that do not, nobody asks who they come from either: that would be a way
    to the database without a limit."""
    return scope.get("method") != "OPTIONS" and operation_of(scope) not in _UNLIMITED


class Admission(ASGIMiddleware):
    """Keeps requests within the limits, and says who acts. Comes after `Identification`."""

    def __init__(self, limits: Limits, options: LimitOptions, meters: Meters) -> None:
        self._limits, self._meters = limits, meters
        self._look_up_at = 0.0
        self._known = _rule(options.requests_per_s, options.burst)
        self._unknown = _rule(options.unknown_per_s, options.unknown_burst)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See `ASGIMiddleware`. Raises RateLimited, and as `access.require`."""
        principal: Principal | None = scope.get("principal")  # type: ignore[assignment]
        operation, address = operation_of(scope), address_of(scope)
        if is_limited(scope) and principal is not None:
            await self._take(scope, "requests", self._known, f"requests:{principal.actor}")
        elif is_limited(scope):
            await self.take_of_stranger(scope)
        require(scope["route_handler"], str(scope.get("method")), principal)
        require_strict(scope["route_handler"], scope["query_string"])
        acting = ACTING.set(
            Acting(
                operation=operation,
                request_id=str(scope.get("request_id", "")),
                address=address,
                tenant_id=principal and principal.tenant_id,
                actor=principal and principal.actor,
                credential=principal and principal.credential,
                named=tuple(str(value) for value in scope["path_params"].values()),
            )
        )
        try:
            await next_app(scope, receive, send)
        finally:
            ACTING.reset(acting)

    async def take_of_stranger(self, scope: Scope) -> None:
        """Take a token of the address's: those who need no key and those who have no good one alike. Who is known never
        pays for their neighbours. Raises RateLimited."""
        await self._take(scope, "address", self._unknown, _bucket_of_address(scope))

    def refuse_early(self, scope: Scope) -> None:
        """Before anybody looks up a key that is new here: where the address is known to have no token left, most likely
        it is one of many that were made up, and would be refused all the same. A few are looked up even so, for it may
        be that of a neighbour. Raises RateLimited."""
        if self._unknown is None:
            return
        wait_s, now = self._limits.wait_s(_bucket_of_address(scope)), time.monotonic()
        if wait_s > 0 and now < self._look_up_at:
            error = RateLimited("too many requests; wait a little", wait_s)
            raise self._refused(scope, "address", self._unknown, error)
        if wait_s > 0:
            self._look_up_at = now + LOOK_UP_EVERY_S

    async def _take(self, scope: Scope, policy: str, rule: Rule | None, bucket: str) -> None:
        if rule is None:
            return
        try:
            left = await self._limits.take(bucket, rule)
        except RateLimited as error:
            raise self._refused(scope, policy, rule, error) from None
        _say(scope, policy, rule, left)

    def _refused(self, scope: Scope, policy: str, rule: Rule, error: RateLimited) -> RateLimited:
        self._meters.limited(policy)
        _say(scope, policy, rule, Left(0, error.retry_after_s))
        return error


def _bucket_of_address(scope: Scope) -> str:
    return f"address:{network_of(address_of(scope))}"


def _rule(per_s: float, burst: int) -> Rule | None:
    return Rule(per_s, burst) if per_s > 0 else None


def _say(scope: Scope, policy: str, rule: Rule, left: Left) -> None:
    """As draft-ietf-httpapi-ratelimit-headers (10) has it: the window of a bucket is the time in which it fills up."""
    scope["limit_headers"] = (  # type: ignore[typeddict-unknown-key]
        (b"ratelimit-policy", f'"{policy}";q={rule.burst};w={math.ceil(rule.burst / rule.per_s)}'.encode()),
        (b"ratelimit", f'"{policy}";r={left.tokens};t={math.ceil(left.full_in_s)}'.encode()),
    )
