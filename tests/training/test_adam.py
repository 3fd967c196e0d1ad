import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from towers.training.adam import RowAdamW, shorten

ROWS, DIM = 6, 3


def table(sparse: bool) -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(ROWS, DIM, sparse=sparse)


def push(part: nn.Embedding, rows: list[int]) -> None:
    """Leave a gradient that differs from row to row, and adds up where a row is named twice."""
    part.weight.grad = None
    slope = torch.arange(1.0, len(rows) * DIM + 1).reshape(len(rows), DIM).sin()
    (part(torch.tensor(rows)) * slope).sum().backward()


def rows_of(part: nn.Embedding) -> Tensor:
    return part.weight.detach().clone()


def test_where_every_row_is_touched_rows_move_as_in_adamw() -> None:
    whole, by_rows = table(sparse=False), table(sparse=True)
    plain = AdamW(whole.parameters(), lr=0.1, weight_decay=0.3)
    ours = RowAdamW(by_rows.parameters(), lr=0.1, weight_decay=0.3)
    for rows in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0, 0, 3], [0, 2, 4, 1, 3, 5]):
        push(whole, rows)
        push(by_rows, rows)
        plain.step()
        ours.step()
    torch.testing.assert_close(rows_of(by_rows), rows_of(whole))


def test_a_dense_weight_moves_as_in_adamw() -> None:
    one, two = table(sparse=False), table(sparse=False)
    plain, ours = AdamW(one.parameters(), lr=0.1, fused=True), RowAdamW(two.parameters(), lr=0.1, weight_decay=0.01)
    for rows in ([0, 1], [1, 5]):
        push(one, rows)
        push(two, rows)
        plain.step()
        ours.step()
    assert torch.equal(rows_of(one), rows_of(two))


def test_rows_that_no_gradient_names_stay_to_the_last_bit() -> None:
    part = table(sparse=True)
    before = rows_of(part)
    ours = RowAdamW(part.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        push(part, [1, 4])
        ours.step()
    after, untouched = rows_of(part), [0, 2, 3, 5]
    assert torch.equal(after[untouched], before[untouched])
    assert not (after[[1, 4]] == before[[1, 4]]).any()
    assert not ours.state[part.weight]["exp_avg"][untouched].any()


def test_a_closure_is_asked_for_the_gradient() -> None:
    part = table(sparse=True)
    before = rows_of(part)

    def loss() -> float:
        push(part, [2])
        return 7.0

    assert RowAdamW(part.parameters(), lr=0.1).step(loss) == 7.0
    assert (rows_of(part) != before).any(1).tolist() == [False, False, True, False, False, False]


def test_an_optimizer_that_goes_on_from_its_state_does_as_one_that_never_stopped() -> None:
    part = table(sparse=True)
    ours = RowAdamW(part.parameters(), lr=0.1)
    push(part, [0, 3])
    ours.step()
    again = table(sparse=True)
    again.load_state_dict(part.state_dict())
    resumed = RowAdamW(again.parameters(), lr=0.7)
    resumed.load_state_dict(copy.deepcopy(ours.state_dict()))
    for each, optimizer in ((part, ours), (again, resumed)):
        push(each, [3, 5])
        optimizer.step()
    assert torch.equal(rows_of(part), rows_of(again))


@pytest.mark.parametrize("most", [0.5, 1e3])
def test_a_gradient_is_shortened_alike_whether_dense_or_by_rows(most: float) -> None:
    parts = [nn.ModuleList([table(sparse), nn.Linear(DIM, 2)]) for sparse in (False, True)]
    parts[1][1].load_state_dict(parts[0][1].state_dict())
    for part in parts:
        part[1](part[0](torch.tensor([2, 2, 5]))).square().sum().backward()
    expected = float(clip_grad_norm_(parts[0].parameters(), most))
    assert shorten(parts[1].parameters(), most) == pytest.approx(expected)
    for one, two in zip(parts[0].parameters(), parts[1].parameters(), strict=True):
        assert one.grad is not None
        assert two.grad is not None
        torch.testing.assert_close(two.grad.to_dense(), one.grad)
