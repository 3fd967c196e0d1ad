"""Processes on a core of their own, and loads that wrk makes, of which it says what it saw."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.record import CHECKOUT

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
Row = dict[str, object]


@contextmanager
def process(
    command: list[str], core: int, folder: Path = CHECKOUT, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command on one core until the context ends."""
    pinned = ["taskset", "-c", str(core), *command] if (os.cpu_count() or 1) > 1 else command
    # A session of its own, that a signal reaches what it starts.
    with subprocess.Popen(pinned, cwd=folder, env=os.environ | variables, start_new_session=True) as running:
        try:
            yield running
        finally:
            running.terminate()
            running.wait()


@contextmanager
def awake(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Let processes that were stopped run until the context ends: also who waits takes of a core."""
    send(processes, signal.SIGCONT)
    try:
        yield
    finally:
        send(processes, signal.SIGSTOP)


def send(processes: Sequence[subprocess.Popen[bytes]], what: signal.Signals) -> None:
    """Send a signal to processes and what they started."""
    for each in processes:
        os.killpg(each.pid, what)


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
