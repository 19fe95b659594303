"""Ray Serve's own autoscaling code, run by a clock of ours instead of by its controller.

Everything that decides is Serve's: factors, delays, bounds, the request policy of engines; and ours where it is ours in
production, `serving.graph.policy`. What is imitated is what the controller hands to it.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from ray.serve import autoscaling_policy
from ray.serve._private.autoscaling_state import _resolve_policy_callable
from ray.serve._private.common import DeploymentID
from ray.serve.config import AutoscalingConfig, AutoscalingContext


@contextmanager
def clock(now: Callable[[], float]) -> Iterator[None]:
    """While the block lasts, Serve's autoscaling asks `now` for the time, seconds."""
    with mock.patch.object(autoscaling_policy, "time", SimpleNamespace(time=now, monotonic=now)):
        yield


class Autoscaler:
    """Of one deployment."""

    def __init__(self, name: str, options: Mapping[str, Any], policy: Callable[..., Any] | None = None) -> None:
        """
        Args:
            options: `num_replicas`, or the deployment's `autoscaling_config`, as in a Serve YAML.
            policy: what is asked instead of what the YAML names.
        """
        self._id = DeploymentID(name=name, app_name="automations")
        self._fixed: int | None = options.get("num_replicas")
        self.config = AutoscalingConfig(**{key: value for key, value in options.items() if key != "num_replicas"})
        if policy is None:
            policy = _resolve_policy_callable(self.config.policy)
        self._policy = autoscaling_policy._apply_autoscaling_config(policy)
        self._state: dict[str, Any] = {}
        self._requests: deque[tuple[float, float]] = deque()

    @property
    def first(self) -> int:
        """Replicas that it begins with."""
        if self._fixed is not None:
            return self._fixed
        initial = self.config.initial_replicas
        return self.config.min_replicas if initial is None else initial

    def target(self, now_s: float, running: int, target: int, requests: float) -> int:
        """How many replicas there are to be.

        Args:
            running: replicas that have started.
            target: what it said last.
            requests: that are under way or wait now, in all.
        """
        if self._fixed is not None:
            return self._fixed
        ctx = AutoscalingContext(
            deployment_id=self._id,
            deployment_name=self._id.name,
            app_name=self._id.app_name,
            current_num_replicas=running,
            target_num_replicas=target,
            running_replicas=[],
            total_num_requests=self._looked_back(now_s, requests),
            total_queued_requests=0.0,
            aggregated_metrics=None,
            raw_metrics=None,
            capacity_adjusted_min_replicas=self.config.min_replicas,
            capacity_adjusted_max_replicas=self.config.max_replicas,
            policy_state=dict(self._state),
            last_scale_up_time=None,
            last_scale_down_time=None,
            current_time=now_s,
            config=self.config,
        )
        wanted, self._state = self._policy(ctx)
        return max(self.config.min_replicas, min(self.config.max_replicas, math.ceil(wanted)))

    def _looked_back(self, now_s: float, requests: float) -> float:
        """The mean over `look_back_period_s`: what Serve goes by unless it is told otherwise."""
        self._requests.append((now_s, requests))
        while self._requests[0][0] < now_s - self.config.look_back_period_s:
            self._requests.popleft()
        return sum(count for _, count in self._requests) / len(self._requests)
