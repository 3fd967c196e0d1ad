import pytest

from towers.evaluation.showcase import _describe


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("upload_dt", 19093.0, "uploaded 2022-04-11"),
        ("video_duration", 87433.0, "1:27 min"),
        ("length_ms", 5000.0, "length ms 5000"),
        ("tag", ["12", "3"], "tag 12, 3"),
        ("author_id", "77", "author 77"),
        ("tag", [], None),
        ("author_id", None, None),
        ("music_type", float("nan"), None),
    ],
)
def test_a_fact_reads_as_a_person_would_say_it(name: str, value: object, words: str | None) -> None:
    assert _describe(name, value) == words
