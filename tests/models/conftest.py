from collections.abc import Callable

import numpy as np
import pytest
import torch

from towers.data import Encoder, Encoders, Kind
from towers.features import FeatureTable
from towers.models import HISTORIES, ModelConfig, TwoTower
from towers.types import Geometry

ROWS, USERS = 30, 9
Make = Callable[..., TwoTower]


@pytest.fixture
def encoders() -> Encoders:
    return Encoders(
        users=(Encoder("region", Kind.categorical, values=("a", "b")),),
        videos=(
            Encoder("length", Kind.numeric, boundaries=(1.0, 2.0)),
            Encoder("tags", Kind.multi, values=("x", "y")),
            Encoder("content", Kind.vector, dim=3),
        ),
    )


@pytest.fixture
def user_table() -> FeatureTable:
    return FeatureTable(np.random.default_rng(0).integers(0, 4, (USERS, 1), dtype=np.int32))


@pytest.fixture
def video_table() -> FeatureTable:
    rng = np.random.default_rng(1)
    return FeatureTable(
        rng.integers(0, 4, (ROWS, 1), dtype=np.int32),
        (rng.integers(0, 4, (ROWS, 2), dtype=np.int32),),
        (rng.normal(size=(ROWS, 3)).astype(np.float32),),
    )


@pytest.fixture
def make(encoders: Encoders) -> Make:
    def make_towers(
        kind: str = "recency", geometry: Geometry = Geometry.cosine, window: int = 5, *, features: bool = True
    ) -> TwoTower:
        torch.manual_seed(0)
        known = torch.arange(ROWS) < ROWS - 4
        config = ModelConfig(history=HISTORIES[kind](), dim=8, window=window, geometry=geometry, features=features)
        towers = TwoTower(config, encoders, known)
        for parameter in towers.parameters():
            if parameter.ndim:
                torch.nn.init.normal_(parameter, std=0.5)
        return towers

    return make_towers
