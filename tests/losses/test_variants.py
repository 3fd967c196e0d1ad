import pytest
import torch

from towers.losses import CandidateSet, Contrastive, Gbce, candidate_loss
from towers.types import ConfigError

FIRST, ONE = torch.tensor([0]), torch.ones(1)


def test_gbce_by_hand() -> None:
    # as the paper writes it: of 2 others out of 8 that could have been drawn, α = 1/4, β = α (t (1 - 1/α) + 1/α)
    alpha, t = 0.25, 0.75
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    logits = torch.tensor([[1.5, -0.5, 0.25]])
    sigmoid = logits.sigmoid()[0]
    expected = -((sigmoid[0] ** beta).log() + (1 - sigmoid[1]).log() + (1 - sigmoid[2]).log()) / 3
    torch.testing.assert_close(Gbce(calibration=t, rate=alpha, bias=0.0)(logits, FIRST, ONE), expected)
    more = logits + torch.tensor(2.0).log()
    torch.testing.assert_close(Gbce(calibration=t, rate=alpha)(more, FIRST, ONE), expected)


def test_gbce_takes_its_rate_from_the_draw() -> None:
    evenly = torch.full((5,), 0.01).log()
    history = torch.cat([evenly, torch.tensor([torch.inf])])
    assert Gbce().over(history).rate == pytest.approx(0.01)
    # one for certain, and two that stand for ten each: 3 of 21
    assert Gbce().over(torch.tensor([1.0, 0.1, 0.1]).log()).rate == pytest.approx(3 / 21)
    assert Gbce(rate=0.5).over(evenly).rate == 0.5
    assert Gbce().over(torch.tensor([torch.inf])).power == Gbce().power == 1
    assert Gbce().over(torch.zeros(4)).power == 1


def test_the_rate_reaches_the_loss() -> None:
    vectors, known = torch.tensor([[1.0], [0.0]]), torch.zeros(1, 2, dtype=torch.bool)
    arguments = torch.ones(1, 1, 1), torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1)
    sparse = CandidateSet(vectors, torch.full((2,), 0.1).log(), known)
    expected = Gbce(rate=0.1)(torch.tensor([[1.0, 0.0]]), FIRST, ONE)
    torch.testing.assert_close(candidate_loss(Gbce(), *arguments, sparse, torch.tensor(1.0)), expected)


def test_contrastive_by_hand() -> None:
    # 1 - .5, and of the two others that count .95 is .15 above the margin: .5 + 4 × .15 / 2
    cosines = torch.tensor([[0.5, 0.95, -0.3, -torch.inf]])
    value = Contrastive(margin=0.8, negative_weight=4.0)(cosines, FIRST, ONE)
    assert float(value) == pytest.approx(0.8)


def test_contrastive_sees_cosines_whatever_the_temperature() -> None:
    vectors, known = torch.tensor([[1.0], [-1.0]]), torch.zeros(1, 2, dtype=torch.bool)
    arguments = torch.full((1, 1, 1), 0.5), torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1)
    values = [
        float(candidate_loss(Contrastive(), *arguments, CandidateSet(vectors, torch.zeros(2), known), scale))
        for scale in (torch.tensor(1.0), torch.tensor(14.0))
    ]
    assert values == [0.5, 0.5]


@pytest.mark.parametrize(
    ("variant", "options", "message"),
    [
        (Gbce, {"calibration": 1.1}, r"loss\.calibration is 1\.1; expected from 0 to 1"),
        (Gbce, {"rate": 0.0}, r"loss\.rate is 0\.0; expected above 0, at most 1, or null"),
        (Contrastive, {"margin": 1.0}, r"loss\.margin is 1\.0; expected at least 0 and below 1"),
        (Contrastive, {"negative_weight": 0.0}, r"loss\.negative_weight is 0\.0; expected above 0"),
    ],
)
def test_options_out_of_range_are_refused(
    variant: type[Gbce | Contrastive], options: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        variant(**options)
