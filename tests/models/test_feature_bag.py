import numpy as np
import pytest
import torch

from towers.data import Encoder, Kind
from towers.features import FeatureTable
from towers.models import FeatureBag

ENCODERS = (
    Encoder("author", Kind.categorical, values=("a", "b")),
    Encoder("tags", Kind.multi, values=("x", "y")),
    Encoder("length", Kind.numeric, boundaries=(1.0, 2.0)),
    Encoder("picture", Kind.vector, dim=2),
)


@pytest.fixture
def bag() -> FeatureBag:
    torch.manual_seed(0)
    made = FeatureBag(ENCODERS, 3)
    for mark in made.missing:
        torch.nn.init.normal_(mark)
    return made


def table(codes: list[int], tags: list[int], picture: list[float]) -> FeatureTable:
    return FeatureTable(np.array([codes], np.int32), (np.array([tags], np.int32),), (np.array([picture], np.float32),))


def test_a_thing_is_the_sum_of_its_features_by_hand(bag: FeatureBag) -> None:
    # Lines of the table: author 0-3, length 4-7, tags 8-11.
    lines, projection = bag.table.weight, bag.projections[0]
    picture = torch.tensor([0.6, 0.8])
    expected = lines[2] + lines[4 + 3] + (lines[8 + 2] + lines[8 + 3]) / 2 + projection(picture)
    found = bag(table([2, 3], [2, 3, 0], [3.0, 4.0]).tensors())
    torch.testing.assert_close(found[0], expected)


def test_what_is_missing_has_a_vector_of_its_own(bag: FeatureBag) -> None:
    lines = bag.table.weight
    found = bag(table([0, 0], [0, 0], [0.0, 0.0]).tensors())
    torch.testing.assert_close(found[0], lines[0] + lines[4] + lines[8] + bag.missing[0])


def test_the_lengths_of_content_vectors_do_not_count(bag: FeatureBag) -> None:
    short, long = (bag(table([1, 1], [2, 0], [size, 2 * size]).tensors()) for size in (0.1, 50.0))
    torch.testing.assert_close(short, long)


def test_rows_alone_get_a_gradient_where_the_table_is_sparse(bag: FeatureBag) -> None:
    features = table([2, 3], [2, 3, 0], [3.0, 4.0]).tensors()
    bag(features).square().sum().backward()
    dense = bag.table.weight.grad
    bag.zero_grad()
    bag.table.sparse = True
    bag(features).square().sum().backward()
    assert dense is not None
    assert bag.table.weight.grad is not None
    assert bag.table.weight.grad.is_sparse
    torch.testing.assert_close(bag.table.weight.grad.to_dense(), dense)


def test_a_bag_that_reads_nothing_gives_nothing() -> None:
    found = FeatureBag((), 3)(table([2, 3], [2, 3, 0], [3.0, 4.0]).tensors())
    assert found.tolist() == [[0.0, 0.0, 0.0]]
