"""How far two lists are from each other; that the service's are the evaluation's is in tests/serving/http."""

from benchmarks.parity import Listed, compared


def test_lists_are_told_apart() -> None:
    one = Listed([1, 2, 3], [3.0, 2.0, 1.0])
    assert one.tied(Listed([1, 2, 3], [3.0, 2.0, 1.0]))
    assert not one.tied(Listed([2, 1, 3], [3.0, 2.0, 1.0]))
    assert not one.tied(Listed([1, 2], [3.0, 2.0]))
    assert Listed([1, 2, 3], [3.0, 1.0, 1.0]).tied(Listed([1, 3, 4], [3.0, 1.0, 1.0]))
    assert not Listed([1, 2, 3], [3.0, 2.0, 1.0]).tied(Listed([1, 2, 4], [3.0, 2.0, 1.5]))
    assert (one.apart(Listed([2, 9], [2.25, 1.0])), one.found(Listed([2, 9], [2.25, 1.0]))) == (0.25, 0.5)
    told = compared([one, one], [one, Listed([1, 3, 2], [3.0, 2.0, 1.0])])
    assert told == {"equal": "0.5000", "equal_up_to_ties": "0.5000", "recall@100": "1.0000", "score_apart": "1.0e+00"}
