"""What one process of the API counts. Labels are operations, methods and statuses: few, and nobody's.

Counted in the event loop's thread alone, so without the locks of the client library's own counters, which cost more
than a read by id has to spare; the library is shown the counts when somebody asks.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, Literal

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

#: Upper bounds of the histogram's buckets, seconds: a read by key takes 2 ms, an upload minutes.
_BUCKETS_S: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_BOUNDS: Final = (*map(str, _BUCKETS_S), "+Inf")

#: Methods that have a label of their own; callers make up others.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Streamed = Literal["events", "media"]
"""What answers are streams of."""

_POLICIES: Final = ("requests", "address")


class _Durations:
    """Of one operation's requests."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        """Requests in each bucket alone, the last without a bound."""
        self.sum_s = 0.0


class Meters(Collector):
    """Counters and gauges, in a registry of their own. For one thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.in_progress = 0
        """Requests under way, streams included."""
        self.streams: dict[Streamed, int] = {"events": 0, "media": 0}
        """Streams that are open, of each kind."""
        self.refusals_dropped = 0
        """Refusals that the audit log lacks."""
        self._requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._durations: defaultdict[str, _Durations] = defaultdict(_Durations)
        self._limited: dict[str, int] = dict.fromkeys(_POLICIES, 0)
        self.registry.register(self)

    def answered(self, operation: str, method: str, status: int) -> None:
        """Count a request."""
        self._requests[operation, method if method in _METHODS else "other", status] += 1

    def took(self, operation: str, duration_s: float) -> None:
        """Note how long a request took."""
        durations = self._durations[operation]
        durations.counts[bisect_left(_BUCKETS_S, duration_s)] += 1
        durations.sum_s += duration_s

    def limited(self, policy: str) -> None:
        """Count a request that was beyond a limit."""
        self._limited[policy] += 1

    def dropped(self) -> None:
        """Count a refusal that the audit log lacks."""
        self.refusals_dropped += 1

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        requests = CounterMetricFamily(
            "automations_http_requests",
            "Requests that were answered, by operation; status 499: the client left before.",
            labels=("operation", "method", "status"),
        )
        for (operation, method, status), count in self._requests.items():
            requests.add_metric((operation, method, str(status)), count)
        yield requests
        took = HistogramMetricFamily(
            "automations_http_request_duration_seconds",
            "From a request to the end of its answer; of streams, to their beginning.",
            labels=("operation",),
        )
        for operation, durations in self._durations.items():
            buckets = zip(_BOUNDS, accumulate(durations.counts), strict=True)
            took.add_metric((operation,), list(buckets), durations.sum_s)
        yield took
        yield GaugeMetricFamily(
            "automations_http_requests_in_progress", "Requests under way, streams included.", self.in_progress
        )
        yield GaugeMetricFamily(
            "automations_event_streams_open", "Event streams that are open.", self.streams["events"]
        )
        yield GaugeMetricFamily("automations_media_streams_open", "Videos being sent.", self.streams["media"])
        limited = CounterMetricFamily(
            "automations_rate_limited",
            "Requests beyond a limit: of a key or user (requests), or of an address without one (address).",
            labels=("policy",),
        )
        for policy, count in self._limited.items():
            limited.add_metric((policy,), count)
        yield limited
        yield CounterMetricFamily(
            "automations_audit_refusals_dropped",
            "Refusals that are missing in the audit log, for there were too many different ones.",
            self.refusals_dropped,
        )
