"""What publishing writes, points to, keeps and refuses."""

import errno
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from towers.data import Dataset, Split
from towers.index import Auto, Exact, Index, Ivf
from towers.index.auto import REACHES
from towers.models import open_run, video_vectors
from towers.publishing import Bundle, Histories, PublishConfig, parity, publish, versions
from towers.types import BundleError, ConfigError, Geometry, RunError


def config(run: Path, root: Path, index: Index | None = None, keep: int = 3) -> PublishConfig:
    return PublishConfig(run=str(run), bundle=str(root), index=index or Exact(), keep=keep)


def test_a_bundle_says_what_it_is(tiny_run: Path, tmp_path: Path) -> None:
    bundle = publish(config(tiny_run, tmp_path / "bundle", Auto()))
    dataset, manifest = Dataset.open(open_run(tiny_run).dataset), bundle.manifest
    assert bundle.version.startswith("000001-")
    assert (manifest["geometry"], manifest["dim"], manifest["histories"]) == ("cosine", 16, "all")
    assert (manifest["repeats"], bundle.reads_once) == ("first", True)
    assert manifest["counts"] == {"users": 24, "videos": 40, "positives": len(dataset.positives())}
    assert manifest["fingerprints"]["users"] == bundle.users.fingerprint == dataset.users.fingerprint
    assert manifest["fingerprints"]["videos"] == bundle.videos.fingerprint
    assert manifest["fingerprints"]["dataset"] == dataset.fingerprint
    assert manifest["index"]["asked"] == {"kind": "auto", "recall": 0.99, "memory_mb": None, "p99_ms": None}
    assert manifest["index"]["recall@100"] == 1
    assert all(0 <= figure <= 1e-5 for figure in manifest["proof"].values())
    assert set(manifest["files"]) == {
        path.relative_to(bundle.folder).as_posix() for path in bundle.folder.rglob("*") if path.is_file()
    } - {"manifest.json", "manifest.sha256"}


def test_when_a_log_was_read_stays_what_it_was_where_a_dataset_is_copied(
    tiny_dataset: Path, tiny_run: Path, tmp_path: Path
) -> None:
    copied, run = shutil.copytree(tiny_dataset, tmp_path / "dataset"), shutil.copytree(tiny_run, tmp_path / "run")
    page = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(page | {"dataset": str(copied)}))
    (copied / "read_at.txt").write_text("2026-01-02T03:04:05.678+00:00\n")
    assert publish(config(run, tmp_path / "bundle")).manifest["read_at"] == "2026-01-02T03:04:05.678+00:00"


def test_towers_of_another_strength_are_another_version(tiny_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    page = run / "towers" / "model.json"
    told = json.loads(page.read_text())
    names = []
    for strength in (1.0, 2.0, 1.0):
        told["popularity_strength"] = strength
        page.write_text(json.dumps(told))
        names.append(publish(config(run, tmp_path / "bundle")).version.partition("-")[2])
    assert names[0] == names[2] != names[1]


def test_a_bundle_says_whether_it_holds_an_evaluation(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    shutil.rmtree(run / "report", ignore_errors=True)
    assert publish(config(run, tmp_path / "without")).manifest["evaluated"] is False
    (run / "report").mkdir()
    (run / "report" / "report.json").write_text("{}")
    bundle = publish(config(run, tmp_path / "with"))
    assert bundle.manifest["evaluated"] is True
    assert (bundle.folder / "report.json").read_text() == "{}"


def test_what_is_in_it_is_what_the_run_gives(tiny_run: Path, tiny_bundle: Path) -> None:
    bundle, run = Bundle.open(tiny_bundle), open_run(tiny_run)
    expected = video_vectors(run.towers, bundle.features_of(np.arange(len(bundle.vectors))))
    np.testing.assert_array_equal(bundle.vectors, expected)
    assert not expected[0].any()
    assert bundle.user_table().equals(Dataset.open(run.dataset).user_table())
    np.testing.assert_array_equal(bundle.positives.video_row, Dataset.open(run.dataset).positives().video_row)


def test_histories_of_the_past_leave_the_test_split_out(tiny_run: Path, tmp_path: Path) -> None:
    past = config(tiny_run, tmp_path / "bundle")
    past.histories = Histories.past
    expected = Dataset.open(open_run(tiny_run).dataset).positives(Split.train, Split.valid)
    found = publish(past).positives
    np.testing.assert_array_equal(found.video_row, expected.video_row)
    np.testing.assert_array_equal(found.offsets, expected.offsets)


def test_what_was_measured_to_choose_the_index_is_told_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tiny, "VIDEOS", 3000)
    run = tiny.write_run(tmp_path / "run", tiny.write_dataset(tmp_path / "dataset"), geometry=Geometry.dot)
    bundle = publish(config(run, tmp_path / "bundle", Auto(recall=1.0, p99_ms=1e-6)))
    told = bundle.manifest["index"]
    with_history = int((bundle.positives.counts() > 0).sum())
    assert told["why"].endswith(f"measured with {with_history // 2} given queries")
    assert told["why"] in [record.message.removeprefix("Index ") for record in caplog.records]
    assert re.search(r"nothing measured holds .* p99 is .* ms where 1e-06 was asked; .*index.p99_ms=", told["why"])
    exact, *lists = told["curve"]
    assert (exact["kind"], {point["kind"] for point in lists}) == ("exact", {"ivf"})
    assert {point["options"]["reach"] for point in lists} >= set(REACHES)
    figures = {"kind", "options", "recall@100", "p50_us", "p99_us", "memory_mb", "build_s", "holds", "chosen"}
    assert all(set(point) == figures for point in told["curve"])
    assert not any(point["holds"] for point in told["curve"])
    (chosen,) = [point for point in told["curve"] if point["chosen"]]
    assert (chosen["kind"], chosen["recall@100"]) == (told["kind"], told["recall@100"])
    assert len(bundle.manifest["files"]["index.png"]) == 64
    assert (bundle.folder / "index.png").read_bytes().startswith(b"\x89PNG")


def test_an_index_that_was_asked_for_by_name_has_no_curve(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    assert (bundle.manifest["index"]["curve"], bundle.manifest["index"]["why"]) == ([], "")
    assert not (bundle.folder / "index.png").exists()


@pytest.mark.parametrize("geometry", Geometry)
def test_an_approximate_index_says_its_recall(
    tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "VIDEOS", 3000)
    dataset = tiny.write_dataset(tmp_path / "dataset")
    run = tiny.write_run(tmp_path / "run", dataset, geometry=geometry)
    recalls = [
        publish(config(run, tmp_path / "bundle", Ivf(nlist=8, nprobe=nprobe))).manifest["index"]["recall@100"]
        for nprobe in (1, 8)
    ]
    assert 0.05 < recalls[0] < recalls[1]
    assert recalls[1] == 1


def test_the_last_versions_are_kept(tiny_run: Path, tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    names = [publish(config(tiny_run, root, keep=2)).version for _ in range(3)]
    assert [name[:6] for name in names] == ["000001", "000002", "000003"]
    assert versions.version_names(root) == names[1:]
    assert Bundle.open(root).version == names[2]
    assert Bundle.open(root / "versions" / names[1]).version == names[1]


def test_the_current_version_is_never_removed(tiny_run: Path, tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    names = [publish(config(tiny_run, root)).version for _ in range(3)]
    versions.point_to(root, names[0])
    assert versions.prune(root, keep=1) == [names[1]]
    assert versions.version_names(root) == [names[0], names[2]]


def test_a_report_comes_along(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    (run / "report").mkdir(exist_ok=True)
    (run / "report" / "report.json").write_text('{"protocol": "tiny"}')
    bundle = publish(config(run, tmp_path / "bundle"))
    assert json.loads((bundle.folder / "report.json").read_text()) == {"protocol": "tiny"}


def test_a_failed_proof_leaves_the_bundle_as_it_was(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "bundle"
    before = publish(config(tiny_run, root)).version
    monkeypatch.setattr(parity, "TOLERANCE", -1.0)
    with pytest.raises(BundleError, match="parity proof at publishing failed: training form of user vectors differ by"):
        publish(config(tiny_run, root))
    monkeypatch.undo()
    assert [path.name for path in (root / "versions").iterdir()] == [before]
    assert Bundle.open(root).version == before


def test_a_version_that_cannot_be_opened_does_not_stay(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_folder: Path) -> Bundle:
        raise BundleError("cannot be opened")

    monkeypatch.setattr(Bundle, "open", refuse)
    with pytest.raises(BundleError, match="cannot be opened"):
        publish(config(tiny_run, tmp_path / "bundle"))
    assert list((tmp_path / "bundle" / "versions").iterdir()) == []


def test_two_publishers_do_not_meet(tiny_run: Path, tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    with (
        versions.publishing(root),
        pytest.raises(BundleError, match=r"another process is publishing into .*bundle; wait"),
    ):
        publish(config(tiny_run, root))
    publish(config(tiny_run, root))


def test_folders_of_other_things_are_left_alone(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to_mother.txt").write_text("dear")
    with pytest.raises(BundleError, match=r"letters holds files but no bundle; give bundle= an empty or new folder"):
        publish(config(tiny_run, tmp_path / "letters"))
    with pytest.raises(BundleError, match=r"to_mother.txt is a file; give bundle= a folder"):
        publish(config(tiny_run, tmp_path / "letters" / "to_mother.txt"))


def test_a_run_without_its_dataset_is_refused(tmp_path: Path) -> None:
    run = tiny.write_run(tmp_path / "run", tiny.write_dataset(tmp_path / "dataset"))
    manifest = tmp_path / "dataset" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("by hand", "by foot"))
    with pytest.raises(RunError, match=r"dataset .*dataset is not the one that .*run was trained on: its fingerprint"):
        publish(config(run, tmp_path / "bundle"))


def test_keeping_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keep is 0; at least the current version must stay"):
        config(tmp_path, tmp_path, keep=0)


def test_a_full_disk_leaves_the_bundle_as_it_was(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    root = tmp_path / "bundle"
    before = publish(config(tiny_run, root)).version
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match=r"No space left on device: .*users\.parquet"):
        publish(config(tiny_run, root))
    assert [path.name for path in (root / "versions").iterdir()] == [before]
    assert Bundle.open(root).version == before
