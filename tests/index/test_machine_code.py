"""Machine code: kept on disk, made anew when any of its files changes, the same answers on other processors."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import llvmlite.binding as llvm
import pytest

import towers

SEARCH = """
import sys
import numpy as np
import towers.index
print("numba" in sys.modules)
from towers.index import Exact, Ivf
from towers.types import Geometry
draw = np.random.default_rng(0)
vectors = draw.integers(-3, 4, (500, 8)).astype(np.float32)
for index in (Exact(), Ivf(nlist=4)):
    hits = index.build(vectors, np.arange(500), Geometry.dot).search(vectors[:21], 9, [np.arange(3)] * 21)
    print(hits.ids.sum(), hits.scores.sum())
from towers.index.block import FAST, TILED
print(FAST, TILED)
"""


def run(code: str, folder: Path | str = "", **variables: str) -> list[str]:
    environment = os.environ | variables
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=250, env=environment, cwd=folder or None
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.fixture(scope="module")
def usual() -> list[str]:
    return run(SEARCH)


def test_numba_is_loaded_with_the_first_index_alone(usual: list[str]) -> None:
    assert usual[0] == "False"


def test_a_processor_without_the_instructions_gives_the_same_answers(usual: list[str]) -> None:
    plain = run(SEARCH, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert plain[-1] == "False False"
    assert plain[:-1] == usual[:-1]


def test_a_processor_without_tiles_gives_the_same_answers(usual: list[str]) -> None:
    features = {name: has and not name.startswith("amx") for name, has in llvm.get_host_cpu_features().items()}
    listed = ",".join(f"{'+' if has else '-'}{name}" for name, has in features.items())
    plain = run(SEARCH, NUMBA_CPU_NAME=llvm.get_host_cpu_name(), NUMBA_CPU_FEATURES=listed)
    assert plain[-1] == f"{bool(features.get('avx512vnni'))} False"
    assert plain[:-1] == usual[:-1]


def test_code_made_where_tiles_are_allowed_is_not_used_where_they_are_not() -> None:
    refused = "import numba, platform\nplatform.machine = lambda: 'another'\n"
    name = "\nfrom towers.compiled import may_use_tiles\nprint(may_use_tiles())\n" + NAME
    allowed = run(name)
    if allowed[0] == "False":
        pytest.skip("tiles are refused here")
    assert run(refused + name)[0] == "False"
    assert run(refused + name)[1] != allowed[1]


FEW = """
import sys
sys.path.insert(0, ".")
import numpy as np
from towers.index.places import places_of, slots_of
ids = np.array([7, -5])
print(slots_of(places_of(ids), ids, ids[::-1]).tolist())
"""


def copied(folder: Path) -> None:
    shutil.copytree(Path(towers.__file__).parent, folder / "towers", ignore=shutil.ignore_patterns("__pycache__"))


def test_where_nothing_can_be_kept_beside_the_source_the_users_cache_keeps_it(tmp_path: Path) -> None:
    copied(tmp_path)
    (tmp_path / "towers" / "__pycache__").touch()
    (tmp_path / "towers" / "index" / "__pycache__").touch()  # in place of a folder: not even root can write there
    assert run(FEW, tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache")) == ["[1, 0]"]
    assert list((tmp_path / "cache").rglob("places.slots_of*.nbc"))


def test_where_nothing_can_be_kept_at_all_it_is_made_anew_and_said_once(tmp_path: Path) -> None:
    copied(tmp_path)
    (tmp_path / "towers" / "index" / "__pycache__").touch()
    nowhere = {"XDG_CACHE_HOME": "/dev/null", "NUMBA_CACHE_DIR": ""}
    done = subprocess.run(
        [sys.executable, "-c", FEW], capture_output=True, text=True, env=os.environ | nowhere, cwd=tmp_path, check=True
    )
    assert done.stdout == "[1, 0]\n"
    assert done.stderr.count("set NUMBA_CACHE_DIR to a folder that can") == 1


NAME = """
import sys
sys.path.insert(0, ".")
from towers.index.places import slots_of
print(slots_of.py_func.__qualname__)
"""


def test_a_change_in_any_file_of_the_package_gives_new_code(tmp_path: Path) -> None:
    # Numba itself looks at the file of a function alone, not at those of what it calls.
    copied(tmp_path)
    before = run(NAME, tmp_path)
    assert run(NAME, tmp_path) == before
    with (tmp_path / "towers" / "index" / "codes.py").open("a") as file:
        file.write("# changed\n")
    changed = run(NAME, tmp_path)
    assert changed != before
    with (tmp_path / "towers" / "data" / "vocabulary.py").open("a") as file:
        file.write("# changed\n")
    assert run(NAME, tmp_path) not in (before, changed)


AT_ONCE = """
import sys
from multiprocessing import get_context
from threading import BrokenBarrierError
import numba
import numpy as np
from numba.core.caching import IndexDataCacheFile
from towers.compiled import compiled, entry

def double(numbers):
    return numbers.sum() * 2

def make(kind, both):
    read = IndexDataCacheFile._load_index
    def read_together(self):
        index = read(self)
        try:
            both.wait(20)
        except BrokenBarrierError:
            pass
        return index
    made = compiled(double)
    made._cache.load_overload = lambda *_: None
    IndexDataCacheFile._load_index = read_together
    entry(made, np.ones(3, kind))

if __name__ == "__main__":
    numba.config.CACHE_DIR = "kept"
    spawn = get_context("spawn")
    both = spawn.Barrier(2)
    two = [spawn.Process(target=make, args=(kind, both)) for kind in ("int64", "float64")]
    for process in two:
        process.start()
    for process in two:
        process.join()
    made = compiled(double)
    for kind in ("int64", "float64"):
        print(entry(made, np.ones(3, kind)) and made(np.ones(3, kind)))
    print(sum(made.stats.cache_hits.values()))
"""


def test_processes_that_make_machine_code_at_once_keep_it_apart(tmp_path: Path) -> None:
    (tmp_path / "at_once.py").write_text(AT_ONCE)
    kept = str(tmp_path / "kept")
    assert run("import runpy; runpy.run_path('at_once.py', run_name='__main__')", tmp_path, NUMBA_CACHE_DIR=kept) == [
        "6",
        "6.0",
        "2",
    ]


KEPT = """
import logging
import resource
import sys
import time
from pathlib import Path
import numba
import numpy as np
from towers.compiled import compiled, entry
logging.basicConfig(stream=sys.stdout, format="%(message)s")
numba.config.CACHE_DIR = "kept"

def double(numbers):
    return numbers.sum() * 2

made = compiled(double)
if "full" in sys.argv:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
print(entry(made, np.ones(3)) and made(np.ones(3)), sum(made.stats.cache_hits.values()))
"""


def keep(folder: Path, *words: str) -> list[str]:
    (folder / "keep.py").write_text(KEPT)
    return run(f"import runpy, sys; sys.argv = {['', *words]}; runpy.run_path('keep.py')", folder)


def test_machine_code_that_was_not_written_whole_is_made_anew(tmp_path: Path) -> None:
    assert keep(tmp_path) == ["6.0 0"]
    assert keep(tmp_path) == ["6.0 1"]
    (file,) = tmp_path.glob("kept/*/*.nbc")
    whole = file.read_bytes()
    middle = whole.index(b"ELF") + 200
    for spoilt in (whole[:middle] + bytes(400) + whole[middle + 400 :], whole[:middle], bytes(len(whole)), b""):
        file.write_bytes(spoilt)
        assert keep(tmp_path) == ["6.0 0"]
        assert keep(tmp_path) == ["6.0 1"]


def test_where_there_is_no_room_for_machine_code_it_is_used_nevertheless(tmp_path: Path) -> None:
    told, *rest = keep(tmp_path, "full")
    (folder,) = tmp_path.glob("kept/*")
    assert told.startswith(f"Machine code cannot be kept in kept/{folder.name} (File too large): each process makes it")
    assert rest == ["6.0 0"]


def test_machine_code_of_earlier_files_goes_after_a_week(tmp_path: Path) -> None:
    keep(tmp_path)
    (file,) = tmp_path.glob("kept/*/*.nbc")
    digest = file.name.partition("double_")[2][:12]
    old, other = (file.with_name(file.name.replace(digest, each)) for each in ("0" * 12, "f" * 12))
    for path, days in ((old, 8), (other, 6)):
        shutil.copy(file, path)
        os.utime(path, (time.time() - days * 86_400,) * 2)
    file.unlink()
    keep(tmp_path)
    assert sorted(tmp_path.glob("kept/*/*.nbc")) == sorted([file, other])
