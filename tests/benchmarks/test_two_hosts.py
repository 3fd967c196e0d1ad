from pathlib import Path

import pytest
import torch

from benchmarks import two_hosts
from tests.tiny import write_dataset, write_run
from towers.models import load_towers, save_towers


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs with equal towers and figures."""
    dataset = write_dataset(tmp_path / "dataset")
    one, two = (write_run(tmp_path / name, dataset) for name in ("one", "two"))
    for run in (one, two):
        (run / "history.csv").write_text("stage,epoch,recall@100\nfit,1,0.25\nfit,2,0.5\nrefit,1,\n")
    return one, two


def shift(run: Path, by: float) -> None:
    towers = load_towers(run / "towers")
    with torch.no_grad():
        towers.start[3] += by
    save_towers(towers, run / "towers")


def test_the_farthest_weight_and_figure_count(runs: tuple[Path, Path]) -> None:
    one, two = runs
    assert two_hosts.compared(two, one) == {
        "recall@100": "0.500000",
        "figures_apart": "0.0e+00",
        "weights_apart": "0.0e+00",
    }
    shift(two, 2**-14)
    (two / "history.csv").write_text("stage,epoch,recall@100\nfit,1,0.25\nfit,2,0.4999\nrefit,1,\n")
    found = two_hosts.compared(two, one)
    assert (found["figures_apart"], found["weights_apart"]) == ("1.0e-04", "6.1e-05")


def test_towers_that_are_not_the_same_are_refused(runs: tuple[Path, Path]) -> None:
    one, two = runs
    shift(two, -0.5)
    with pytest.raises(ValueError, match=r"two: a figure is 0, a weight 0\.5 away; expected ≤ 0\.001"):
        two_hosts.compared(two, one)


def test_a_host_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"host 1 ended with status 3:\nthe cable is out"):
        two_hosts.train_together([["true"], ["sh", "-c", "echo the cable is out; exit 3"]])


def test_each_host_has_a_place_and_a_cable_of_its_own() -> None:
    for number, host in enumerate(two_hosts.HOSTS):
        command = " ".join(two_hosts.on_host(number, ["seed=1"]))
        assert command.startswith(f"ip netns exec {host} env GLOO_SOCKET_IFNAME=cable{number} ")
        assert f"--nnodes=2 --node-rank={number} " in command
        assert command.endswith(" seed=1")
