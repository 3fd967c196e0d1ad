from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import T0, Made, Table
from towers.data import Dataset, Encoder, Kind, LeaveOneOut
from towers.features import encode_table
from towers.types import DataError

Fitted = Callable[..., tuple[Dataset, Encoder]]


@pytest.fixture
def fitted(table: Table, made: Made) -> Fitted:
    """Fit one video feature over videos 0 … n-1, all known."""

    def fit(values: Sequence[object], kind: Kind, **options: int) -> tuple[Dataset, Encoder]:
        size = len(values)
        log = table(
            "log", user_id=[1] * size, video_id=list(range(size)), position=list(range(size)), split=["train"] * size
        )
        videos = table("videos", video_id=list(range(size)), feature=values)
        dataset = made(log, videos=videos, video_features={"feature": kind}, **options)
        return dataset, dataset.encoders.videos[0]

    return fit


def test_values_must_be_shared_by_enough(fitted: Fitted, caplog: pytest.LogCaptureFixture) -> None:
    values = ["b", "a", "b", "c", "a", "b", None, ""]
    _, encoder = fitted(values, Kind.categorical)
    assert encoder == Encoder("feature", Kind.categorical, values=("a", "b"))
    assert fitted(values, Kind.categorical, min_count=3)[1].values == ("b",)
    assert fitted(values, Kind.categorical, min_count=1)[1].values == ("a", "b", "c")
    assert "tells nothing" not in caplog.text
    assert fitted(values, Kind.categorical, min_count=9)[1].values == ()
    told = "video feature feature: no value is shared by min_count videos known before the cut, so it tells nothing"
    assert told in caplog.text


def test_several_values_count_once_a_video(fitted: Fitted) -> None:
    dataset, encoder = fitted(["x, y ,x", "y", "z,z", None], Kind.multi)
    assert encoder.values == ("y",)
    assert dataset.video_table()["feature"].to_pylist() == [["x", "y", "x"], ["y"], ["z", "z"], None]


@pytest.mark.parametrize("seed", range(4))
def test_boundaries_are_quantiles_of_the_values(fitted: Fitted, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.choice([1.0, 2.5, 2.5, 3.0, -7.0, 1e9, *random.normal(size=20)], 60)
    _, encoder = fitted(values, Kind.numeric, buckets=8)
    ordered = np.sort(values)
    places = np.ceil(np.arange(1, 8) / 8 * len(values)).astype(int) - 1
    expected = sorted({float(value) for value in ordered[places] if value > ordered[0]})
    assert list(encoder.boundaries) == expected


def test_numbers_that_are_none_are_missing(fitted: Fitted, caplog: pytest.LogCaptureFixture) -> None:
    dataset, encoder = fitted([1.0, float("nan"), float("inf"), None, 2.0], Kind.numeric)
    assert dataset.video_table()["feature"].to_pylist() == [1.0, None, None, None, 2.0]
    assert encoder.boundaries == (2.0,)
    assert (
        "video feature feature: 2 of 4 values are not numeric and count as missing; "
        "data.video_features.feature=KIND reads them otherwise"
    ) in caplog.messages


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("late", [False, True])
def test_a_feature_without_a_single_value_before_the_cut_is_left_out_and_noted(
    table: Table, made: Made, caplog: pytest.LogCaptureFixture, kind: Kind, late: bool
) -> None:
    value, sort = {
        Kind.categorical: ("a", pa.string()), Kind.numeric: (1.0, pa.float64()),
        Kind.multi: (["a"], pa.list_(pa.string())), Kind.vector: ([1.0, 2.0], pa.list_(pa.float32())),
    }[kind]  # fmt: skip
    log = table("log", user_id=[1, 1, 1], video_id=[1, 2, 3], position=[0, 1, 2], split=["train", "train", "test"])
    columns = {"empty": pa.array([None, None, value if late else None], sort), "full": ["a", "a", "a"]}
    videos = table("videos", video_id=[1, 2, 3], **columns)
    dataset = made(log, videos=videos, video_features={"empty": kind})
    assert [encoder.name for encoder in dataset.encoders.videos] == ["full"]
    reason = "no video known before the cut has a value"
    note = {"kind": kind.name, "inferred": False, "missing": 2 if late else 3, "unparsable": 0, "left out": reason}
    assert dataset.manifest["features"]["videos"]["empty"] == note
    assert f"video feature empty: left out, {reason}" in caplog.text
    features = encode_table(dataset.encoders.videos, dataset.video_table())
    assert (features.codes.tolist(), features.vectors) == ([[0], [0], [2], [2], [2]], ())


@pytest.mark.parametrize("sort", [pa.null(), pa.string()])
@pytest.mark.parametrize("kind", [None, *Kind])
def test_a_column_of_nothing_is_left_out_whatever_it_is_taken_for(
    table: Table, made: Made, kind: Kind | None, sort: pa.DataType
) -> None:
    if kind is Kind.vector:
        sort = pa.null()
    log = table("log", user_id=[1, 1], video_id=[1, 2], position=[0, 1], split=["train", "train"])
    videos = table("videos", video_id=[1, 2], empty=pa.array([None, None], sort))
    dataset = made(log, videos=videos, video_features={} if kind is None else {"empty": kind})
    assert dataset.encoders.videos == ()
    assert "left out" in dataset.manifest["features"]["videos"]["empty"]
    assert encode_table(dataset.encoders.videos, dataset.video_table()).codes.shape == (4, 0)


def test_empty_lists_are_no_values(table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 1], video_id=[1, 2], position=[0, 1], split=["train", "train"])
    lists = {"tags": pa.array([[], []], pa.list_(pa.string())), "content": pa.array([[], []], pa.list_(pa.float32()))}
    videos = table("videos", video_id=[1, 2], **lists)
    assert made(log, videos=videos).encoders.videos == ()


def test_vectors_of_two_widths_are_refused_with_both(fitted: Fitted) -> None:
    with pytest.raises(
        DataError, match="video feature 'feature' has vectors of 2 numbers and of 3; expected one width"
    ):
        fitted([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0, 3.0]], Kind.vector)


def test_a_vector_with_a_hole_is_missing(fitted: Fitted) -> None:
    dataset, encoder = fitted([[1.0, float("nan")], [1.0, None], [1.0, 2.0]], Kind.vector)
    assert dataset.video_table()["feature"].to_pylist() == [None, None, [1.0, 2.0]]
    assert encoder.dim == 2


def test_lists_and_vectors_come_through_text(tmp_path: Path, table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 1], video_id=[1, 2], position=[0, 1])
    (tmp_path / "videos.jsonl").write_text(
        '{"video_id": 1, "tags": ["a b", "c"], "content": [0.5, 1], "n": 3}\n'
        '{"video_id": 2, "tags": [], "content": null}\n'
    )
    (tmp_path / "videos.csv").write_text('video_id,tags,content,n\n1,"[a b, c]","[0.5, 1]",3\n2,[],,\n')
    for name in ("videos.jsonl", "videos.csv"):
        dataset = made(log, LeaveOneOut(), videos=str(tmp_path / name))
        assert dataset.video_table()["tags"].to_pylist() == [["a b", "c"], []]
        assert dataset.video_table()["content"].to_pylist() == [[0.5, 1.0], None]
        kinds = [encoder.kind for encoder in dataset.encoders.videos]
        assert kinds == [Kind.multi, Kind.vector, Kind.categorical]


def test_unparsable_features_are_missing_and_counted(tmp_path: Path, table: Table, made: Made) -> None:
    rows = "\n".join([*(f"{n},{n}.5" for n in range(20)), "20,plenty"])
    (tmp_path / "users.csv").write_text(f"user_id,age\n{rows}\n")
    dataset = made(
        table("log", user_id=[1], video_id=[1], time_ms=[T0], split=["train"]), users=str(tmp_path / "users.csv")
    )
    note = dataset.manifest["features"]["users"]["age"]
    assert note == {"kind": "numeric", "inferred": True, "missing": 1, "unparsable": 1}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5, unique=True))
def test_encoders_survive_json_exactly(boundaries: list[float]) -> None:
    encoder = Encoder("x", Kind.numeric, boundaries=tuple(sorted(boundaries)))
    assert Encoder.from_json(encoder.to_json()) == encoder
