from typing import Any

import numpy as np
import pytest

from towers.features import Hard, InBatch, Pool, Popularity, Queued, Sampler, Step, Uniform
from towers.types import ConfigError

SHARE = np.array([0, 0, 0.5, 0.25, 0.25, 0])
POOL = Pool(SHARE, np.arange(2, 6))


def step(number: int = 0, targets: list[int] | None = None, earlier: list[int] | None = None) -> Step:
    return Step(
        number=number,
        targets=np.array(targets or [3], np.int64),
        earlier=np.array(earlier or [], np.int64),
        users=np.array([7]),
        history=np.array([[2]]),
    )


def drawn(sampler: Sampler, asked: Step, pool: Pool = POOL) -> tuple[list[int], list[float]]:
    rows, log_q = sampler.draw(asked, pool, np.random.default_rng(0))
    return rows.tolist(), np.exp(log_q).tolist()


def test_in_batch_by_hand() -> None:
    rows, q = drawn(InBatch(), step(targets=[2, 3, 2]))
    assert rows == [2, 3]
    assert q == pytest.approx([1 - 0.5**3, 1 - 0.75**3])


def test_popularity_by_hand() -> None:
    # to the power of a half the shares are .707, .5, .5 and 0, which sum to 1.707
    rows, q = drawn(Popularity(count=50, power=0.5), step())
    assert rows == [2, 3, 4]
    total = 0.5**0.5 + 1
    assert q == pytest.approx([1 - (1 - 0.5**0.5 / total) ** 50] + 2 * [1 - (1 - 0.5 / total) ** 50])


def test_to_the_power_of_nothing_all_that_were_watched_are_alike_and_others_never_come() -> None:
    rows, q = drawn(Popularity(count=50, power=0.0), step())
    assert rows == [2, 3, 4]
    assert q == pytest.approx([1 - (2 / 3) ** 50] * 3)


def test_what_was_queued_is_a_candidate() -> None:
    rows, q = drawn(Queued(count=1), step(targets=[3], earlier=[2, 2, 4]))
    assert {2, 3, 4} <= set(rows)
    assert q[0] == pytest.approx(1 - 0.75 * 0.5**4)


def test_the_hardest_are_in_for_certain() -> None:
    asked: list[tuple[int, int, bool]] = []

    def hardest(_: Step, askers: int, each: int, afresh: bool) -> np.ndarray:
        asked.append((askers, each, afresh))
        return np.array([[5, 3, -1]])

    pool, sampler = Pool(SHARE, np.arange(2, 6), hardest), Hard(count=1, askers=4, each=3, every=2)
    for number in range(3):
        rows, q = drawn(sampler, step(number, targets=[2]), pool)
        assert {2, 3, 5} <= set(rows)
        assert q[rows.index(3)] == q[rows.index(5)] == 1
        assert q[0] == pytest.approx(1 - 0.75 * 0.5)
    assert asked == [(4, 3, True), (4, 3, False), (4, 3, True)]


def test_hard_without_towers_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sampler is hard and there are no towers to ask; expected a BatchSource"):
        drawn(Hard(), step())


@pytest.mark.parametrize(
    ("variant", "options", "message"),
    [
        (Uniform, {"count": -1}, r"sampler\.count is -1; expected at least 1, or 0 for a tenth of the catalogue"),
        (Popularity, {"count": 0}, r"sampler\.count is 0; expected at least 1"),
        (Popularity, {"power": 1.5}, r"sampler\.power is 1\.5; expected from 0 to 1"),
        (Queued, {"batches": 0}, r"sampler\.batches is 0; expected at least 1"),
        (Queued, {"count": -1}, r"sampler\.count is -1; expected at least 1"),
        (Hard, {"each": 0}, r"sampler\.each is 0; expected at least 1"),
        (Hard, {"every": -1}, r"sampler\.every is -1; expected at least 1"),
    ],
)
def test_options_out_of_range_are_refused(variant: type[Sampler], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        variant(**options)
