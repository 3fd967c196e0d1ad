"""How the service does, from what it counts for Prometheus."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from prometheus_client.samples import Sample

from towers.serving.page.messages import PageLive, PageRoute

_STATE = "towers_"


def told_live(samples: Iterable[Sample], time_ms: int, version: str, store_away: str) -> PageLive:
    """Return what the page draws.

    Args:
        samples: All numbers of now.
        time_ms: When that is.
        version: What is served.
        store_away: Why the store cannot be reached; empty where it can.
    """
    statuses: dict[str, Counter[str]] = defaultdict(Counter)
    within: dict[str, Counter[float]] = defaultdict(Counter)
    paths, events, state = {}, {}, {}
    for each in samples:
        if each.name == "towers_requests_total":
            statuses[each.labels["route"]][each.labels["status"]] += int(each.value)  # of all methods
        elif each.name == "towers_request_duration_seconds_bucket":
            within[each.labels["route"]][float(each.labels["le"])] += int(each.value)
        elif each.name == "towers_candidates_total":
            paths[each.labels["path"]] = int(each.value)
        elif each.name == "towers_events_total":
            events["repeated" if each.labels["repeated"] == "yes" else "new"] = int(each.value)
        elif not each.labels and each.name.startswith(_STATE):
            state[each.name.removeprefix(_STATE)] = each.value
    bounds = sorted(next(iter(within.values()), {}))
    routes = [
        PageRoute(route, counts, [within[route][bound] for bound in bounds])
        for route, counts in sorted(statuses.items())
    ]
    finite = [bound for bound in bounds if bound != float("inf")]
    return PageLive(time_ms, version, finite, routes, paths, events, state, store_away)
