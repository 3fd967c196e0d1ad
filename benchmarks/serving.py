"""Measures the service as an app sees it: requests a second and their latency under load, and how fresh answers are.

    python -m benchmarks.serving --bundle runs/demo/bundle
    python -m benchmarks.serving --videos 1000000 --work runs/serving

Needs wrk (Debian's package of that name). The server has one core and wrk the other; both are on this machine. Requests
carry a key, a tenth of them a filter by feature and a tenth 50 videos to leave out; events of other connections come
beside them at about a tenth of their number. `bare` is uvicorn with the smallest app that
answers a hundred ids and scores. Latency is what wrk saw. Freshness is measured while 8 connections ask as fast as they
can, then 4: from the first byte of a change to the last byte of an answer that shows it.
With --libreco SOURCES, a checkout of github.com/massquantity/LibRecommender, its own service takes turns with ours:
over the same vectors, with a Redis server on port 6379, both on the server's core and stopped while ours answers; it
knows no filters, events or keys.
With --videos a bundle of made-up vectors is published first (a million: a minute) and kept under --work.
Rows go to benchmarks/results/serving.csv and serving_fresh.csv.
"""

import argparse
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.load import Row, awake, figures, process, script, send, wrk
from benchmarks.made_bundle import made_bundle
from benchmarks.peers.__main__ import environment
from benchmarks.record import CHECKOUT, Circumstances, record
from towers.publishing import Bundle
from towers.serving import Client, Retriever
from towers.serving.client import AnswerError
from towers.serving.http.keys import KeyConfig, add_key

BARE = """
import json
answer = json.dumps({"video_ids": list(range(10**6, 10**6 + 100)), "scores": [0.123456] * 100}).encode()
head = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": answer})
"""
FILLING = CHECKOUT / "benchmarks" / "peers" / "libreco_service.py"
ASKING = (8, 4)
"""Connections that ask while freshness is measured: as many as keep the service busy; three quarters of that."""
PORT, BARE_PORT, LIBRECO_PORT = 8711, 8712, 8713


class Other(NamedTuple):
    """What is measured beside ours: where it answers, what wrk does, and what runs while it does."""

    url: str
    lua: Path
    processes: Sequence[subprocess.Popen[bytes]] = ()


Others = dict[str, Other]
"""By name."""


def bodies(bundle: Bundle, folder: Path) -> tuple[Path, Path]:
    """Write what is asked and what is told, a line each."""
    chance = random.Random(0)  # noqa: S311  a benchmark's data are no secret
    users = bundle.users.known[np.flatnonzero(bundle.positives.counts()[2:] > 0)].tolist()
    videos = bundle.videos.known.tolist()
    table, features = (
        bundle.video_table(),
        [e.name for e in bundle.towers.encoders.videos if e.kind.value == "categorical"],
    )
    values = [v for v in table[features[0]].slice(0, 1000).unique().to_pylist() if v] if features else []
    asked, told = folder / "asked.txt", folder / "told.txt"
    with asked.open("w", encoding="utf-8") as file:
        for place in range(20_000):
            body: dict[str, Any] = {"user_id": chance.choice(users), "k": 100}
            if place % 10 == 0 and values:
                body["only"] = {features[0]: chance.choice(values[:20])}
            if place % 10 == 1:
                body["exclude"] = chance.sample(videos, 50)
            file.write(json.dumps(body) + "\n")
    with told.open("w", encoding="utf-8") as file:
        for _ in range(20_000):  # without a time: each happens when it comes
            file.write(json.dumps({"user_id": chance.choice(users), "video_id": chance.choice(videos)}) + "\n")
    return asked, told


def under_load(
    name: str, bundle: Bundle, folder: Path, key: str, others: Others, arguments: argparse.Namespace
) -> list[Row]:
    """Return rows of the service and of others, in turns, for each number of connections."""
    asked, told = bodies(bundle, folder)
    seconds = arguments.seconds
    reads = script(folder, "reads", asked, key)
    rows, url = [], f"http://127.0.0.1:{PORT}/v1/candidates"
    others = others | {"bare uvicorn": Other(f"http://127.0.0.1:{BARE_PORT}/", reads)}
    for connections in arguments.connections:
        rate = 400.0
        for turn in range(2):
            # Each of 8 connections waits so long before it tells the next event.
            writes = script(folder, "writes", told, key, f"delay = function() return {8000 / rate:.0f} end")
            events = wrk(f"http://127.0.0.1:{PORT}/v1/events", writes, 8, seconds)
            seen = figures(wrk(url, reads, connections, seconds))
            beside = figures(events)
            rate = max(20.0, float(str(seen["per_second"])) / 10)
            row = {"bundle": name, "videos": len(bundle.videos.known), "connections": connections, "round": turn}
            rows.append(row | {"what": "towers serve"} | seen | {"events_per_second": beside["per_second"]})
            rows[-1] |= {"events_p99_ms": beside["p99_ms"]}
            nothing = {"events_per_second": "", "events_p99_ms": ""}
            for what, other in others.items():
                with awake(other.processes):
                    rows.append(row | {"what": what} | figures(wrk(other.url, other.lua, connections, seconds / 2)))
                rows[-1] |= nothing
            print(*rows[-1 - len(others) :], sep="\n", flush=True)
    return rows


def fresh(name: str, bundle: Bundle, folder: Path, key: str, times: int, asking: int) -> list[Row]:
    """Return how long changes take to show, while others ask over so many connections."""
    reads = script(folder, "reads", bodies(bundle, folder)[0], key)
    spent: dict[str, list[float]] = {"event": [], "new video": [], "deletion": []}
    load = wrk(f"http://127.0.0.1:{PORT}/v1/candidates", reads, asking, 3600)
    users, first = bundle.users.known.tolist(), int(bundle.videos.known.max()) + 1
    with Client(f"http://127.0.0.1:{PORT}", key=key, timeout_s=30.0, tries=0) as client:
        for place in range(times):
            user, new = users[place % len(users)], first + asking * times + place
            shown = client.candidates(user, k=10)["video_ids"][0]
            event = {"user_id": user, "video_id": shown, "event_id": f"fresh {asking} {place}"}
            steps: dict[str, tuple[Callable[[], object], Callable[[], bool]]] = {
                "event": (partial(client.events, [event]), partial(_hidden, client, user, shown)),
                "new video": (partial(client.put_videos, {new: {}}), partial(_is_shown, client, new, there=True)),
                "deletion": (partial(client.remove_video, new), partial(_is_shown, client, new, there=False)),
            }
            for what, (change, shows) in steps.items():
                begin = time.perf_counter()
                change()
                while not shows():
                    pass
                spent[what].append((time.perf_counter() - begin) * 1e3)
    load.terminate()
    load.wait()
    rows: list[Row] = []
    for what, took in spent.items():
        p50, p99 = np.percentile(took, [50, 99])
        beside = "" if asking == ASKING[0] else f", {asking} asking"
        row: Row = {"bundle": name, "videos": len(bundle.videos.known), "what": f"{what}{beside}", "times": times}
        rows.append(row | {"p50_ms": f"{p50:.1f}", "p99_ms": f"{p99:.1f}", "max_ms": f"{max(took):.1f}"})
        print(rows[-1], flush=True)
    return rows


def _hidden(client: Client, user: int, video: int) -> bool:
    return video not in client.candidates(user, k=10)["video_ids"]


def _is_shown(client: Client, video: int, *, there: bool) -> bool:
    return (client.candidates(None, k=1, allow=[video])["video_ids"] == [video]) == there


@contextmanager
def libreco(bundle: Bundle, folder: Path, arguments: argparse.Namespace) -> Iterator[Others]:
    """Run LibRecommender's service over a bundle's vectors; nothing where its sources are not given."""
    if arguments.libreco is None:
        yield {}
        return
    place = folder / "libreco"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    python = environment("libreco-service", arguments.environments)
    sources = subprocess.run(
        ["git", "-C", str(arguments.libreco), "archive", "HEAD", "libserving"], check=True, stdout=subprocess.PIPE
    )
    subprocess.run(["tar", "-x", "-C", str(place)], input=sources.stdout, check=True)
    retriever, users = Retriever(bundle), bundle.users.known
    vectors = [retriever.embed_users(users[begin : begin + 4096]) for begin in range(0, len(users), 4096)]
    rows = bundle.videos.rows(bundle.videos.known)
    watched = bundle.positives.video_row.astype(np.int64) - rows[0]
    told = {"users": np.concatenate(vectors), "videos": retriever.embed_videos(bundle.videos.known)}
    told |= {"user_ids": users, "video_ids": bundle.videos.known, "watched": watched}
    for what, array in (told | {"offsets": bundle.positives.offsets[bundle.users.rows(users[:1])[0] :]}).items():
        np.save(place / f"{what}.npy", array)
    redis = ["redis-server", "--port", "6379", "--save", "", "--dir", str(place), "--loglevel", "warning"]
    # It says a line of each request.
    serve = ["sh", "-c", 'exec "$@" >service.log 2>&1', "sh", str(python), "-m", "sanic"]
    serve += ["sanic_serving.embed_deploy:app", f"--port={LIBRECO_PORT}", "--workers=1", "--no-access-logs"]
    with process(redis, 1) as store:
        subprocess.run([str(python), str(FILLING), str(place)], check=True)
        with process(serve, 1, folder=place / "libserving", PYTHONPATH=".") as server:
            while subprocess.run(["curl", "-s", f"http://127.0.0.1:{LIBRECO_PORT}/"], capture_output=True).returncode:
                time.sleep(0.1)
            lines = [json.loads(line)["user_id"] for line in (folder / "asked.txt").open(encoding="utf-8")]
            asked = place / "asked.txt"
            asked.write_text("".join(json.dumps({"user": str(user), "n_rec": 100}) + "\n" for user in lines))
            url = f"http://127.0.0.1:{LIBRECO_PORT}/embed/recommend"
            both = [store, server]
            send(both, signal.SIGSTOP)
            try:
                yield {"LibRecommender's service": Other(url, script(place, "reads", asked, ""), both)}
            finally:
                send(both, signal.SIGCONT)


def wait_for(client: Client, server: subprocess.Popen[bytes]) -> float:
    """Return how many seconds the server took to answer."""
    begin = time.perf_counter()
    while server.poll() is None:
        try:
            client.ready()
            return time.perf_counter() - begin
        except AnswerError:
            time.sleep(0.02)
    raise SystemExit("the server ended")


def measure(name: str, root: Path, folder: Path, arguments: argparse.Namespace) -> None:
    """Start the service, twice so that machine code is there, and measure."""
    bundle, key = (
        Bundle.open(root),
        add_key(KeyConfig(file=str(folder / "keys.json"), name="load", scopes=["read", "write"])),
    )
    state = folder / "state"
    shutil.rmtree(state, ignore_errors=True)
    options = [f"bundle={root}", f"state={state}", f"store.path={state / 'state.db'}", f"port={PORT}"]
    options += [f"keys={folder / 'keys.json'}", "deadline_ms=2000", f"remember={arguments.remember}"]
    serve = [sys.executable, "-c", "from towers.cli import main; raise SystemExit(main())", "serve", *options]
    (folder / "bare.py").write_text(BARE, encoding="utf-8")
    bare = [sys.executable, "-m", "uvicorn", "bare:app", "--app-dir", str(folder), "--port", str(BARE_PORT)]
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = f"python -m benchmarks.serving {' '.join(words)}"
    with Client(f"http://127.0.0.1:{PORT}", timeout_s=30.0, tries=0) as client:
        with process(serve, 1) as server:
            wait_for(client, server)
        bodies(bundle, folder)
        bare += ["--no-access-log", "--log-level", "error"]
        with libreco(bundle, folder, arguments) as others, process(bare, 1), process(serve, 1) as server:
            start_s = wait_for(client, server)
            began = time.perf_counter()
            rows = under_load(name, bundle, folder, key, others, arguments)
            status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
            peak = float(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
            how = Circumstances(command=command, seed=0, seconds=time.perf_counter() - began, peak_mb=peak)
            record(
                "serving", [row | {"start_s": f"{start_s:.1f}", "remember": arguments.remember} for row in rows], how
            )
            began = time.perf_counter()
            rows = [row for asking in ASKING for row in fresh(name, bundle, folder, key, arguments.times, asking)]
            how = Circumstances(command=command, seed=0, seconds=time.perf_counter() - began, peak_mb=peak)
            record("serving_fresh", rows, how)


def main() -> None:
    """Measure one bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="folder that towers publish wrote")
    parser.add_argument("--videos", type=int, help="make a bundle of so many videos instead")
    parser.add_argument("--work", type=Path, default=Path("runs/serving"), help="folder for what is made")
    parser.add_argument("--libreco", type=Path, help="checkout of LibRecommender, whose service is measured too")
    parser.add_argument("--environments", type=Path, default=Path("runs/peers"), help="folder of its environment")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64, 256], help="of each load")
    parser.add_argument("--remember", type=float, default=0.1, help="share of answers that the service keeps")
    parser.add_argument("--seconds", type=float, default=8, help="of each load")
    parser.add_argument("--times", type=int, default=300, help="how often freshness is measured")
    arguments = parser.parse_args()
    if (arguments.bundle is None) == (arguments.videos is None):
        parser.error("give --bundle or --videos")
    work = arguments.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    name = "kuairand" if arguments.bundle else "made"
    root = arguments.bundle or made_bundle(arguments.videos, work / f"made-{arguments.videos}")
    measure(name, root.absolute(), work, arguments)


if __name__ == "__main__":
    main()
