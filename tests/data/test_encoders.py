import json

import pytest

from towers.data import Encoder, Encoders, Kind

ENCODERS = Encoders(
    users=(Encoder("age", Kind.numeric, boundaries=(18.0, 65.0)), Encoder("city", Kind.categorical, values=("a", "b"))),
    videos=(Encoder("tags", Kind.multi, values=("x",)), Encoder("content", Kind.vector, dim=3)),
)


def test_json_round_trips() -> None:
    assert Encoders.from_json(json.loads(json.dumps(ENCODERS.to_json()))) == ENCODERS


@pytest.mark.parametrize(("encoder", "size"), list(zip((*ENCODERS.users, *ENCODERS.videos), (4, 4, 3, 0), strict=True)))
def test_size_is_the_number_of_codes(encoder: Encoder, size: int) -> None:
    assert encoder.size == size


def test_the_fingerprint_follows_what_was_fitted() -> None:
    other = Encoders(users=ENCODERS.users, videos=(Encoder("tags", Kind.multi, values=("y",)), ENCODERS.videos[1]))
    assert other.fingerprint != ENCODERS.fingerprint == Encoders.from_json(ENCODERS.to_json()).fingerprint
