import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests import tiny
from tests.worlds import Event, random_world, write_world
from towers.data import Dataset, Split
from towers.evaluation import EvaluateConfig, EvaluationSet, Judged, Report, evaluate, folder_of
from towers.evaluation.report import refuse_other
from towers.types import ConfigError, DataError

HISTORY = "stage,epoch,loss,recall@100,ndcg@10\nfit,1,5.5,0.2,0.02\nfit,2,5.1,0.3,\nrefit,1,5.0,,\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return random_world(tmp_path_factory.mktemp("world") / "dataset")


@pytest.fixture(scope="module")
def run(world: Dataset) -> Path:
    folder = tiny.write_run(world.folder.with_name("run"), world)
    (folder / "history.csv").write_text(HISTORY)
    return folder


@pytest.fixture(scope="module")
def report(run: Path) -> Report:
    lists = run.with_name("lists.parquet")
    return evaluate(EvaluateConfig(run=str(run), lists=str(lists), report=str(run.with_name("report")), draws=30))


@pytest.fixture
def page(run: Path, report: Report) -> str:
    assert report.verdict
    return run.with_name("report").joinpath("report.html").read_text()


def test_a_folder_that_holds_something_else_is_no_place_for_a_report(tiny_run: Path, tiny_dataset: Path) -> None:
    before = sorted(path.name for path in tiny_dataset.iterdir())
    with pytest.raises(ConfigError, match=r"dataset, which holds encoders\.json and is no report; choose another"):
        evaluate(EvaluateConfig(run=str(tiny_run), report=str(tiny_dataset)))
    assert sorted(path.name for path in tiny_dataset.iterdir()) == before


def test_what_an_evaluation_that_was_broken_off_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    for name in (".report.html.partial", "lists.parquet"):
        (tmp_path / name).touch()
    refuse_other(tmp_path, str(tmp_path / "lists.parquet"))
    with pytest.raises(ConfigError, match=r"which holds lists\.parquet and is no report"):
        refuse_other(tmp_path, None)


def test_report_json_has_what_its_readers_rely_on(run: Path, report: Report) -> None:
    read = json.loads(run.with_name("report").joinpath("report.json").read_text())
    assert read["protocol"] == "world"
    assert read["metrics"]["recall@100"].keys() == {"value", "low", "high"}
    for name in ("users", "coverage@100", "cold users", "cold users: recall@100", "mrr@100", "f1@50"):
        assert name in read["metrics"], name
    of_towers_alone = {"cold videos: in all", "cold videos: auc", "cold videos alone: recall@100"}
    assert set(read["floors"]) >= {"popular", "popular in each user's last 5", "item-kNN (cosine)"}
    for figures in read["floors"].values():
        assert figures.keys() == read["metrics"].keys() - of_towers_alone
    assert read["verdict"] == report.verdict
    assert read["cost"]["seconds"] > 0
    assert read["cost"]["peak_mb"] > 0
    assert {line["group"] for line in read["slices"]} >= {"history length", "video popularity", "new users"}


def test_the_run_keeps_a_copy_of_a_report_written_elsewhere(run: Path, report: Report) -> None:
    kept = run / "report" / "report.json"
    assert kept.read_bytes() == run.with_name("report").joinpath("report.json").read_bytes()
    assert Report.read(kept.parent).verdict == report.verdict
    assert kept.with_suffix(".html").read_bytes() == run.with_name("report").joinpath("report.html").read_bytes()


@pytest.mark.parametrize("options", [{"split": Judged.valid}, {"floors": ["popular"]}])
def test_a_quick_look_elsewhere_leaves_the_copy_as_it_is(
    run: Path, report: Report, options: dict[str, Any], tmp_path: Path
) -> None:
    before = Report.read(run / "report")
    assert before.verdict == report.verdict
    evaluate(EvaluateConfig(run=str(run), report=str(tmp_path), draws=30, **options))
    assert Report.read(run / "report") == before
    assert Report.read(tmp_path) != before


@pytest.mark.parametrize(("options", "name"), [({"split": Judged.valid}, "valid"), ({"floors": ["popular"]}, "test")])
def test_a_quick_look_in_place_goes_beside_the_whole_report(
    world: Dataset, options: dict[str, Any], name: str, tmp_path: Path
) -> None:
    run = tiny.write_run(tmp_path / "run", world)
    quick = EvaluateConfig(run=str(run), draws=2, examples=0, **options)
    evaluate(quick)  # the first report, whatever it is
    assert folder_of(quick) == run / "report"
    evaluate(EvaluateConfig(run=str(run), draws=2, examples=0))
    before = (run / "report" / "report.json").read_bytes()
    assert folder_of(quick) == run / f"report-{name}"
    evaluate(quick)
    assert (run / "report" / "report.json").read_bytes() == before
    assert (run / f"report-{name}" / "report.json").read_bytes() != before
    for broken in (before[:100], b"[]", b"{}"):
        (run / "report" / "report.json").write_bytes(broken)
        assert folder_of(quick) == run / "report"


def test_each_floor_is_told_while_it_is_fitted(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    evaluate(EvaluateConfig(run=str(run), report=str(tmp_path / "r"), floors=["popular", "ease"], draws=2, examples=0))
    assert re.findall(r"fitting the floor (\w+)", caplog.text) == ["popular", "ease"]


def test_videos_watched_again_are_told(tmp_path: Path) -> None:
    events: list[Event] = [("u", f"v{n:02d}", "train") for n in range(3)]
    dataset = write_world(tmp_path / "w", [*events, ("u", "v00", "test"), ("u", "v05", "test")], 120)
    run = tiny.write_run(tmp_path / "run", dataset)
    found = evaluate(EvaluateConfig(run=str(run), floors=["popular"], draws=2, examples=0))
    assert found.setting["watched again, so not to be found"] == 1


def test_lists_hold_everybody_a_hundred_deep_with_their_own_ids(world: Dataset, run: Path, report: Report) -> None:
    table = pq.read_table(run.with_name("lists.parquet"))
    users = EvaluationSet.of(world, Split.test)
    names = world.users.ids(users.users)
    assert table.column_names == ["user_id", "video_id", "rank", "score"]
    assert list(dict.fromkeys(table["user_id"].to_pylist())) == names
    first = table.slice(0, 100)
    assert first["user_id"].to_pylist() == [names[0]] * 100
    assert first["rank"].to_pylist() == list(range(1, 101))
    assert (np.diff(first["score"].to_numpy()) <= 0).all()
    # Recall of the file itself, counted anew.
    shown: dict[str, set[str]] = {}
    for name, video in zip(table["user_id"].to_pylist(), table["video_id"].to_pylist(), strict=True):
        shown.setdefault(name, set()).add(video)
    truth = [
        set(world.videos.ids(users.truth[a:b]))
        for a, b in zip(users.truth_offsets, users.truth_offsets[1:], strict=False)
    ]
    past = [
        set(world.videos.ids(users.history[a:b]))
        for a, b in zip(users.history_offsets, users.history_offsets[1:], strict=False)
    ]
    recall = [len(shown[n] & t) / len(t) for n, t, p in zip(names, truth, past, strict=True) if p]
    assert report.metrics["recall@100"]["value"] == pytest.approx(np.mean(recall))  # type: ignore[index]
    assert all(not shown[n] & p for n, p in zip(names, past, strict=True))


def test_the_page_needs_nothing_beside_it(page: str) -> None:
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']+""", page)
    assert "@import" not in page
    assert "<script" not in page
    assert page.count("<svg") >= 4


def test_the_page_shows_people_with_what_is_known_of_their_videos(page: str) -> None:
    assert page.count("class=person") == 6
    assert "1:01 min" in page
    assert "tag &lt;fun&gt;" in page
    assert "<fun>" not in page


def test_the_page_tells_the_verdict_and_the_training(page: str, report: Report) -> None:
    assert report.verdict in page
    assert "How training went" in page
    assert "$" not in page.split("</style>")[1].split("<svg")[0]


def test_the_same_seed_gives_the_same_figures(run: Path, report: Report, tmp_path: Path) -> None:
    again = evaluate(EvaluateConfig(run=str(run), report=str(tmp_path / "r"), draws=30, floors=["popular", "item_knn"]))
    assert again.metrics == report.metrics
    assert list(again.floors) == ["popular", "item-kNN (cosine)"]


def test_an_untrained_run_does_not_beat_the_floors_on_valid_either(run: Path, tmp_path: Path) -> None:
    found = evaluate(EvaluateConfig(run=str(run), report=str(tmp_path / "r"), split=Judged.valid, draws=30, examples=0))
    assert found.setting["split"] == "valid"
    assert "do not beat the best floor" in found.verdict


def test_valid_is_refused_for_a_run_that_was_refitted_on_it(world: Dataset, tmp_path: Path) -> None:
    folder = tiny.write_run(tmp_path / "run", world)
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(info | {"refitted": True}))
    with pytest.raises(
        ConfigError, match=r"split is valid, which the run .* was refitted on; evaluate it on split=test"
    ):
        evaluate(EvaluateConfig(run=str(folder), split=Judged.valid))


def test_another_dataset_is_refused_with_both_fingerprints(run: Path, world: Dataset, tmp_path: Path) -> None:
    other = random_world(tmp_path / "other", videos=151)
    with pytest.raises(DataError, match=f"fingerprint {other.fingerprint[:12]}, the run .* {world.fingerprint[:12]}"):
        evaluate(EvaluateConfig(run=str(run), dataset=str(other.folder)))


def test_no_floor_that_fits_is_an_error_with_the_reason(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towers.evaluation.floors.DENSE_LIMIT", 10)
    with pytest.raises(DataError, match=r"none of the floors can be fitted \(ease: the catalogue has 40 videos"):
        evaluate(EvaluateConfig(run=str(tiny_run), floors=["ease"], report=str(tiny_run.with_name("none"))))


def test_somebody_who_has_watched_everything_gets_an_empty_list(tiny_run: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists.parquet"
    config = EvaluateConfig(
        run=str(tiny_run), lists=str(lists), report=str(tmp_path / "r"), floors=["popular"], draws=20
    )
    evaluate(config)
    shown = pq.read_table(lists)["user_id"].to_pylist()
    counts = {name: shown.count(name) for name in set(shown)}
    # The first user has watched all 40 videos, two thirds of them before the test: 40 - 27 are left.
    assert counts[tiny.ids_of(1, string=False)[0]] == tiny.VIDEOS - 27
