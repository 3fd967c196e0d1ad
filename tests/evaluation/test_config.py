import pytest

from towers.evaluation import FLOORS, EvaluateConfig
from towers.types import ConfigError


def test_all_floors_are_measured_unless_told_otherwise() -> None:
    assert EvaluateConfig(run="r").floors == list(FLOORS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"floors": ["popular", "pop"]}, "floors has 'pop'; choose from popular, popular_in_last"),
        ({"floors": []}, "floors is empty, so there is nothing to beat"),
        ({"draws": 1}, "draws is 1; an interval needs at least 2"),
        ({"examples": -1}, "examples is -1; expected 0 or more"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"lists": "lists.csv"}, "lists is 'lists.csv'; expected a file name that ends in .parquet"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EvaluateConfig(run="r", **options)  # type: ignore[arg-type]
