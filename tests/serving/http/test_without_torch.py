"""What answers needs no torch: a service that never trains starts without it, and its process holds none of it."""

import subprocess
import sys
from pathlib import Path

import httpx

from tests import tiny
from towers.index import Hnsw
from towers.publishing import PublishConfig, publish

from .test_trouble import NEW, served

USERS = tiny.ids_of(tiny.USERS, string=False)
INSTALL = "pip install -c requirements.lock -e '.[train]' in the checkout"
HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "pytorch_lightning", "faiss"}:
            raise ModuleNotFoundError(f"no {name} here", name=name)

sys.meta_path.insert(0, Hidden())
"""


def without(code: str, *arguments: str) -> str:
    """Return what Python prints where neither torch nor FAISS can be imported."""
    command = [sys.executable, "-c", HIDDEN + code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def libraries_of(pid: int) -> set[str]:
    """Return the names of the files that a process has mapped."""
    return {Path(line.split()[-1]).name for line in Path(f"/proc/{pid}/maps").read_text().splitlines()}


def test_a_service_holds_none_of_it_after_all_that_it_is_asked(tiny_bundle: Path, tmp_path: Path) -> None:
    with served(tiny_bundle, tmp_path / "own", "store=memory") as (process, client):
        shown = client.candidates(USERS[4], k=5)["video_ids"]
        client.events([{"user_id": USERS[4], "video_id": shown[0], "event_id": "one"}])
        assert client.put_videos({NEW: {"tags": ["a"]}, shown[1]: {"tags": ["b"]}}) == {"shown": 2}
        assert NEW in client.candidates(USERS[4], k=40, exclude=shown[2:])["video_ids"]
        assert client.similar(shown[1], k=3)["video_ids"]
        for path in ("/v1/page/map", "/v1/page/somebody", f"/v1/page/users/{USERS[4]}", "/v1/page/versions"):
            assert httpx.get(f"{client.url}{path}").status_code == 200
        mapped = libraries_of(process.pid)
    assert any(name.startswith("libarrow") for name in mapped)
    assert not {name for name in mapped if "torch" in name or "faiss" in name}


def test_a_bundle_opens_and_answers_where_there_is_none(tiny_bundle: Path) -> None:
    code = """
from towers import Retriever
retriever = Retriever.open(sys.argv[1])
print(*retriever.candidates(int(sys.argv[2]), k=3).ids)
"""
    from towers import Retriever

    expected = Retriever.open(tiny_bundle).candidates(USERS[4], k=3).ids
    assert without(code, str(tiny_bundle), str(USERS[4])).split() == [str(each) for each in expected]


def test_what_trains_is_asked_for_by_name_where_it_is_missing(tiny_bundle: Path) -> None:
    code = """
import numpy as np
import towers
from towers.index import Exact, Hnsw
from towers.types import ConfigError, Geometry

def told(ask):
    try:
        ask()
    except (ModuleNotFoundError, ConfigError) as error:
        print(error)

some = np.eye(4, dtype=np.float32), np.arange(4), Geometry.dot
told(lambda: towers.train)
told(lambda: towers.Bundle.open(sys.argv[1]).towers)
told(lambda: Hnsw().build(*some))
told(lambda: Exact(device="cuda").build(*some))
print(Exact(device="auto").build(*some).search(some[0][:1], 1).ids)
"""
    assert without(code, str(tiny_bundle)).splitlines() == [
        f"towers.train needs torch; {INSTALL}",
        f"towers.models.load_towers needs torch; {INSTALL}",
        f"an index of FAISS's kinds needs faiss; {INSTALL}",
        "index.device is cuda, but torch is not installed here; take cpu, or auto for a GPU where there is one",
        "[[0]]",
    ]


def test_the_command_that_serves_says_what_a_bundle_of_faiss_needs(tiny_run: Path, tmp_path: Path) -> None:
    publish(PublishConfig(run=str(tiny_run), bundle=str(tmp_path / "bundle"), index=Hnsw()))
    code = "from towers.cli import main; sys.exit(main(sys.argv[1:]))"
    for verb in (["serve", f"state={tmp_path / 'state'}", "store=memory", "port=0"], ["recommend", "user=3"]):
        command = [sys.executable, "-c", HIDDEN + code, *verb, f"bundle={tmp_path / 'bundle'}"]
        refused = subprocess.run(command, check=False, capture_output=True, text=True)
        assert refused.stderr.splitlines()[-1] == f"error: an index of FAISS's kinds needs faiss; {INSTALL}"
        assert refused.returncode == 2


def test_a_live_index_makes_its_lists_where_there_is_none(tmp_path: Path) -> None:
    code = """
from pathlib import Path
import numpy as np
from towers.index import Ivf, Live
from towers.types import Geometry
vectors = np.random.default_rng(0).normal(size=(9000, 16)).astype(np.float32)
live = Live.create(Path(sys.argv[1]), vectors[:6000], np.arange(6000), Geometry.dot, index=Ivf(nlist=20))
live.put(vectors[6000:], np.arange(6000, 9000))
live.compact(recluster=True)
hits = live.search(vectors[8999:], 1)
print(len(live), int((vectors @ vectors[8999]).argmax()) == hits.ids[0, 0])
"""
    assert without(code, str(tmp_path / "live")) == "9000 True"
