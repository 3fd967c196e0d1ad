import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar

import pytest

from towers import EvaluateConfig, KuaiRand, PrepareConfig, PublishConfig, TrainConfig
from towers.kinds import check_kinds
from towers.types import ConfigError


class Crust(Enum):
    thin = "thin"
    thick = "thick"


@dataclass
class Filling(ABC):
    @abstractmethod
    def weigh(self) -> float: ...


@dataclass
class Plum(Filling):
    count: int = 3

    def weigh(self) -> float:
        return 1.0


@dataclass
class Apple(Plum):
    pass


@dataclass
class Pie:
    round: ClassVar[bool] = True
    filling: Any = None
    crust: Crust = Crust.thin
    degrees: float = 180
    hot: bool = True
    slices: list[int] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)
    label: str | None = None
    inside: Filling = field(default_factory=Plum)
    crusts: dict[str, Crust] = field(default_factory=dict)
    others: list[Crust] = field(default_factory=list)
    sides: tuple[str, ...] = ()


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"degrees": 7, "hot": False, "label": "x", "slices": [1], "notes": {"a": 1}, "filling": object()},
        {"inside": Apple(2), "crust": Crust.thick},
    ],
)
def test_what_is_of_its_kind_passes(told: dict[str, Any]) -> None:
    check_kinds(Pie(**told))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"crust": "thik"}, "pie.crust is 'thik'; expected 'thin' or 'thick'"),
        ({"degrees": "180"}, "pie.degrees is '180'; expected a number"),
        ({"degrees": True}, "pie.degrees is True; expected a number"),
        ({"hot": 1}, "pie.hot is 1; expected True or False"),
        ({"slices": [1, 2.5]}, "pie.slices is [1, 2.5]; expected a list, each of it a whole number"),
        ({"slices": (1,)}, "pie.slices is (1,); expected a list, each of it a whole number"),
        ({"notes": {"a": "b"}}, "pie.notes is {'a': 'b'}; expected a dict, each value a number"),
        ({"label": 7}, "pie.label is 7; expected a text or None"),
        ({"inside": "plum"}, "pie.inside is 'plum'; expected Apple(…) or Plum(…) of tests"),
        ({"inside": Plum(count=2.5)}, "pie.inside.count is 2.5; expected a whole number"),  # type: ignore[arg-type]
    ],
)
def test_what_is_of_another_kind_is_named_with_what_was_expected(told: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as found:
        check_kinds(Pie(**told), "pie.")
    assert str(found.value) == message


def test_paths_become_texts_and_names_what_they_name() -> None:
    pie = Pie(crust="thick", label=PurePath("a/b"), crusts={"top": "thin"}, others=["thick"])  # type: ignore[arg-type, dict-item, list-item]
    check_kinds(pie)
    assert (pie.crust, pie.label) == (Crust.thick, "a/b")
    assert (pie.crusts, pie.others) == ({"top": Crust.thin}, [Crust.thick])


def test_of_other_containers_nothing_is_known() -> None:
    check_kinds(Pie(sides=("a", "b")))


WRONG = """
from towers.losses import Softmax
from towers.features import InBatch
from towers.models import ModelConfig, RecencyHistory
from towers.training import TrainConfig
from towers.training.config import OptimConfig
from towers.types import ConfigError

model = ModelConfig(history=RecencyHistory())
given = dict(dataset="d", run="r", model=model, loss=Softmax(), sampler=InBatch())
for make, told in (
    (TrainConfig, given | {"precision": "bf16"}),
    (TrainConfig, given | {"loss": "softmax"}),
    (ModelConfig, {"history": RecencyHistory(), "dim": "16"}),
    (OptimConfig, {"epochs": 0.5}),
    (RecencyHistory, {"heads": "4"}),
):
    try:
        make(**told)
    except ConfigError as error:
        print(error)
"""


def test_configs_made_in_python_are_checked() -> None:
    """In a process of its own: here every signature is checked before."""
    told = subprocess.run([sys.executable, "-c", WRONG], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == [
        "precision is 'bf16'; expected 'auto', 'float32' or 'bfloat16'",
        "loss is 'softmax'; expected Bpr(…), Contrastive(…), Gbce(…) or Softmax(…) of towers.losses",
        "model.dim is '16'; expected a whole number",
        "optim.epochs is 0.5; expected a whole number",
        "model.history.heads is '4'; expected a whole number",
    ]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (lambda: TrainConfig(dataset="", run="r"), "dataset"),
        (lambda: TrainConfig(dataset="d", run=" "), "run"),
        (lambda: PrepareConfig(data=KuaiRand(), dataset=""), "dataset"),
        (lambda: EvaluateConfig(run=""), "run"),
        (lambda: PublishConfig(run="r", bundle=""), "bundle"),
    ],
)
def test_a_folder_without_a_name_is_refused(config: Callable[[], object], name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} is empty; give a folder \(a shell's variable"):
        config()
