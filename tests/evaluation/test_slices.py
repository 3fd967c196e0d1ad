import numpy as np

from tests.worlds import users_of
from towers.data import TIME_UNKNOWN
from towers.evaluation.slices import Background, popularity_decile, slices

DAY = 86_400_000


def test_deciles_are_tenths_of_the_videos_that_were_watched() -> None:
    counts = np.concatenate([np.zeros(5, np.int64), np.random.default_rng(0).permutation(100) + 1])
    decile = popularity_decile(counts)
    assert np.bincount(decile).tolist() == [5] + [10] * 10
    assert (decile[counts > 90] == 10).all()
    assert popularity_decile(np.zeros(3, np.int64)).tolist() == [0, 0, 0]


def test_each_slice_keeps_its_own_users_and_videos() -> None:
    # User 0 (past of 1) seeks 1 on Thursday and 2 on Friday, user 1 (past of 6) seeks 9, which is new to all,
    # user 2 has no past and seeks 1. The towers find all of user 0's; the floor finds 1 for everybody.
    users = users_of([[0], [3, 4, 5, 6, 7, 8], []], [[1, 2], [9], [1]], 10, [[0, DAY], [TIME_UNKNOWN], [0]])
    popularity = np.array([5, 50, 1, 2, 3, 4, 6, 7, 8, 0])
    background = Background(popularity, activity=np.array([1, 9, 0]))
    ours, theirs = np.array([True, True, False, False]), np.array([True, False, False, True])
    found = slices(ours, theirs, users, background, draws=20, seed=0)
    told = {
        (s["group"], s["name"]): (s["users"], s["videos"], s["recall@100"]["value"], s["floor"]["value"]) for s in found
    }
    assert told == {
        ("history length", "1–5"): (1, 2, 1.0, 0.5),
        ("history length", "6–10"): (1, 1, 0.0, 0.0),
        ("events before", "1 and more"): (2, 3, 0.5, 0.25),
        ("video popularity", "tenth 2"): (1, 1, 1.0, 0.0),
        ("video popularity", "most watched tenth"): (1, 1, 1.0, 1.0),
        ("new videos", "nobody had watched it"): (1, 1, 0.0, 0.0),
        ("new users", "no past"): (1, 1, 0.0, 1.0),
        ("weekday (UTC)", "Thursday"): (1, 1, 1.0, 1.0),
        ("weekday (UTC)", "Friday"): (1, 1, 1.0, 0.0),
    }
