"""What `towers publish` prints of the index that it chose."""

import re
from pathlib import Path

import pytest

from tests.small import publish_small
from towers.cli import main


def test_publishing_ends_with_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_small(tmp_path)
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    words = ["publish", "run=run", "bundle=bundle"]
    assert main([*words, "index.recall=0.9", "index.p99_ms=0.000001"]) == 0
    header, _, line, why, picture, bundle = capsys.readouterr().out.splitlines()
    assert re.split(r" {2,}", header.strip()) == ["index", "recall@100", "p50 µs", "p99 µs", "MB", "build s", "holds"]
    assert re.fullmatch(r"exact \* +1\.0000 +\d+ +\d+ +0\.\d+ +[\d.e-]+ +no *", line)
    assert why.startswith("exact: it does not hold what was asked, and here p99 is ")
    assert re.fullmatch(r"index: bundle/versions/000002-[0-9a-f]{8}/index\.png", picture)
    assert Path(picture.removeprefix("index: ")).is_file()
    assert re.fullmatch(r"bundle: .*bundle, version 000002-[0-9a-f]{8}, 30 videos", bundle)
    assert main([*words, "index=exact"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_help_explains_what_can_be_asked_of_the_index(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "index.recall" in told
    assert "Which share of the true best 100 must be found at least" in told
    assert re.search(r"index\.memory_mb.*index\.p99_ms", told)
