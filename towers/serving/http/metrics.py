"""Numbers for Prometheus: what was asked, how long it took, how the store and the index do, how fresh all is.

Names follow https://prometheus.io/docs/practices/naming: base units, `_total` on what only grows, `_timestamp_seconds`
on moments. No label names a person, a video or a key, so there are as many series as there are routes and statuses,
however many ask. How well the index finds is not among them: to measure it takes an exact search of all videos.
"""

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from towers.serving.http.messages import CandidatesReply, EventsReply
from towers.serving.http.routes import Reply, Route
from towers.serving.service import Service
from towers.serving.store import Health

KIND = b"text/plain; version=0.0.4; charset=utf-8"
Told = dict[str, tuple[str, int | float]]
"""Of each name what it means, and its value."""
PATHS = ("personal", "new_user", "popular")
_SECONDS = (0.0003, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """What is counted, by route, not by person or video.

    Args:
        service: Whose state is read when somebody asks.
    """

    def __init__(self, service: Service) -> None:
        registry = CollectorRegistry()
        self._state, self._all = _State(service), _WithoutBirthdays(registry)
        registry.register(self._state)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._requests = Counter(
            "towers_requests", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "towers_request_duration_seconds",
            "From a request's head to its answer",
            ["method", "route"],
            buckets=_SECONDS,
            registry=registry,
        )
        paths = Counter("towers_candidates", "Answers with candidates, by way", ["path"], registry=registry)
        self._paths = {path: paths.labels(path) for path in PATHS}  # from 0: what was never counted has no rate
        self._short = Counter("towers_candidates_short", "Answers with fewer than were asked for", registry=registry)
        self._blind = Counter(
            "towers_candidates_without_history", "Answers made while the store was away", registry=registry
        )
        self._dropped = Counter(
            "towers_history_videos_dropped", "Videos of histories that the bundle does not know", registry=registry
        )
        events = Counter("towers_events", "Events that came", ["repeated"], registry=registry)
        self._new, self._repeated = events.labels("no"), events.labels("yes")
        self._strange = Counter(
            "towers_events_of_unknown_videos", "Events of videos of which nothing is known", registry=registry
        )
        self._counters: dict[tuple[Route | None, int], Counter] = {}
        self._timers: dict[Route | None, Histogram] = {}

    def count(self, route: Route | None, reply: Reply, seconds: float) -> None:
        """Count a request; None is one that no route is for."""
        counter, timer = self._counters.get((route, reply.status)), self._timers.get(route)
        if counter is None or timer is None:
            method, path = ("none", "none") if route is None else (route.method, route.path)
            counter = self._counters[route, reply.status] = self._requests.labels(method, path, str(reply.status))
            timer = self._timers[route] = self._seconds.labels(method, path)
        counter.inc()
        timer.observe(seconds)
        if isinstance(reply.body, CandidatesReply):
            self._count_candidates(reply.body)
        elif isinstance(reply.body, EventsReply):
            self._new.inc(reply.body.new)
            self._repeated.inc(reply.body.repeated)
            self._strange.inc(reply.body.unknown_videos)

    async def samples(self, service: Service) -> list[Sample]:
        """Return all numbers one by one."""
        self._state.health = await service.store.health()
        return [sample for metric in self._all.collect() for sample in metric.samples]

    async def text(self, service: Service) -> bytes:
        """Return all numbers as Prometheus reads them."""
        self._state.health = await service.store.health()
        return generate_latest(self._all)

    def _count_candidates(self, reply: CandidatesReply) -> None:
        self._paths[reply.path].inc()
        if reply.short_because:
            self._short.inc()
        if not reply.history_known:
            self._blind.inc()
        if reply.dropped:
            self._dropped.inc(reply.dropped)


class _WithoutBirthdays(Collector):
    """A registry without the moments at which counters were made, which would double the series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Return what there is."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class _State(Collector):
    """What is read when somebody asks."""

    def __init__(self, service: Service) -> None:
        self._service, self.health = service, Health()

    def describe(self) -> list[Metric]:
        """Say nothing before there is a version."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return the state of now."""
        for name, (meaning, value) in self._counters().items():
            yield CounterMetricFamily(name, meaning, value)
        for name, (meaning, value) in self._gauges().items():
            yield GaugeMetricFamily(name, meaning, value)
        info = GaugeMetricFamily("towers_bundle_info", "The version that is served", labels=["version"])
        info.add_metric([self._service.version.name], 1)
        yield info

    def _counters(self) -> Told:
        service = self._service
        return {
            "towers_queue_refused_total": ("Requests refused because they waited too long", service.queue.refused),
            "towers_answers_unkept_total": ("Answers that could not be kept", service.remembering.unkept),
            "towers_bundle_adoptions_total": ("Versions adopted since the start", service.versions.adopted),
        }

    def _gauges(self) -> Told:
        versions, version = self._service.versions, self._service.version
        moment = version.catalogue.index.moment
        return {
            "towers_queue_length": ("Requests that wait", len(self._service.queue)),
            "towers_store_up": ("Whether the store can be reached", 0 if self.health.away else 1),
            "towers_store_waiting": ("Events and answers kept here until the store is back", self.health.waiting),
            "towers_index_videos": ("Videos that can be shown", len(moment)),
            "towers_index_recent": ("Videos that came since the index was built", len(moment.recent)),
            "towers_index_recall": ("Share of the true best 100 found, as last measured", versions.recall),
            "towers_index_tombstones": ("Videos of the built index that went", moment.tombstones),
            "towers_change_lag_seconds": ("From the last change being asked for to being shown here", versions.lag_s),
            "towers_changes_applied": ("Number of the last change that is shown", version.applied),
            "towers_changes_known_timestamp_seconds": ("When all changes were known last", versions.caught_up),
            "towers_bundle_refused": ("Whether a newer version was refused", int(versions.refused is not None)),
            "towers_bundle_made_timestamp_seconds": ("When the bundle was made", version.made_ms / 1000),
        }
