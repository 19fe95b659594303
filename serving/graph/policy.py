"""Scales workers by what waits in the database: what `policy_function` of the deployment `worker` names.

    autoscaling_config:
      min_replicas: 1
      max_replicas: 4
      upscale_delay_s: 10
      downscale_delay_s: 300
      policy:
        policy_function: "serving.graph.policy:BacklogPolicy"
        policy_kwargs: {video_s_per_s: 5, clear_within_s: 120, oldest_s: 60, slots: 2}

Workers get no requests, so that Serve's own policy has nothing to go by. Whatever the policy here wants, Serve applies
`upscale_delay_s`, `downscale_delay_s`, `downscale_to_zero_delay_s`, `upscaling_factor`, `downscaling_factor` and the
bounds to it afterwards, as to its own (`ray.serve.autoscaling_policy._apply_autoscaling_config`): here is none of that.
See docs/autoscaling.md.

Ray carries this module to its controller as a copy (by value): what it needs, it imports.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from serving.graph.args import InvalidGraph
from serving.graph.backlog import BacklogWatch, Reading
from serving.graph.scaling import Decision, Present, ScalingRules, decide, scaling_rules

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

#: Serve's own, which it writes into the controller's log.
_LOG = logging.getLogger("ray.serve")

#: How often the log says again why the number is held, seconds.
_AGAIN_S = 60.0


class BacklogPolicy:
    """Called by Serve's controller ten times a second, in its event loop: never waits, and never raises, for that would
    stop all that the controller does. Where the backlog is not known, the number of workers stays as it is."""

    def __init__(self, **policy_kwargs: Any) -> None:
        """`policy_kwargs`: fields of `ScalingRules`. Where they are wrong, the number of workers stays as it is, and
        the log says what is wrong with them."""
        try:
            rules = scaling_rules(policy_kwargs, "policy_kwargs")
        except InvalidGraph as error:
            unknown = Reading(backlog=None, trouble=str(error))
            self._begin(lambda: unknown, ScalingRules())
        else:
            self._begin(BacklogWatch(poll_s=rules.poll_s, stale_s=rules.stale_s).latest, rules)

    @classmethod
    def over(cls, source: Callable[[], Reading], rules: ScalingRules) -> "BacklogPolicy":
        """One that asks `source` for the backlog, and no database."""
        policy = cls.__new__(cls)
        policy._begin(source, rules)
        return policy

    def _begin(self, source: Callable[[], Reading], rules: ScalingRules) -> None:
        self._source, self._rules = source, rules
        self._said = -1
        self._held_at = -_AGAIN_S

    def __call__(self, ctx: "AutoscalingContext") -> tuple[float, dict[str, Any]]:
        """How many workers there should be, and what is kept for the next call: nothing that is needed, only why."""
        reading = self._source()
        if reading.backlog is None:
            return self._hold(ctx, reading.trouble or "the backlog is not known")
        present = Present(
            running=ctx.current_num_replicas,
            minimum=ctx.capacity_adjusted_min_replicas,
            maximum=ctx.capacity_adjusted_max_replicas,
        )
        decision = decide(reading.backlog, self._rules, present)
        self._tell(decision)
        return decision.workers, msgspec.to_builtins(decision)

    def _hold(self, ctx: "AutoscalingContext", why: str) -> tuple[float, dict[str, Any]]:
        now = time.monotonic()
        if now - self._held_at >= _AGAIN_S:
            self._held_at = now
            _LOG.warning("the number of workers stays at %d: %s", ctx.target_num_replicas, why)
        return held(ctx), msgspec.to_builtins(Decision(workers=ctx.target_num_replicas, why=why))

    def _tell(self, decision: Decision) -> None:
        # Figures in the reason change all the time.
        if decision.workers != self._said:
            _LOG.info("workers wanted: %d, because %s", decision.workers, decision.why)
        self._said = decision.workers
        self._held_at = -_AGAIN_S


def held(ctx: "AutoscalingContext") -> float:
    """What makes Serve keep the number that it aims at, whatever `upscaling_factor` and `downscaling_factor` are: they
    are applied to the difference between this and the number of replicas that run."""
    missing = ctx.target_num_replicas - ctx.current_num_replicas
    if missing == 0 or ctx.current_num_replicas == 0 or ctx.config is None:
        return ctx.target_num_replicas
    factor = ctx.config.get_upscaling_factor() if missing > 0 else ctx.config.get_downscaling_factor()
    # Serve rounds up.
    return ctx.current_num_replicas + missing / factor - 1e-9
