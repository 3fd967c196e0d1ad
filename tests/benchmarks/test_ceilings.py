import torch
from torch import nn

from benchmarks.ceilings import ByteCounter, copy_rate, product_rate


def test_the_ceilings_are_rates() -> None:
    assert product_rate(torch.float32, 64) > 0
    assert copy_rate(1) > 0


def test_an_operation_counts_what_it_reads_and_writes_and_a_view_nothing() -> None:
    left, right = torch.ones(4, 8), torch.ones(8, 2)
    with ByteCounter() as counter:
        left @ right
    assert counter.total == 4 * (32 + 16 + 8)
    with ByteCounter() as counter:
        left.T[:2].reshape(2, 4)
    assert counter.total == 0


def test_a_lookup_counts_the_rows_and_not_the_table() -> None:
    table = nn.Embedding(1_000_000, 2, sparse=True)
    with ByteCounter() as counter:
        table(torch.tensor([7, 8, 9])).sum().backward()
    assert 2 * 24 <= counter.total < 1000
