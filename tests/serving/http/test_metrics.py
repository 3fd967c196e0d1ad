"""What a real Prometheus reads from a real `towers serve`, with the rules and the dashboard that are shipped."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx
import pytest
import yaml

from tests import tiny
from tests.processes import DEPLOY, Process, ended, fetch, free_port, serve, until
from tests.serving.http.conftest import Start
from tests.stores import Server
from towers.publishing import point_to
from towers.serving import Client
from towers.serving.client import AnswerError
from towers.serving.store import RedisState

USERS, VIDEOS = tiny.ids_of(tiny.USERS, string=False), tiny.ids_of(tiny.VIDEOS, string=False)
NEW, NEWEST = 2**60, 2**61
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "towers.json").read_text())
pytestmark = pytest.mark.timeout(900)  # a process of its own that may have to make machine code first
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus") or not shutil.which("promtool"),
    reason="there is no Prometheus here; on Debian: apt-get install prometheus",
)


class Scraped(NamedTuple):
    """A service and the Prometheus that watches it."""

    service: str
    prometheus: str

    def told(self, path: str) -> Any:  # noqa: ANN401
        """Return what a path of Prometheus' API says."""
        return json.loads(fetch(f"{self.prometheus}/api/v1/{path}")[1])

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression as of now."""
        answer = self.told(f"query?{urlencode({'query': expression})}")
        assert answer["status"] == "success", f"{expression}: {answer}"
        return list(answer["data"]["result"])

    def value(self, expression: str) -> float | None:
        """Return the value of an expression that has one; None where it has none yet."""
        found = self.ask(expression)
        assert len(found) < 2, f"{expression} gives {len(found)} series"
        return float(found[0]["value"][1]) if found else None

    def wait_for(self, expression: str) -> None:
        """Wait until a comparison holds."""
        until(
            lambda: self.ask(expression) or None, f"{expression}; service: {httpx.get(self.service + '/metrics').text}"
        )


def configuration(folder: Path, port: int) -> Path:
    """Write the shipped configuration with another target, and looking more often."""
    settings = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"}
    settings["rule_files"] = [str(DEPLOY / name) for name in settings["rule_files"]]
    (job,) = settings["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(settings))
    return path


def refuse_a_bundle(root: Path) -> None:
    """Point to a version that is not as it was published."""
    (good,) = (root / "versions").iterdir()
    shutil.copytree(good, good.with_name("000002-00000bad"))
    (good.with_name("000002-00000bad") / "manifest.json").write_text("{}")
    point_to(root, "000002-00000bad")


def cause(client: Client, new: int, gone: int) -> None:
    """Do what the tests count: ask for candidates 8 times, once wrongly, tell 3 events, of which one is new."""
    for user in (USERS[3], USERS[3], USERS[3], None, None):
        assert len(client.candidates(user, k=5)["video_ids"]) == 5
    assert client.candidates(None, k=100)["short_because"]
    assert client.candidates(None, k=5, history=[VIDEOS[3], NEWEST])["dropped"] == 1
    event = {"event_id": f"{new}", "user_id": USERS[4], "video_id": VIDEOS[0]}
    client.events([event, event])
    client.events([event])
    client.put_videos({new: {}})
    client.remove_video(gone)
    with pytest.raises(AnswerError):
        client.candidates("text")
    with pytest.raises(AnswerError):
        client.similar(NEWEST)
    assert fetch(f"{client.url}/no/such/path/{new}")[0] == 404


@pytest.fixture(scope="module")
def scraped(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """Both of them, after all that the tests below count."""
    folder = tmp_path_factory.mktemp("scraped")
    root, port, other = shutil.copytree(tiny_bundle, folder / "bundle"), free_port(), free_port()
    with ExitStack() as stack:
        service = stack.enter_context(ended(serve(root, folder / "a", port, f"store.path={folder / 'state.db'}")))
        words = ["prometheus", f"--config.file={configuration(folder, port)}", f"--storage.tsdb.path={folder / 'tsdb'}"]
        watching = Process([*words, f"--web.listen-address=127.0.0.1:{other}"], folder / "prometheus.log")
        stack.enter_context(ended(watching))
        found = Scraped(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}")
        service.wait_for(f"{found.service}/readyz")
        watching.wait_for(f"{found.prometheus}/-/ready")
        with Client(found.service, timeout_s=30.0, tries=0) as client:
            cause(client, NEW, VIDEOS[7])
            found.wait_for("towers_changes_applied == 2")
            cause(client, NEW + 1, VIDEOS[8])
        refuse_a_bundle(root)
        found.wait_for("towers_changes_applied == 4 and towers_bundle_refused == 1")
        yield found


@needs_prometheus
def test_it_counts_what_was_caused(scraped: Scraped) -> None:
    counted = {
        'towers_requests_total{method="POST", route="/v1/candidates", status="200"}': 14,
        'towers_requests_total{method="POST", route="/v1/candidates", status="400"}': 2,
        'towers_requests_total{method="POST", route="/v1/events", status="200"}': 4,
        'towers_requests_total{method="DELETE", route="/v1/videos/{video_id}", status="204"}': 2,
        'towers_requests_total{method="GET", route="/v1/videos/{video_id}/similar", status="404"}': 2,
        'towers_requests_total{method="none", route="none", status="404"}': 2,
        'towers_request_duration_seconds_count{method="POST", route="/v1/candidates"}': 16,
        'towers_request_duration_seconds_bucket{method="POST", route="/v1/candidates", le="+Inf"}': 16,
        'towers_candidates_total{path="personal"}': 8,
        'towers_candidates_total{path="new_user"}': 6,
        'towers_candidates_total{path="popular"}': 0,
        "towers_candidates_short_total": 2,
        "towers_candidates_without_history_total": 0,
        "towers_history_videos_dropped_total": 2,
        'towers_events_total{repeated="no"}': 2,
        'towers_events_total{repeated="yes"}': 4,
        "towers_queue_length": 0,
        "towers_queue_refused_total": 0,
        "towers_answers_unkept_total": 0,
        "towers_store_up": 1,
        "towers_store_waiting": 0,
        "towers_index_videos": tiny.VIDEOS,
        "towers_index_recent": 2,
        "towers_index_tombstones": 2,
        "towers_changes_applied": 4,
        "towers_bundle_adoptions_total": 1,
        "towers_bundle_refused": 1,
    }
    assert {expression: scraped.value(expression) for expression in counted} == counted


@needs_prometheus
def test_times_are_in_seconds_and_of_now(scraped: Scraped) -> None:
    times = {
        "time() - towers_changes_known_timestamp_seconds": (0, 30),
        "time() - process_start_time_seconds": (0, 600),
        "time() - towers_bundle_made_timestamp_seconds": (0, 3600),
        "towers_change_lag_seconds": (0.0001, 30),
        'towers_request_duration_seconds_sum{route="/v1/candidates"}': (0.0001, 30),
    }
    for expression, (least, most) in times.items():
        found = scraped.value(expression)
        assert found is not None, expression
        assert least <= found <= most, expression


@needs_prometheus
def test_only_what_grows_is_a_counter(scraped: Scraped) -> None:
    kinds = scraped.told("metadata")["data"]
    ours = {name: told[0]["type"] for name, told in kinds.items() if name.startswith(("towers_", "process_"))}
    assert {name for name, kind in ours.items() if kind == "counter"} == {
        name for name in ours if name.endswith("_total")
    }
    assert [name for name, kind in ours.items() if kind == "histogram"] == ["towers_request_duration_seconds"]


@needs_prometheus
def test_the_linter_has_nothing_to_say(scraped: Scraped) -> None:
    text = fetch(f"{scraped.service}/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_prometheus
def test_the_rules_are_at_work(scraped: Scraped) -> None:
    def look() -> list[dict[str, Any]] | None:
        (group,) = scraped.told("rules")["data"]["groups"]
        return None if any(rule["health"] == "unknown" for rule in group["rules"]) else list(group["rules"])

    rules = {rule["name"]: rule for rule in until(look, "all rules are evaluated")}
    assert {name: rule["lastError"] for name, rule in rules.items() if rule["health"] != "ok"} == {}
    scraped.wait_for('ALERTS{alertname="TowersBundleRefused", alertstate="pending"}')
    others = {alert["metric"]["alertname"] for alert in scraped.ask("ALERTS")} - {"TowersBundleRefused"}
    assert others <= {"TowersSlow"}, "which a busy machine may be"


def expressions() -> list[tuple[str, str]]:
    """Return what the dashboard asks, as Grafana would ask it."""
    told = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    told += [(each["name"], each["expr"]) for each in DASHBOARD["annotations"]["list"]]
    return [(title, said.replace("$instance", ".*").replace("$__rate_interval", "1m")) for title, said in told]


@needs_prometheus
def test_every_panel_has_something_to_show(scraped: Scraped) -> None:
    for title, expression in expressions():
        assert "$" not in expression.replace("$|", ""), expression
        found = scraped.ask(expression)
        assert found or title == "New bundle", f"{title}: {expression}"
    (p99,) = scraped.ask(next(said for title, said in expressions() if title == "Candidates, p99"))
    assert 0.0003 < float(p99["value"][1]) <= 2.5
    (now,) = scraped.ask(next(said for title, said in expressions() if title == "Requests a second"))
    assert float(now["value"][1]) > 0


@needs_prometheus
def test_every_metric_of_the_service_is_on_the_dashboard(scraped: Scraped) -> None:
    names = set(scraped.told("label/__name__/values")["data"])
    shown = {name for _, said in expressions() for name in re.findall(r"\btowers_\w+", said)}
    ours = {name for name in names if name.startswith("towers_") and not name.endswith(("_count", "_sum"))}
    assert (shown - names, ours - shown) == (set(), set())


def test_who_asks_and_for_what_makes_no_series(start: Start, tiny_bundle: Path) -> None:
    client = start(tiny_bundle)

    def series() -> list[str]:
        lines = fetch(f"{client.url}/metrics")[1].splitlines()
        return [line.rsplit(" ", 1)[0] for line in lines if line.startswith("towers_")]

    def ask(n: int) -> None:
        client.candidates(n)
        client.events([{"user_id": n, "video_id": n}])
        client.put_videos({n: {}})
        client.remove_video(n)
        client.user(n)
        httpx.request(f"ODD{n}", f"{client.url}/{n}", headers={"x-request-id": f"{n}"})

    series()
    ask(NEW)
    before = series()
    for n in range(20):
        ask(NEW + n)
    assert series() == before
    assert len(before) < 200
    assert not [one for one in before if "_created" in one]


@pytest.mark.skipif(
    not shutil.which("redis-server"), reason="there is no Redis; on Debian: apt-get install redis-server"
)
def test_a_store_that_is_away_is_seen_and_what_waits_for_it(start: Start, tiny_bundle: Path, tmp_path: Path) -> None:
    server = Server()
    server.start()
    try:
        spooling = RedisState(url=server.url, spool=str(tmp_path / "spool.db"))
        client = start(tiny_bundle, store=spooling, remember=0.0)
        bare = start(
            tiny_bundle, store=RedisState(url=server.url, spool=""), remember=0.0, state=str(tmp_path / "bare")
        )

        def numbers(asked: Client) -> tuple[float, ...]:
            lines = fetch(f"{asked.url}/metrics")[1].splitlines()
            told = dict(line.rsplit(" ", 1) for line in lines if line.startswith("towers_"))
            names = ("store_up", "store_waiting", "candidates_without_history_total")
            return tuple(float(told[f"towers_{name}"]) for name in names)

        assert bare.candidates(USERS[4], k=3)["history_known"]
        assert numbers(client) == numbers(bare) == (1, 0, 0)
        server.kill()
        assert client.events([{"user_id": USERS[4], "video_id": VIDEOS[0]}]) == {
            "new": 1,
            "repeated": 0,
            "unknown_videos": 0,
        }
        assert not bare.candidates(USERS[4], k=3)["history_known"]
        assert numbers(client) == (0, 1, 0)
        assert numbers(bare) == (0, 0, 1)
        server.start()
        until(lambda: numbers(client) == (1, 0, 0) or None, "what waits is delivered")
    finally:
        server.stop()
