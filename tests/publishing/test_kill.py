"""A publisher killed at any moment leaves the old version or the new one, whole."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from towers.index import Exact
from towers.publishing import Bundle, PublishConfig, publish

FOREVER = """
import sys
from towers.index import Exact
from towers.publishing import PublishConfig, publish
while True:
    publish(PublishConfig(run=sys.argv[1], bundle=sys.argv[2], index=Exact(), keep=1))
"""

MOMENTS: dict[str, Callable[[Path], bool]] = {
    "has begun to write": lambda root: any((root / "versions").glob("*.partial-*")),
    "has written towers": lambda root: any((root / "versions").glob("*.partial-*/towers")),
    "has written the manifest": lambda root: any((root / "versions").glob("*.partial-*/manifest.json")),
    "has more versions than it keeps": lambda root: len(list((root / "versions").glob("??????-????????"))) > 1,
    "removes an old version": lambda root: any((root / "versions").glob("*.removed-*")),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_when_it(moment: str, tiny_run: Path, tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    old = publish(PublishConfig(run=str(tiny_run), bundle=str(root), index=Exact())).version
    child = subprocess.Popen([sys.executable, "-c", FOREVER, str(tiny_run), str(root)])
    while not MOMENTS[moment](root) and child.poll() is None:
        os.sched_yield()
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert Bundle.open(root).version >= old
    new = publish(PublishConfig(run=str(tiny_run), bundle=str(root), index=Exact(), keep=1)).version
    assert [path.name for path in (root / "versions").iterdir()] == [new]
    assert {path.name for path in root.iterdir()} == {"versions", "current", ".lock"}
