"""A verb that only tells what it was given, to test the command line without training anything."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum

import pytest
from hydra.core.config_store import ConfigStore

from towers.cli.verbs import VERBS, Verb
from towers.types import ConfigError


class Crust(Enum):
    thin = "thin"
    thick = "thick"


@dataclass(kw_only=True)
class Filling(ABC):
    @abstractmethod
    def weigh(self) -> float: ...


@dataclass(kw_only=True)
class Apple(Filling):
    """Apples, cut.

    And more words.
    """

    count: int = 3
    """How many."""

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ConfigError(f"filling.count is {self.count}; expected at least 0")

    def weigh(self) -> float:
        return 0.2 * self.count


@dataclass(kw_only=True)
class Plum(Filling):
    """Plums.

    Attributes:
        stones: Whether they are
            left in.
    """

    stones: bool = False

    def weigh(self) -> float:
        return 1.0


@dataclass(kw_only=True)
class Oven:
    degrees: float = 180
    """Heat."""


@dataclass(kw_only=True)
class Bake:
    """Bake."""

    pie: str
    """Where it goes."""
    filling: Filling
    """What is inside."""
    oven: Oven = field(default_factory=Oven)
    """Where it is baked."""
    crust: Crust = Crust.thin
    """Outside."""
    guests: list[str] = field(default_factory=list)
    """Who comes."""
    slices: list[int] = field(default_factory=lambda: [4, 8])
    """How it is cut."""
    label: str | None = None
    """What it says."""


FILLINGS: dict[str, type[Filling]] = {"apple": Apple, "plum": Plum}
BAKED: list[Bake] = []


def bake(config: Bake) -> Bake:
    BAKED.append(config)
    if config.label == "full disk":
        raise OSError(28, "No space left on device", config.pie)
    if config.label == "defect":
        raise RuntimeError("the oven is on fire")
    if config.label == "interrupt":
        raise KeyboardInterrupt
    return config


def show(config: Bake, result: Bake) -> None:
    if config is not result:
        raise ValueError(config)


def figures_of_pie(pie: Bake) -> dict[str, float]:
    return {"weight": pie.filling.weigh(), "guests": float(len(pie.guests))}


@pytest.fixture
def baked(monkeypatch: pytest.MonkeyPatch) -> list[Bake]:
    verb = Verb(
        name="bake",
        summary="bake a pie",
        story="It takes an hour.",
        config=f"{__name__}:Bake",
        function=f"{__name__}:bake",
        show=f"{__name__}:show",
        groups=(f"{__name__}:FILLINGS",),
        output="pie",
        examples=("towers bake pie=table",),
    )
    monkeypatch.setitem(VERBS, "bake", verb)
    quiet = [{"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}]
    ConfigStore.instance().store(
        name="bake",
        node={
            "defaults": ["bake_schema", {"filling": "apple"}, "_self_", *quiet],
            "hydra": {"run": {"dir": "."}, "output_subdir": None},
        },
    )
    BAKED.clear()
    return BAKED
