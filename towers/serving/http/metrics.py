"""Numbers for Prometheus: what was asked, how long it took, how the store and the index do, how fresh all is."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from towers.serving.service import Service
from towers.serving.store import Health

KIND = b"text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0003, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """What is counted, by route, not by person or video.

    Args:
        service: Whose state is read when somebody asks.
    """

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self._state = _State(service)
        self._registry.register(self._state)
        registry = self._registry
        self._requests = Counter("towers_requests", "Requests answered", ["route", "status"], registry=registry)
        self._seconds = Histogram(
            "towers_request_seconds", "From head to answer", ["route"], buckets=_SECONDS, registry=registry
        )
        self._paths = Counter("towers_candidates", "Answers with candidates, by way", ["path"], registry=registry)
        self._events = Counter("towers_events", "Events that came", ["repeated"], registry=registry)
        self._known: dict[tuple[str, int], Counter] = {}
        self._timed: dict[str, Histogram] = {}

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        counter = self._known.get((route, status))
        if counter is None:
            counter = self._known[route, status] = self._requests.labels(route, str(status))
        counter.inc()
        timed = self._timed.get(route)
        if timed is None:
            timed = self._timed[route] = self._seconds.labels(route)
        timed.observe(seconds)

    def count_path(self, path: str) -> None:
        """Count an answer with candidates."""
        self._paths.labels(path).inc()

    def count_events(self, new: int, repeated: int) -> None:
        """Count events."""
        self._events.labels("no").inc(new)
        self._events.labels("yes").inc(repeated)

    async def samples(self, service: Service) -> list[Sample]:
        """Return all numbers one by one."""
        self._state.health = await service.store.health()
        return [sample for metric in self._registry.collect() for sample in metric.samples]

    async def text(self, service: Service) -> bytes:
        """Return all numbers as Prometheus reads them."""
        self._state.health = await service.store.health()
        return generate_latest(self._registry)


class _State(Collector):
    """What is read when somebody asks."""

    def __init__(self, service: Service) -> None:
        self._service, self.health = service, Health()

    def describe(self) -> list[Metric]:
        """Say nothing before there is a version."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return the state of now."""
        service, versions = self._service, self._service.versions
        version = versions.current
        moment = version.catalogue.index.moment
        gauges = {
            "towers_queue_length": ("Requests that wait", len(service.queue)),
            "towers_queue_refused_total": ("Requests refused because too many waited", service.queue.refused),
            "towers_store_up": ("Whether the store can be reached", 0 if self.health.away else 1),
            "towers_store_waiting": ("Events kept here until the store can be reached", self.health.waiting),
            "towers_answers_unkept_total": ("Answers that could not be kept", service.unkept),
            "towers_index_videos": ("Videos that can be shown", len(moment)),
            "towers_index_recent": ("Videos that came since the index was built", len(moment.recent)),
            "towers_index_tombstones": ("Videos of the built index that went", moment.tombstones),
            "towers_change_lag_seconds": ("From a change being asked for to being shown, the last one", versions.lag_s),
            "towers_changes_applied": ("Number of the last change that is shown", version.applied),
            "towers_bundle_adopted_total": ("Versions adopted since the start", versions.adopted),
            "towers_bundle_refused": ("Whether a newer version was refused", int(versions.refused is not None)),
            "towers_bundle_made_seconds": ("When the bundle was made, Unix time", version.made_ms / 1000),
        }
        for name, (meaning, value) in gauges.items():
            yield GaugeMetricFamily(name, meaning, value)
        info = GaugeMetricFamily("towers_bundle_info", "The version that is served", labels=["version"])
        info.add_metric([version.name], 1)
        yield info
