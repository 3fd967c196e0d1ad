"""Vectors of least squares, against the sums they are the least of."""

import numpy as np
import pytest
import torch

from towers.evaluation import ials
from towers.evaluation.ials import Squares, video_factors
from towers.evaluation.watched import Watched

ROWS, VIDEOS, FACTORS = 9, 30, 4
SQUARES = Squares(unobserved=0.3, penalty=0.05)


def made_up() -> Watched:
    """Rows that watched 0 to 8 videos: fewer than there are factors, as many, and more."""
    rng = np.random.default_rng(0)
    met = [np.sort(rng.choice(VIDEOS, count, replace=False)) for count in rng.permutation(ROWS)]
    return Watched(np.concatenate([[0], np.cumsum([len(each) for each in met])]), np.concatenate(met))


def loss(watched: Watched, users: torch.Tensor, videos: torch.Tensor, squares: Squares) -> torch.Tensor:
    """The sum as it is written, over the whole table."""
    table = torch.zeros(len(users), len(videos), dtype=users.dtype)
    table[torch.from_numpy(watched.owner), torch.from_numpy(watched.column)] = 1
    scores = users @ videos.T
    often = table.sum(1) + squares.unobserved * len(videos)
    lengths = squares.penalty * (often * users.square().sum(1)).sum()
    return (table * (1 - scores).square()).sum() + squares.unobserved * scores.square().sum() + lengths


@pytest.mark.parametrize("block", [4_000_000, 50])
def test_nothing_is_less_than_the_solution(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ials, "BLOCK", block)
    watched, videos = made_up(), torch.randn(VIDEOS, FACTORS, generator=torch.Generator().manual_seed(0))
    users = SQUARES.solved(watched, videos).double().requires_grad_()
    (slope,) = torch.autograd.grad(loss(watched, users, videos.double(), SQUARES), users)
    assert slope.abs().max() < 1e-4
    assert (users[np.flatnonzero(np.diff(watched.offsets) == 0)] == 0).all()
    assert (users.abs().sum(1) > 0).sum() == ROWS - 1


def test_every_sweep_lessens_the_whole() -> None:
    watched = made_up()
    whole = []
    for sweeps in (1, 2, 5):
        videos = video_factors(watched, VIDEOS, SQUARES, FACTORS, sweeps)
        users = SQUARES.solved(watched, videos)
        often = torch.from_numpy(np.bincount(watched.column, minlength=VIDEOS)) + SQUARES.unobserved * (ROWS - 1)
        lengths = SQUARES.penalty * (often * videos.square().sum(1)).sum()
        whole.append(float(loss(watched, users, videos, SQUARES) + lengths))
    assert whole[0] > whole[1] > whole[2]


def test_who_is_only_listed_counts_for_nothing() -> None:
    watched = made_up()
    listed = Watched(np.append(watched.offsets, [watched.offsets[-1]] * 50), watched.column)
    alone, beside = (video_factors(each, VIDEOS, SQUARES, FACTORS, 3) for each in (watched, listed))
    torch.testing.assert_close(alone, beside)


def test_watched_turned_twice_is_as_before() -> None:
    watched = made_up()
    again = watched.turned(VIDEOS).turned(ROWS)
    assert again.offsets.tolist() == watched.offsets.tolist()
    assert again.column.tolist() == watched.column.tolist()
