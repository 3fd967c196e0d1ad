import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics import Metric

from towers.metrics import METRICS, Coverage, RankingMetric, Recall, mrr, ranking
from towers.types import ConfigError, DataError


def _case() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(3)
    hits = rng.random((40, 20)) < 0.1
    return torch.from_numpy(hits), torch.from_numpy(np.maximum(1, hits.sum(1) + rng.integers(0, 4, 40)))


def _joined(first: Metric, second: Metric, state: str) -> torch.Tensor:
    """Reduce a state as torchmetrics does over two processes."""
    reduce = first._reductions[state]
    assert callable(reduce)
    joined: torch.Tensor = reduce(torch.stack([getattr(first, state), getattr(second, state)]))
    return joined


@pytest.mark.parametrize("name", METRICS)
def test_batches_of_any_size_add_up_to_the_mean_over_users(name: str) -> None:
    hits, relevant = _case()
    metric = METRICS[name](k=10)
    for part in (slice(0, 1), slice(1, 29), slice(29, 40)):
        metric.update(hits[part], relevant[part])
    function = mrr if name == "mrr" else ranking.PER_USER[name]
    assert float(metric.compute()) == pytest.approx(function(hits.numpy(), relevant.numpy(), 10).mean())


@pytest.mark.parametrize("name", METRICS)
def test_states_of_two_processes_are_summed(name: str) -> None:
    hits, relevant = _case()
    whole, first, second = (METRICS[name](k=10) for _ in range(3))
    whole.update(hits, relevant)
    first.update(hits[:31], relevant[:31])
    second.update(hits[31:], relevant[31:])
    for state in ("total", "users"):
        assert _joined(first, second, state).tolist() == getattr(whole, state).tolist()


@given(numbers=st.lists(st.floats(0, 1), min_size=1, max_size=300), seed=st.integers(0, 9))
def test_a_mean_is_the_same_to_the_last_bit_in_any_order_and_parts(numbers: list[float], seed: int) -> None:
    values = np.array(numbers)
    whole, dealt = Given(k=1), Given(k=1)
    whole.given = values
    whole.update(torch.zeros(len(values), 1, dtype=torch.bool), torch.ones(len(values), dtype=torch.int64))
    rng = np.random.default_rng(seed)
    for part in np.array_split(rng.permutation(values), rng.integers(1, 9)):
        dealt.given = part
        dealt.update(torch.zeros(len(part), 1, dtype=torch.bool), torch.ones(len(part), dtype=torch.int64))
    assert whole.total.tolist() == dealt.total.tolist()
    assert float(dealt.compute()) == pytest.approx(math.fsum(numbers) / len(numbers), abs=1e-15)


class Given(RankingMetric):
    """A metric whose values are given."""

    given: np.ndarray

    def values(self, hits: ranking.HitMatrix, relevant: ranking.Relevant) -> ranking.PerUser:  # noqa: ARG002
        return self.given


def test_reset_forgets() -> None:
    hits, relevant = _case()
    metric = Recall(k=10)
    metric.update(hits, relevant)
    metric.reset()
    metric.update(torch.tensor([[True] * 10]), torch.tensor([10]))
    assert float(metric.compute()) == 1


def test_coverage_counts_each_video_once_within_k() -> None:
    coverage = Coverage(k=2, videos=8)
    coverage.update(torch.tensor([[0, 1, 2], [1, -1, -1]]))
    coverage.update(torch.tensor([[7, 0, 3]]))
    assert float(coverage.compute()) == 3 / 8


def test_coverage_of_two_processes_is_that_of_all_lists() -> None:
    first, second = Coverage(k=2, videos=4), Coverage(k=2, videos=4)
    first.update(torch.tensor([[0, 1]]))
    second.update(torch.tensor([[1, 2]]))
    assert _joined(first, second, "shown").tolist() == [1, 1, 1, 0]


def test_coverage_refuses_a_video_outside_the_catalogue() -> None:
    with pytest.raises(DataError, match="lists hold positions 0 to 9, the catalogue has 0 to 3"):
        Coverage(k=2, videos=4).update(torch.tensor([[0, 9]]))


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_a_mean_over_nobody_is_refused() -> None:
    with pytest.raises(DataError, match="Recall@5 has seen 0 users; call update before compute"):
        Recall(k=5).compute()


def test_k_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="k is 0; a metric needs a k of at least 1"):
        Recall(k=0)
    with pytest.raises(ConfigError, match="k is 0 and the catalogue has 3 videos"):
        Coverage(k=0, videos=3)
