"""The long run's own eyes: it passes what is right, and sees each thing that is wrong."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.readers import Ledger, WrongError, run
from towers.types import Hits

QUERY = np.array([1, 0], np.float32)


def ledger() -> Ledger:
    """Nine ids, 0 to 5 in version 1 and 6 to 8 not there; a vector says its score in its first number."""
    pool = np.stack([np.arange(11) / 8, np.zeros(11)], axis=1).astype(np.float32)
    return Ledger(pool, 9)


def hits_of(seen: Ledger, ids: list[int], version: int) -> Hits:
    names = np.array(ids)
    scores = seen.vectors(names, np.full(len(ids), version)) @ QUERY
    order = np.argsort(-scores, kind="stable")
    return Hits(names[order][None], scores[order][None])


def test_what_was_there_may_be_found() -> None:
    seen = ledger()
    seen.check(QUERY, hits_of(seen, [0, 3, 5], 1), seen.done, seen.begun)
    seen.begun[[0, 3, 5]] += 1
    for version in (1, 2):
        seen.check(QUERY, hits_of(seen, [0, 3, 5], version), seen.done, seen.begun)


def test_what_cannot_have_been_is_seen() -> None:
    seen = ledger()
    with pytest.raises(WrongError, match=r"an id came twice: \[2, 2, 4\]"):
        seen.check(QUERY, hits_of(seen, [2, 2, 4], 1), seen.done, seen.begun)
    good = hits_of(seen, [1, 2, 4], 1)
    with pytest.raises(WrongError, match="scores rise"):
        seen.check(QUERY, Hits(good.ids[:, ::-1], good.scores[:, ::-1]), seen.done, seen.begun)
    with pytest.raises(WrongError, match="video 3 was found with a score that it had not: versions 1 to 1"):
        seen.check(QUERY, hits_of(seen, [3], 2), seen.done, seen.begun)
    seen.begun[3] = seen.done[3] = 4
    with pytest.raises(WrongError, match="versions 4 to 4, of which every 4th is that it is gone"):
        seen.check(QUERY, hits_of(seen, [3], 4), seen.done, seen.begun)


def test_what_was_changed_meanwhile_may_have_displaced_others() -> None:
    seen = ledger()
    score = seen.vectors(np.arange(6), np.ones(6, np.int64)) @ QUERY
    best = np.argsort(-score).tolist()
    assert seen.sure(QUERY, 3, seen.done, seen.begun).tolist() == best[:3]
    seen.begun[best[0]] += 1
    assert seen.sure(QUERY, 3, seen.done, seen.begun).tolist() == best[1:3]


def test_a_short_run_finds_nothing_wrong(tmp_path: Path) -> None:
    lines = {line["what"]: line["value"] for line in run(tmp_path / "live", 0.5, readers=2, videos=600, dim=8)}
    assert lines["readers"] == 2
    assert isinstance(lines["searches"], int)
    assert lines["searches"] >= 40
    assert float(str(lines["recall of these"])) > 0.8
