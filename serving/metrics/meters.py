"""What one process of the API counts. Labels are operations, methods and statuses: few, and nobody's."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

#: Upper bounds of the histogram's buckets, seconds: a read by key takes 2 ms, an upload minutes.
_BUCKETS_S: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)

#: Methods that have a label of their own; callers make up others.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Meters:
    """Counters and gauges, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "automations_http_requests",
            "Requests that were answered, by operation; status 499: the client left before.",
            ("operation", "method", "status"),
            registry=self.registry,
        )
        self._duration = Histogram(
            "automations_http_request_duration_seconds",
            "From a request to the end of its answer; of event streams, to their beginning.",
            ("operation",),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.in_progress = Gauge(
            "automations_http_requests_in_progress", "Requests under way, streams included.", registry=self.registry
        )
        self.streams = Gauge("automations_event_streams_open", "Event streams that are open.", registry=self.registry)
        self._limited = Counter(
            "automations_rate_limited",
            "Requests beyond a limit: of a key or user (requests), or of an address without one (address).",
            ("policy",),
            registry=self.registry,
        )
        for policy in ("requests", "address"):
            self._limited.labels(policy)
        self.refusals_dropped = Counter(
            "automations_audit_refusals_dropped",
            "Refusals that are missing in the audit log, for there were too many different ones.",
            registry=self.registry,
        )
        # Looked up once each: `labels` costs more than counting.
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    def answered(self, operation: str, method: str, status: int) -> None:
        """Count a request."""
        name = operation, method if method in _METHODS else "other", status
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = self._requests.labels(*map(str, name))
        counter.inc()

    def took(self, operation: str, duration_s: float) -> None:
        """Note how long a request took."""
        histogram = self._histograms.get(operation)
        if histogram is None:
            histogram = self._histograms[operation] = self._duration.labels(operation)
        histogram.observe(duration_s)

    def limited(self, policy: str) -> None:
        """Count a request that was beyond a limit."""
        self._limited.labels(policy).inc()
