import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.features import FeatureTable
from towers.models import MeanHistory, ModelConfig, TwoTower, video_vectors
from towers.models.hashing import table_size, two_places
from towers.models.places import OWN, pair_of
from towers.types import ConfigError

from .conftest import ROWS, Make


@given(buckets=st.integers(1, 40))
def test_no_two_rows_have_the_same_two_places_and_all_are_used_alike(buckets: int) -> None:
    rows = torch.arange(OWN, OWN + buckets**2)
    places = two_places(rows, buckets)
    assert len(torch.unique(places, dim=0)) == len(rows)
    assert (torch.bincount(places.flatten(), minlength=table_size(OWN + 1, buckets))[OWN:] == buckets).all()


def test_padding_and_unknown_keep_their_own_places() -> None:
    assert two_places(torch.tensor([0, 1]), 7).tolist() == [[0, 0], [1, 1]]
    assert [places.tolist() for places in pair_of(np.array([0, 1]), 7)] == [[0, 1], [0, 1]]


@given(buckets=st.integers(1, 40))
def test_arrays_have_the_places_of_tensors(buckets: int) -> None:
    rows = np.arange(OWN + buckets**2)
    np.testing.assert_array_equal(np.stack(pair_of(rows, buckets), 1), two_places(torch.from_numpy(rows), buckets))


def test_buckets_that_could_not_tell_videos_apart_are_refused() -> None:
    assert table_size(102, 10) == 22
    with pytest.raises(
        ConfigError,
        match=r"model\.id_buckets is 10 for 101 ids, of which some would be the same; expected at least 11",
    ):
        table_size(103, 10)


def towers_of(make: Make, buckets: int) -> TwoTower:
    plain = make()
    torch.manual_seed(1)
    config = ModelConfig(history=MeanHistory(), dim=8, window=5, id_buckets=buckets)
    return TwoTower(config, plain.encoders, plain.known)


def test_hashed_ids_tell_videos_apart_with_fewer_weights(make: Make, video_table: FeatureTable) -> None:
    towers = towers_of(make, 7)
    assert towers.ids.weight.shape == (16, 8)
    alike = video_table.take(np.ones(ROWS, np.int64))
    vectors = video_vectors(towers, alike)
    known = towers.known.numpy()
    known[:OWN] = False
    assert len(np.unique(vectors[known].round(5), axis=0)) == known.sum()
    np.testing.assert_array_equal(vectors[OWN:][~known[OWN:]], np.repeat(vectors[1:2], 4, axis=0))


def test_towers_of_hashed_ids_go_on_with_all_their_weights(make: Make) -> None:
    before, after = towers_of(make, 7), towers_of(make, 7)
    torch.nn.init.normal_(before.ids.weight)
    after.known = torch.ones(ROWS, dtype=torch.bool)
    after.begin_ids(torch.ones(ROWS, 8))
    assert not (after.ids.weight == 1).any()
    after.continue_from(before)
    assert torch.equal(after.ids.weight, before.ids.weight)
    assert after.known.all()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("id_buckets", -1, r"model\.id_buckets is -1; expected at least 0"),
        ("id_min_count", 0, r"model\.id_min_count is 0; expected at least 1"),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**{"history": MeanHistory(), option: value})  # type: ignore[arg-type]
