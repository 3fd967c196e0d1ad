"""One retriever for several threads, and for processes that begin before it or after."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import tiny
from towers.serving import Retriever

USERS = tiny.ids_of(tiny.USERS, string=False)
CHILDREN = """
import multiprocessing, sys
from towers.serving import Retriever

retriever = Retriever.open(sys.argv[2])

def ask(user):
    return retriever.candidates(user, k=5).ids.tolist()

if __name__ == "__main__":
    users = [int(user) for user in sys.argv[3:]]
    own = [ask(user) for user in users]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        assert pool.map(ask, users) == own
    print(own)
"""


def test_threads_get_what_one_gets(tiny_bundle: Path) -> None:
    retriever = Retriever.open(tiny_bundle)
    alone = [retriever.candidates(user, k=5) for user in USERS]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda user: retriever.candidates(user, k=5), USERS * 20))
    for place, candidates in enumerate(found):
        twin = alone[place % len(USERS)]
        assert list(candidates.ids) == list(twin.ids)
        assert candidates.scores.tolist() == twin.scores.tolist()


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_processes_get_what_this_one_gets(way: str, tiny_bundle: Path, tmp_path: Path) -> None:
    retriever = Retriever.open(tiny_bundle)
    (tmp_path / "ask.py").write_text(CHILDREN)
    asked = [sys.executable, "-W", "ignore", str(tmp_path / "ask.py"), way, str(tiny_bundle), *map(str, USERS)]
    result = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str([list(map(int, retriever.candidates(user, k=5).ids)) for user in USERS])
