"""Measures the service as an app sees it: requests a second and their latency under load, and how fresh answers are.

    python -m benchmarks.serving --bundle runs/demo/bundle
    python -m benchmarks.serving --videos 1000000 --work runs/serving

Needs wrk (Debian's package of that name). The server has one core and wrk the other; both are on this machine. Requests
carry a key, a tenth of them a filter by feature and a tenth 50 videos to leave out; events of other connections come
beside them at about a tenth of their number. `bare` is uvicorn with the smallest app that
answers a hundred ids and scores. Latency is what wrk saw. Freshness is measured while 8 connections ask: from the
first byte of a change to the last byte of an answer that shows it.
With --videos a bundle of clustered made-up vectors is published first (a million: some minutes) and kept under --work.
Rows go to benchmarks/results/serving.csv and serving_fresh.csv.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.made_bundle import made_bundle
from benchmarks.record import CHECKOUT, Circumstances, record
from towers.publishing import Bundle
from towers.serving import Client
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
LUA = """
local bodies, n = {}, 0
for line in io.lines("%s") do n = n + 1; bodies[n] = line end
wrk.method, wrk.headers["content-type"], wrk.headers["authorization"] = "POST", "application/json", "Bearer %s"
local at = math.random(n)
request = function() at = at %% n + 1; return wrk.format(nil, nil, nil, bodies[at]) end
%s
done = function(summary, latency, requests)
  local bad = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format("told %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), bad))
end
"""
PORT, BARE_PORT = 8711, 8712
Row = dict[str, object]


@contextmanager
def process(command: list[str], core: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command on one core until the context ends."""
    pinned = ["taskset", "-c", str(core), *command] if (os.cpu_count() or 1) > 1 else command
    with subprocess.Popen(pinned, cwd=CHECKOUT, env=os.environ | environment) as running:
        try:
            yield running
        finally:
            running.terminate()
            running.wait()


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


def script(folder: Path, name: str, lines: Path, key: str, more: str = "") -> Path:
    """Write what wrk does."""
    path = folder / f"{name}.lua"
    path.write_text(LUA % (lines, key, more), encoding="utf-8")
    return path


def wrk(url: str, lua: Path, connections: int, seconds: float) -> subprocess.Popen[str]:
    """Begin a load."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(lua), url]
    return subprocess.Popen(["taskset", "-c", "0", *command], stdout=subprocess.PIPE, text=True)


def figures(load: subprocess.Popen[str]) -> Row:
    """Wait for a load; return what it saw."""
    said, _ = load.communicate()
    found = re.search(r"told (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", said)
    if found is None:
        raise SystemExit(f"wrk failed: {said}")
    count, micros, p50, p99, p999, bad = map(int, found.groups())
    times = {"p50_ms": p50, "p99_ms": p99, "p999_ms": p999}
    return (
        {"per_second": f"{count / micros * 1e6:.0f}"} | {n: f"{t / 1e3:.2f}" for n, t in times.items()} | {"bad": bad}
    )


def under_load(name: str, bundle: Bundle, folder: Path, key: str, arguments: argparse.Namespace) -> list[Row]:
    """Return rows of the service and the bare app, in turns, for each number of connections."""
    asked, told = bodies(bundle, folder)
    seconds = arguments.seconds
    reads = script(folder, "reads", asked, key)
    rows, url, bare = [], f"http://127.0.0.1:{PORT}/v1/candidates", f"http://127.0.0.1:{BARE_PORT}/"
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
            rows.append(row | {"what": "bare uvicorn"} | figures(wrk(bare, reads, connections, seconds / 2)))
            rows[-1] |= {"events_per_second": "", "events_p99_ms": ""}
            print(rows[-2], rows[-1], sep="\n", flush=True)
    return rows


def fresh(name: str, bundle: Bundle, folder: Path, key: str, times: int) -> list[Row]:
    """Return how long changes take to show, while others ask."""
    reads = script(folder, "reads", bodies(bundle, folder)[0], key)
    spent: dict[str, list[float]] = {"event": [], "new video": [], "deletion": []}
    load = wrk(f"http://127.0.0.1:{PORT}/v1/candidates", reads, 8, 3600)
    users, first = bundle.users.known.tolist(), int(bundle.videos.known.max()) + 1
    with Client(f"http://127.0.0.1:{PORT}", key=key, timeout_s=30.0, tries=0) as client:
        for place in range(times):
            user, new = users[place % len(users)], first + place
            shown = client.candidates(user, k=10)["video_ids"][0]
            event = {"user_id": user, "video_id": shown, "event_id": f"fresh {place}"}
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
        row: Row = {"bundle": name, "videos": len(bundle.videos.known), "what": what, "times": times}
        rows.append(row | {"p50_ms": f"{p50:.1f}", "p99_ms": f"{p99:.1f}", "max_ms": f"{max(took):.1f}"})
        print(rows[-1], flush=True)
    return rows


def _hidden(client: Client, user: int, video: int) -> bool:
    return video not in client.candidates(user, k=10)["video_ids"]


def _is_shown(client: Client, video: int, *, there: bool) -> bool:
    return (client.candidates(None, k=1, allow=[video])["video_ids"] == [video]) == there


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
    command = f"python -m benchmarks.serving {' '.join(sys.argv[1:])}"
    with Client(f"http://127.0.0.1:{PORT}", timeout_s=30.0, tries=0) as client:
        with process(serve, 1) as server:
            wait_for(client, server)
        with process(serve, 1) as server, process([*bare, "--no-access-log", "--log-level", "error"], 1):
            start_s = wait_for(client, server)
            began = time.perf_counter()
            rows = under_load(name, bundle, folder, key, arguments)
            status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
            peak = float(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
            how = Circumstances(command=command, seed=0, seconds=time.perf_counter() - began, peak_mb=peak)
            record(
                "serving", [row | {"start_s": f"{start_s:.1f}", "remember": arguments.remember} for row in rows], how
            )
            began = time.perf_counter()
            rows = fresh(name, bundle, folder, key, arguments.times)
            how = Circumstances(command=command, seed=0, seconds=time.perf_counter() - began, peak_mb=peak)
            record("serving_fresh", rows, how)


def main() -> None:
    """Measure one bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="folder that towers publish wrote")
    parser.add_argument("--videos", type=int, help="make a bundle of so many videos instead")
    parser.add_argument("--work", type=Path, default=Path("runs/serving"), help="folder for what is made")
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
