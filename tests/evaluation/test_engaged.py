import json

import numpy as np

from towers.evaluation.engaged import FLOOR, Engaged
from towers.metrics import Judgement


def test_draws_of_users_who_are_all_alike_do_not_spoil_the_intervals() -> None:
    # Only one of four users likes anything, so that most draws of users hold no positive and have no AUC.
    users = np.repeat(np.arange(2, 6), 3)
    liked = np.zeros(12, bool)
    liked[:2] = True
    chance = np.linspace(0.9, 0.1, 12)
    judged = {"engagement head": Judgement.of(chance, liked, 0.5), FLOOR: Judgement.of(chance[::-1].copy(), liked, 0.5)}
    found = Engaged(users, judged, 0.5, {"auc": 1.0}).report(draws=200, seed=0)
    auc = found["figures"]["engagement head"]["auc"]
    assert auc["value"] == 1.0
    assert 0 <= auc["low"] <= auc["high"] <= 1
    json.dumps(found["figures"], allow_nan=False)
