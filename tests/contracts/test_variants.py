"""What every variant, and every option that is one, says of itself: where it is from, and when to take it."""

import pytest

from towers.cli.schema import field_texts
from towers.features import SAMPLERS, Uniform
from towers.losses import LOSSES, Softmax
from towers.models import HISTORIES, ModelConfig
from towers.training import OptimConfig, TrainConfig

VARIANTS: dict[str, type] = {**HISTORIES, **LOSSES, **SAMPLERS}
OPTIONS: dict[type, list[str]] = {
    ModelConfig: [
        *("features", "id_buckets", "id_min_count", "id_expiry_days", "id_dropout", "user_id", "interests"),
        *("popularity", "popularity_strength", "spectral"),
    ],
    OptimConfig: ["find", "tables", "average"],
    Softmax: ["label_smoothing"],
    TrainConfig: ["passed_weight"],
    Uniform: ["count"],
}


@pytest.mark.parametrize("name", VARIANTS)
def test_it_names_its_source_and_recommends_when_to_take_it(name: str) -> None:
    told = str(VARIANTS[name].__doc__)
    assert "\n    Source:\n        " in told
    assert "\n    Recommendation: " in told


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in OPTIONS.items() for name in names])
def test_an_option_does_so_too(owner: type, name: str) -> None:
    told = field_texts(owner)[name]
    assert "Source: " in told
    assert "Recommendation: " in told
