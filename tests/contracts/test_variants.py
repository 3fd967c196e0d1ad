"""What every variant says of itself: where it is from, and when to take it."""

import pytest

from towers.features import SAMPLERS
from towers.losses import LOSSES
from towers.models import HISTORIES

VARIANTS: dict[str, type] = {**HISTORIES, **LOSSES, **SAMPLERS}


@pytest.mark.parametrize("name", VARIANTS)
def test_it_names_its_source_and_recommends_when_to_take_it(name: str) -> None:
    told = str(VARIANTS[name].__doc__)
    assert "\n    Source:\n        " in told
    assert "\n    Recommendation: " in told
