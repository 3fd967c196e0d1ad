"""Who is compared, and with which settings; each was chosen on valid or is named as the best in its own words."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another package.

    Attributes:
        title: Its name and version, as tables and the picture write it.
        script: Module of this folder that trains it.
        environment: Name of the file in requirements/ and of the environment; several peers may share one.
        settings: What the script is told.
        of: What it is told otherwise on one protocol.
        once: Too slow for more than one turn.
    """

    title: str
    script: str
    environment: str
    settings: Mapping[str, str]
    of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    once: bool = False

    def words(self, protocol: str) -> list[str]:
        """Return the settings on a protocol as `key=value` words."""
        return [f"{key}={value}" for key, value in (dict(self.settings) | dict(self.of.get(protocol, {}))).items()]


@dataclass(frozen=True, kw_only=True)
class Ours:
    """This package with options of `towers train`."""

    title: str
    options: tuple[str, ...]
    of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def words(self, protocol: str) -> list[str]:
        """Return the options on a protocol."""
        return list(self.of.get(protocol, self.options))


OURS = {
    "towers-closed": Ours(title="towers: closed form", options=("experiment=kuairand-closed",)),
    "towers-instant": Ours(title="towers: instant", options=("experiment=kuairand-instant",)),
    "towers-fast": Ours(
        title="towers: fast", options=("experiment=kuairand-fast",), of={"ml-1m": ("experiment=ml-1m-fast",)}
    ),
    "towers-64": Ours(
        title="towers: d 64", options=("experiment=kuairand", "model.dim=64"), of={"ml-1m": ("experiment=ml-1m",)}
    ),
}
PEERS = {
    "implicit-als": Peer(
        title="implicit ALS 0.7.3",
        script="implicit_factors",
        environment="implicit",
        settings={"kind": "als", "factors": "128", "regularization": "200", "alpha": "20", "iterations": "15"},
    ),
    "implicit-bpr": Peer(
        title="implicit BPR 0.7.3",
        script="implicit_factors",
        environment="implicit",
        settings={
            "kind": "bpr",
            "factors": "128",
            "regularization": "0.01",
            "learning_rate": "0.05",
            "iterations": "100",
        },
    ),
    "rectools-sasrec": Peer(
        title="RecTools 0.19 SASRec",
        script="rectools_sasrec",
        environment="rectools",
        settings={
            "factors": "64",
            "blocks": "2",
            "heads": "1",
            "dropout": "0.2",
            "window": "50",
            "batch": "128",
            "learning_rate": "0.001",
            "epochs": "2",
        },
        of={"ml-1m": {"window": "100", "batch": "32", "learning_rate": "0.002", "epochs": "12"}},
        once=True,
    ),
    "libreco-two-tower": Peer(
        title="LibRecommender 1.5.2 TwoTower",
        script="libreco_two_tower",
        environment="libreco",
        settings={
            "dim": "64",
            "cosine": "true",
            "epochs": "3",
            "learning_rate": "0.001",
            "batch": "2048",
            "batch_norm": "true",
            "dropout": "0",
            "hidden": "128,64",
            "temperature": "0.1",
        },
    ),
    "rechub-youtube-dnn": Peer(
        title="torch-rechub 0.9 YoutubeDNN",
        script="rechub_youtube_dnn",
        environment="rechub",
        settings={
            "dim": "64",
            "window": "50",
            "negatives": "20",
            "examples": "1000000",
            "temperature": "0.1",
            "epochs": "1",
            "learning_rate": "0.001",
            "batch": "1024",
        },
    ),
    "recbole-bpr": Peer(
        title="RecBole 1.2.1 BPR",
        script="recbole_bpr",
        environment="recbole",
        settings={
            "dim": "64",
            "epochs": "10",
            "learning_rate": "0.001",
            "batch": "2048",
            "weight_decay": "0",
        },
    ),
}
CONTENDERS: dict[str, Peer | Ours] = {**OURS, **PEERS}
