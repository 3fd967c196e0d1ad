"""Writes the tables of README.md and benchmarks/README.md from the recorded rows.

    python -m benchmarks.report            # write them
    python -m benchmarks.report --check    # fail when a table differs from what the rows say

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`.
"""

import argparse
import re
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.curves import pictures, ratio_table, search_table
from benchmarks.record import CHECKOUT, RESULTS, read

PAGES = (CHECKOUT / "README.md", CHECKOUT / "benchmarks" / "README.md")
TABLE = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n)(?P<body>.*?)(<!-- end of table -->)", re.DOTALL)
HEADLINES = {
    "kuairand": ("recall@100", "recall@20", "ndcg@10", "precision@10", "f1@10", "hit@10", "coverage@100"),
    "gowalla-m1": ("recall@20", "ndcg@20", "precision@20", "f1@20", "hit@20", "coverage@100"),
    "ml-1m": ("hit@10", "ndcg@10", "recall@100", "precision@10", "f1@10", "mrr@100"),
}
COLD = ("cold users: recall@100", "cold videos: recall@100", "cold videos: auc", "cold videos alone: recall@100")
"""Of users without a past, of videos that nobody had watched, and of the latter among themselves."""
Rows = list[dict[str, str]]
ALIKE = {"ml-1m": ("3320a1260c", "1fdaf1f731"), "gowalla-m1": ("273ce24d5f", "7cbe74bd55")}
"""Commits whose seeds of a recipe stand in one line: its towers learn the same in all, but for how sums are rounded and
what dropout draws. Of every other recipe the newest commit alone counts."""


def quality_table(protocol: str, metrics: tuple[str, ...], folder: Path) -> str:
    """Write metrics of one protocol's latest rows as a table: a line for each recipe, the mean over its seeds."""
    rows = [row for row in read("quality", folder) if row["protocol"] == protocol]
    if not rows:
        return "Not measured yet.\n"
    lines = [
        f"| {protocol} | {' | '.join(metrics)} | seeds | seconds | peak MB |",
        f"|---|{'--:|' * (len(metrics) + 3)}",
    ]
    latest = {recipe: latest_of(rows, recipe) for recipe in dict.fromkeys(row["recipe"] for row in rows)}
    order = sorted(latest, key=lambda recipe: _mean(latest[recipe], metrics[0]))
    lines += [_line(recipe, latest[recipe], metrics) for recipe in order]
    runs = [row for recipe in order for row in latest[recipe]]
    commands = dict.fromkeys(row["command"] for row in runs)
    machines = dict.fromkeys(f"{row['machine']}, {row['cores']} cores, {row['memory_gb']} GB" for row in runs)
    commits = dict.fromkeys(row["commit"] + (" (with changes)" if row["dirty"] == "yes" else "") for row in runs)
    lines += [
        "",
        "± is half the distance between the best and the worst seed; seconds are those of the fastest. "
        f"Command: {', '.join(f'`{c}`' for c in commands)}. Machine: {'; '.join(machines)}. "
        f"Commit: {', '.join(commits)}.",
    ]
    return "\n".join(lines) + "\n"


def latest_of(rows: Rows, recipe: str) -> Rows:
    """Return, of one recipe, the rows of its newest commit and of those alike, of each seed and metric the newest."""
    own = [row for row in rows if row["recipe"] == recipe]
    last, alike = own[-1]["commit"], ALIKE.get(recipe, ())
    commits = alike if last in alike else (last,)
    newest = {(row["seed"], row["metric"]): row for row in own if row["commit"] in commits}
    return list(newest.values())


def _values(rows: Rows, metric: str) -> list[float]:
    return [float(row["value"]) for row in rows if row["metric"] == metric]


def _mean(rows: Rows, metric: str) -> float:
    values = _values(rows, metric)
    return statistics.fmean(values) if values else float("-inf")


def _line(recipe: str, rows: Rows, metrics: tuple[str, ...]) -> str:
    cells = [_cell(_values(rows, metric)) for metric in metrics]
    seeds = sorted({int(row["seed"]) for row in rows})
    seconds = min(float(row["seconds"]) for row in rows)  # what else runs beside a training only adds
    peak = max(float(row["peak_mb"]) for row in rows)
    floor = recipe.startswith("floor")
    cost = ["–", "–", "–"] if floor else [", ".join(map(str, seeds)), f"{seconds:.0f}", f"{peak:.0f}"]
    return f"| {recipe} | {' | '.join([*cells, *cost])} |"


def _cell(values: list[float]) -> str:
    if not values:
        return "–"
    text = f"{statistics.fmean(values):.4f}"
    return text if len(values) == 1 else f"{text} ± {(max(values) - min(values)) / 2:.4f}"


def plain_table(name: str, keys: tuple[str, ...], columns: tuple[str, ...], folder: Path) -> str:
    """Write the newest row of each combination of keys as a line, in the order of their first appearance."""
    newest = {tuple(row[key] for key in keys): row for row in _together(read(name, folder), TOGETHER.get(name, ()))}
    if not newest:
        return "Not measured yet.\n"
    newest = {key: row for key, row in newest.items() if key not in RENAMED.get(name, ())}
    shown = (*keys, *columns)
    lines = [f"| {' | '.join(shown)} |", f"|{'---|' * len(keys)}{'--:|' * len(columns)}"]
    lines += [f"| {' | '.join(row[column] for column in shown)} |" for row in newest.values()]
    commands = dict.fromkeys(row["command"].partition(" --")[0] for row in newest.values())
    return "\n".join([
        *lines,
        "",
        f"Command: {', '.join(f'`{c}`' for c in commands)}; all of it in `results/{name}.csv`.",
        "",
    ])


def _together(rows: list[dict[str, str]], keys: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows that are of the same commit as the newest of those that are alike in keys; all without keys."""
    if not keys:
        return rows
    last = {tuple(row[key] for key in keys): row["commit"] for row in rows}
    return [row for row in rows if row["commit"] == last[tuple(row[key] for key in keys)]]


def ablation_table(protocol: str, folder: Path) -> str:
    """Write what each change of a recipe gives, best first, with half the width of its interval."""
    rows = [row for row in read("ablations", folder) if row["protocol"] == protocol]
    if not rows:
        return "Not measured yet.\n"
    metrics = tuple(dict.fromkeys(row["metric"] for row in rows))
    newest = {(row["recipe"], row["metric"]): row for row in rows}
    changes = sorted(
        dict.fromkeys(row["recipe"] for row in rows), key=lambda change: -float(newest[change, metrics[0]]["value"])
    )

    def cell(change: str, metric: str) -> str:
        value, low, high = (float(newest[change, metric][name]) for name in ("value", "low", "high"))
        return f"{value:.4f} ± {(high - low) / 2:.4f}"

    lines = [f"| {protocol} | {' | '.join(metrics)} | seconds | commit |", f"|---|{'--:|' * (len(metrics) + 1)}---|"]
    for change in changes:
        cells, row = [cell(change, metric) for metric in metrics], newest[change, metrics[0]]
        lines.append(f"| {change} | {' | '.join(cells)} | {float(row['seconds']):.0f} | {row['commit'][:7]} |")
    return "\n".join([*lines, "", "One seed each, ± half the 95% interval over users.", ""])


def peers_table(protocol: str, folder: Path) -> str:
    """Write what each contender reached and took, the mean over its turns at its newest commit, best first."""
    rows = [row for row in read("peers_measured", folder) if row["protocol"] == protocol]
    if not rows:
        return "Not measured yet.\n"
    own = {
        name: [row for row in rows if row["contender"] == name] for name in dict.fromkeys(r["contender"] for r in rows)
    }
    latest = {name: [row for row in turns if row["commit"] == turns[-1]["commit"]] for name, turns in own.items()}
    shown = (("seconds", 0), ("fit_seconds", 1), ("examples_per_s", -3), ("peak_mb", 0))

    def cell(turns: Rows, column: str) -> str:
        values = [float(row[column]) for row in turns if row[column] and row["recall@100"]]
        if not values:
            return "–"
        if column in PEER_METRICS:
            return f"{statistics.fmean(values):.4f}"
        digits = dict(shown)[column]
        ends = [f"{round(value, digits):,.{max(0, digits)}f}" for value in (min(values), max(values)) if max(values)]
        return "–".join(dict.fromkeys(ends)) or "–"

    columns = (*PEER_METRICS, *(column for column, _ in shown))
    order = sorted(latest, key=lambda name: cell(latest[name], "recall@100").replace("–", "0"), reverse=True)
    lines = [f"| {protocol} | {' | '.join(columns)} | turns | |", f"|---|{'--:|' * (len(columns) + 1)}---|"]
    for name in order:
        turns = latest[name]
        notes = ", ".join(dict.fromkeys(row["note"] for row in turns if row["note"]))
        cells = [cell(turns, column) for column in columns]
        lines.append(f"| {turns[-1]['title']} | {' | '.join(cells)} | {len(turns)} | {notes} |")
    last = rows[-1]
    commits = ", ".join(dict.fromkeys(turns[-1]["commit"] for turns in latest.values()))
    return "\n".join([
        *lines,
        "",
        f"Command: `{last['command']}`. Machine: {last['machine']}, {last['threads']} threads. Commit: {commits}.",
        "",
    ])


PEER_METRICS = ("recall@100", "recall@20", "ndcg@10", "hit@10")
TOGETHER = {"requests": ("data", "videos", "encoder", "index")}
"""Parts of one measurement: those of an older one, which may have been other parts, are not shown beside them."""
RENAMED = {"startup": {("import towers.training",)}}
"""Lines of things that are measured under another name since."""
PLAIN = {
    "training": (
        ("protocol", "encoder", "dim", "device", "precision"),
        (
            *("positions_per_s", "overhead", "gflops", "share_of_ceiling", "share_of_sgemm", "share_of_bandwidth"),
            *("peak_mb", "threads", "machine", "commit"),
        ),
    ),
    "training_to_best": (
        ("protocol", "encoder", "dim", "device"),
        ("best_epoch", "epochs", "seconds_to_best", "seconds", "recall@100", "peak_mb", "threads"),
    ),
    "gpu_search": (
        ("vectors", "queries", "device"),
        ("launch_us", "call_us", "torch_us", "over_bytes", "over_float32", "over_floor", "recall", "proven"),
    ),
    "hotpath": (("videos", "dim", "index", "setting"), ("recall@100", "p50_us", "p99_us", "qps", "build_s")),
    "kept_places": (("protocol", "seed", "kept"), ("recall@100", "new videos: recall@100", "users of new videos")),
    "opening": (
        ("videos", "dim", "state", "processes", "process"),
        ("index_mb", "open_s", "first_ms", "later_us", "more_mb", "own_mb"),
    ),
    "neighbourhoods": (("like", "videos", "what"), ("served", "real", "made")),
    "exact": (
        ("what", "users", "videos", "dim", "round"),
        (
            *("p50_us", "p99_us", "users_per_s", "gigaops_int8", "gb_per_s", "limit_us", "share"),
            *("sgemm_gflops", "share_of_sgemm", "threads"),
        ),
    ),
    "filters": (
        ("videos", "filter", "share", "excluded"),
        (
            *("p50_us", "p99_us", "recall@100", "short", "unfiltered_p50_us", "unfiltered_recall", "anew_p50_us"),
            *("list_p50_us", "over_fetch_p50_us", "over_fetch_recall", "over_fetch_short", "times_faster"),
        ),
    ),
    "order": (("what",), ("cosine",)),
    "small_logs": (
        ("protocol", "one_in", "seed"),
        ("positives", "each", "recall@100", "best floor", "floor", "ahead", "low", "high"),
    ),
    "stores": (("store", "what"), ("p50_us", "p99_us", "per_second", "measured")),
    "serving": (
        ("bundle", "videos", "what", "connections"),
        ("per_second", "p50_ms", "p99_ms", "p999_ms", "bad", "events_per_second", "events_p99_ms"),
    ),
    "serving_fresh": (("bundle", "videos", "what"), ("p50_ms", "p99_ms", "max_ms", "times")),
    "soak": (
        ("bundle", "videos", "store", "minutes"),
        (
            *("capacity", "per_second", "reads", "events", "judged", "recall", "wrong", "lost", "kills", "versions"),
            *("p50_ms", "p99_ms", "unanswered", "longest_start_s", "longest_adoption_s", "last_mb", "mb_per_hour"),
        ),
    ),
    "parity": (
        ("protocol", "index", "exact", "state"),
        ("users", "events", "equal", "equal_up_to_ties", "recall@100", "score_apart"),
    ),
    "long_log": (("what", "users", "videos", "events"), ("seconds", "peak_mb")),
    "startup": (("what",), ("median_s", "peak_mb", "runs")),
    "engagement": (
        ("protocol", "seed", "model"),
        ("auc", "low auc", "high auc", "log_loss", "precision", "recall", "f1", "calibration_error", "exposures"),
    ),
    "churn": (("videos", "dim", "what"), ("p50_us", "p99_us", "longest_us", "above_5_ms", "measured", "value", "unit")),
    "demo": (("what",), ("seconds", "peak_mb", "threads", "cores")),
    "requests": (
        ("data", "videos", "encoder", "index", "users", "part"),
        ("p50_us", "p99_us", "share", "per_second", "over_raw"),
    ),
    "user_tower": (("encoder", "window", "users"), ("torch_us_a_user", "own_us_a_user", "times_faster", "apart")),
    "two_hosts": (("way",), ("recall@100", "figures_apart", "weights_apart", "seconds")),
    "evaluation": (("users", "videos", "dim"), ("ranked", "users_per_s", "hours_for_all", "threads", "peak_mb")),
}
"""Of each file of results that is shown as it is: what a line is of, and what it says."""
TABLES: dict[str, Callable[[Path], str]] = {
    **{f"quality-{protocol}": partial(quality_table, protocol, metrics) for protocol, metrics in HEADLINES.items()},
    "cold-kuairand": partial(quality_table, "kuairand", COLD),
    **{f"ablations-{protocol}": partial(ablation_table, protocol) for protocol in HEADLINES},
    **{f"peers-{protocol}": partial(peers_table, protocol) for protocol in ("kuairand", "ml-1m")},
    **{name: partial(plain_table, name, *columns) for name, columns in PLAIN.items()},
    "times-faster": ratio_table,
    "searches": search_table,
    "search-pictures": pictures,
}


def rewritten(text: str, folder: Path = RESULTS) -> str:
    """Return a page with each of its tables made anew from the rows.

    Args:
        text: The page.
        folder: Where the rows are.

    Raises:
        ValueError: The page asks for a table that does not exist.
    """

    def table(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in TABLES:
            raise ValueError(f"there is no table {name!r}; there are {', '.join(TABLES)}")
        return f"{found[1]}{TABLES[name](folder)}{found[4]}"

    return TABLE.sub(table, text)


def main(arguments: list[str]) -> int:
    """Write or check the tables of all pages; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a table is stale")
    check = parser.parse_args(arguments).check
    stale = [page for page in PAGES if rewritten(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")]
    if check:
        for page in stale:
            name = page.relative_to(CHECKOUT)
            print(f"{name}: a table is not what benchmarks/results says; run python -m benchmarks.report")
        return 1 if stale else 0
    for page in stale:
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"wrote the tables of {page.relative_to(CHECKOUT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
