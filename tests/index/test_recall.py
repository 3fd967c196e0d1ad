"""Recall of an index against the exact one."""

import numpy as np
import pytest

from towers.index import Exact, Ivf, measured_recall
from towers.types import DataError, Geometry


def test_recall_counts_what_both_found() -> None:
    # Query (1, 0): the reference's best two are ids 0 and 1, the other index knows 0 and 2 alone.
    vectors = np.array([[3, 0], [2, 0], [1, 0]], np.float32)
    reference = Exact().build(vectors, np.arange(3), Geometry.dot)
    other = Exact().build(vectors[[0, 2]], np.array([0, 2]), Geometry.dot)
    assert measured_recall(other, reference, np.array([[1, 0]], np.float32), 2) == 0.5


def test_an_inexact_or_empty_reference_is_refused() -> None:
    vectors = np.eye(3, dtype=np.float32)
    exact, ivf = (index.build(vectors, np.arange(3), Geometry.cosine) for index in (Exact(), Ivf()))
    with pytest.raises(DataError, match="needs an exact reference, not ivf"):
        measured_recall(exact, ivf, vectors, 1)
    with pytest.raises(DataError, match="recall@1 of 0 queries over 3 vectors has nothing to find"):
        measured_recall(exact, exact, vectors[:0], 1)
