"""Rows of a table that other processes keep: asked for, learned from, and put together again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TWO = """
import sys
import torch
from torch import distributed, nn
from towers.training.ranks import Ranks
from towers.training.shards import RowShards, change_rows

rank, sparse = int(sys.argv[1]), sys.argv[3] == "sparse"
distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
ranks = Ranks(rank, 2, 2, met=True)
whole = nn.Embedding(5, 3, _weight=torch.arange(15.0).view(5, 3), sparse=sparse)
shards = RowShards(whole, ranks)
assert shards.weight.tolist() == whole.weight[rank::2].tolist()

asked = [torch.tensor([4, 0, 4]), torch.tensor([], dtype=torch.int64)]
found = shards(asked[rank])
assert torch.equal(found, whole(asked[rank]))
(found * torch.tensor([[1.0], [10.0], [100.0]])[: len(found)]).sum().backward()
slopes = shards.weight.grad.to_dense() if sparse else shards.weight.grad
wanted = torch.zeros(5, 3)
wanted[0], wanted[4] = 10 / 2, 101 / 2
assert torch.equal(slopes, wanted[rank::2]), slopes

mean = torch.arange(5.0) + 50
checkpoint = {
    "state_dict": {"towers.ids.weight": shards.weight.data, "other": torch.ones(1)},
    "optimizer_states": [{"state": {3: {"step": torch.tensor(7.0), "exp_avg": shards.deal(mean)}}}],
    "callbacks": {"Average": {"steps": 7, "means": {"ids.weight": shards.deal(mean[:, None]), "other": torch.ones(1)}}},
}
change_rows(checkpoint, "ids", 3, shards.collect)
if ranks.first:
    (state,) = checkpoint["optimizer_states"]
    assert torch.equal(checkpoint["state_dict"]["towers.ids.weight"], whole.weight)
    assert torch.equal(state["state"][3]["exp_avg"], mean) and state["state"][3]["step"] == 7
    assert torch.equal(checkpoint["callbacks"]["Average"]["means"]["ids.weight"], mean[:, None])
    change_rows(checkpoint, "ids", 3, shards.deal)
    assert torch.equal(checkpoint["state_dict"]["towers.ids.weight"], shards.weight)
    assert state["state"][3]["exp_avg"].tolist() == [50, 52, 54]
distributed.destroy_process_group()
"""


@pytest.mark.parametrize("gradients", ["dense", "sparse"])
def test_two_processes_answer_learn_and_collect_as_one_table_does(gradients: str, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(rank), str(tmp_path / "meeting"), gradients],
            env=os.environ | {"GLOO_SOCKET_IFNAME": "lo"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=200)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
