"""A bundle opens as it was published, or says what is wrong with it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from towers.publishing import Bundle, checksums
from towers.types import BundleError


@pytest.fixture
def root(tiny_bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def version(root: Path) -> Path:
    return Bundle.open(root).folder


def reseal(version: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change a manifest and everything that would give the change away."""
    manifest = json.loads((version / "manifest.json").read_text())
    change(manifest)
    (version / "manifest.json").write_text(json.dumps(manifest))
    (version / "manifest.sha256").write_text(checksums.digest(version / "manifest.json") + "\n")


def test_one_byte_changed_anywhere_is_named(version: Path) -> None:
    files = [path for path in sorted(version.rglob("*")) if path.is_file()]
    assert len(files) > 15
    for path in files:
        content = path.read_bytes()
        place = len(content) // 2
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        name = path.relative_to(version).as_posix()
        wanted = "manifest.json does not fit manifest.sha256|cannot be read"
        with pytest.raises(
            BundleError, match=wanted if "manifest" in name else f"published: {name} is changed; publish"
        ):
            Bundle.open(version)
        path.write_bytes(content)
    Bundle.open(version)


def test_missing_and_added_files_are_named(version: Path) -> None:
    (version / "vectors.npy").unlink()
    (version / "users.parquet").unlink()
    (version / "notes.txt").write_text("mine")
    with pytest.raises(
        BundleError,
        match=r"users.parquet, vectors.npy are missing; notes.txt is not listed in its manifest; publish the run again",
    ):
        Bundle.open(version)


def test_without_verifying_sizes_are_compared_and_no_bytes(version: Path) -> None:
    path = version / "histories" / "weight.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert Bundle.open(version, verify=False).folder == version
    path.write_bytes(content + b"0")
    (version / "vectors.npy").rename(version / "vector.npy")
    wanted = (
        r"vectors.npy is missing; vector.npy is not listed in its manifest; histories/weight.npy is changed; publish"
    )
    with pytest.raises(BundleError, match=wanted):
        Bundle.open(version, verify=False)
    (version / "vector.npy").rename(version / "vectors.npy")
    reseal(version, lambda manifest: manifest.__delitem__("bytes"))
    path.write_bytes(content)
    assert Bundle.open(version, verify=False).manifest["version"] == version.name


def test_files_that_stand_as_they_stood_when_they_were_read_are_not_read_again(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, path, read = tmp_path / "compared.json", version / "histories" / "weight.npy", list[str]()
    digest = checksums.digest

    def noted(file: Path) -> str:
        read.append(file.name)
        return digest(file)

    monkeypatch.setattr(checksums, "digest", noted)

    def opened() -> list[str]:
        read.clear()
        Bundle.open(version, compared=page)
        return sorted(read)

    files = opened()
    assert {"vectors.npy", "weights.safetensors", "weight.npy", "manifest.json"} < set(files)
    assert opened() == ["manifest.json"]
    content, stood = path.read_bytes(), path.stat()
    path.write_bytes(content)
    assert opened() == ["manifest.json", "weight.npy"]
    wrong = content[:-1] + bytes([content[-1] ^ 1])
    (version / "other").write_bytes(wrong)
    os.utime(version / "other", ns=(stood.st_atime_ns, path.stat().st_mtime_ns))
    (version / "other").replace(path)
    for _ in range(2):  # what was refused is not taken for compared
        with pytest.raises(BundleError, match=r"histories/weight.npy is changed"):
            opened()
    path.write_bytes(content)
    for damaged in ("", "[]", '{"x": 1}', json.dumps({str(version): {name: [] for name in files}})):
        page.write_text(damaged)
        assert opened() == files
    page.unlink()
    page.mkdir()
    assert opened() == opened() == files


def test_a_missing_seal_is_named(version: Path) -> None:
    (version / "manifest.sha256").unlink()
    with pytest.raises(BundleError, match=r"is incomplete: manifest.sha256 is missing"):
        Bundle.open(version)


def test_another_schema_is_named_with_the_remedy(version: Path) -> None:
    reseal(version, lambda manifest: manifest.update(schema_version=7))
    with pytest.raises(
        BundleError, match=r"has schema 7, this towers reads 2; publish it again with this version: tow"
    ):
        Bundle.open(version)


def test_a_manifest_that_is_none_is_named(version: Path) -> None:
    (version / "manifest.json").write_text("[]")
    with pytest.raises(BundleError, match=r"manifest.json cannot be read"):
        Bundle.open(version)


def test_a_dataset_is_no_bundle(tiny_dataset: Path) -> None:
    with pytest.raises(BundleError, match=r"is no version of a bundle: its manifest.json says no schema_version; give"):
        Bundle.open(tiny_dataset)


def test_towers_that_answer_otherwise_are_refused_with_the_figure(version: Path) -> None:
    path = version / "towers" / "weights.safetensors"
    weights = load_file(path)
    weights["start"] += 0.5
    save_file(weights, path)
    changed = checksums.digest(path)
    reseal(version, lambda manifest: manifest["files"].update({"towers/weights.safetensors": changed}))  # type: ignore[attr-defined]
    with pytest.raises(
        BundleError, match=r"parity proof at opening failed: user vectors differ by 0\.\d+, at most 1e-05"
    ):
        Bundle.open(version)


def test_a_folder_without_a_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle: current is missing; make one: towers publish run=… bundle="):
        Bundle.open(tmp_path)
    with pytest.raises(BundleError, match="nothing is no bundle: there is no such folder; make one: towers publish"):
        Bundle.open(tmp_path / "nothing")


def test_a_folder_that_leads_to_a_bundle_says_where(tiny_run: Path, root: Path) -> None:
    with pytest.raises(
        BundleError, match=f"{tiny_run} is no bundle but a run; publish it: towers publish run={tiny_run}"
    ):
        Bundle.open(tiny_run)
    with pytest.raises(BundleError, match=f"is no bundle, and holds one: give {root}$"):
        Bundle.open(root.parent)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "current cannot be read"),
        ('{"version": "../secrets"}', "names '../secrets', which is no version"),
        ('{"version": "000009-0123abcd"}', "points to version 000009-0123abcd, which lacks manifest.json"),
    ],
)
def test_a_pointer_that_points_nowhere_is_named(root: Path, content: str, message: str) -> None:
    (root / "current").write_text(content)
    with pytest.raises(BundleError, match=message):
        Bundle.open(root)


def test_a_version_that_is_gone_is_named_with_the_current_one(
    root: Path, version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = f"is not there; {root}'s current version is {version.name}"
    with pytest.raises(BundleError, match=rf"^version 000000-0123abcd {told}$"):
        Bundle.open(root / "versions" / "000000-0123abcd")
    monkeypatch.chdir(root / "versions")
    with pytest.raises(BundleError, match=rf"^version 000000-0123abcd {told}$"):
        Bundle.open("000000-0123abcd")
    (root / "versions" / "000000-0123abcd").mkdir()
    with pytest.raises(BundleError, match=r"^version 000000-0123abcd lacks manifest.json; "):
        Bundle.open("000000-0123abcd")
    shutil.rmtree(version)
    with pytest.raises(BundleError, match=f"points to version {version.name}, which lacks manifest.json"):
        Bundle.open(version)
