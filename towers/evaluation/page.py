"""The report as one page that opens anywhere: no network, no files beside it."""

import itertools
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from towers.data import Dataset
from towers.evaluation import plots
from towers.evaluation.config import EvaluateConfig
from towers.evaluation.evaluation_set import EvaluationSet
from towers.evaluation.report import Report, cell, value_of
from towers.evaluation.showcase import Example, Showcase, Video, examples, training_curve
from towers.metrics import CUTOFFS
from towers.types import Hits

GROUPS = {
    "history length": "How many videos the user had watched before",
    "events before": "How many events of any kind the user had before",
    "video popularity": "How often the video to be found had been watched before",
    "new videos": "Videos that nobody had watched before",
    "new users": "Users without a past",
    "weekday (UTC)": "Day of the week (UTC)",
}


def write_page(
    showcase: Showcase, folder: Path, dataset: Dataset, people: tuple[EvaluationSet, Hits, EvaluateConfig]
) -> None:
    """Write report.html.

    Args:
        showcase: Figures and what the pictures are drawn from.
        folder: Where the page goes.
        dataset: For the videos' features.
        people: The users, the towers' lists for them, and how many to show.
    """
    users, lists, config = people
    shown = examples(dataset, users, lists, showcase.popularity, config.examples, config.seed)
    text = render(showcase, shown)
    partial = folder / ".report.html.partial"
    partial.write_text(text, encoding="utf-8")
    partial.replace(folder / "report.html")


def render(showcase: Showcase, people: list[Example]) -> str:
    """Return the page as text."""
    report = showcase.report
    template = Template(resources.files("towers.evaluation").joinpath("page.html").read_text(encoding="utf-8"))
    users = int(value_of(report.metrics, "users"))
    return template.substitute(
        title=escape(f"Towers on {report.protocol}"),
        subtitle=escape(
            f"Every one of {report.setting['candidates']:,} videos ranked for {users:,} users with a past, on the "
            f"{report.setting['split']} split; what a user had watched before is left out."
        ),
        verdict=escape(report.verdict),
        numbers=_numbers(report),
        table=_main_table(report),
        left_out=escape(" ".join(f"Not measured: {name} ({why})." for name, why in report.left_out.items())),
        cold=_cold(report),
        curves=plots.recall_curves(report.curves, "towers"),
        best_floor=escape(report.best_floor),
        slices=_slices(report),
        scatter=plots.popularity_scatter(showcase.popularity, showcase.shown, users),
        engagement=_engagement(report),
        training=_training(showcase),
        people_note=escape(
            f"{len(people)} users drawn at random, not picked. A green line was both among the first 100 the towers "
            "would show and then watched. “Seen” counts everybody's views before the split."
        ),
        people="".join(map(_person, people)),
        all_figures=_all_figures(report),
        setting="".join(
            f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(str(value))}</dd>"
            for name, value in report.setting.items()
        ),
    )


def _numbers(report: Report) -> str:
    told = [
        (f"{value_of(report.metrics, 'recall@100'):.1%}", "of what users then watched is among the first 100 shown"),
        (f"{value_of(report.metrics, 'hit@10'):.1%}", "of users find something among the first 10"),
        (f"{value_of(report.metrics, 'coverage@100'):.1%}", "of all videos are shown to somebody"),
    ]
    return "".join(f"<li><b>{value}</b> {escape(what)}</li>" for value, what in told)


def _engagement(report: Report) -> str:
    """Return the engagement head's part of the page, nothing where the run has none."""
    told = report.engagement
    if told is None:
        return ""
    picture = plots.calibration(told["calibration"], next(iter(told["figures"])))
    threshold, gain = told["threshold"], told["auc gain"]
    words = (
        f"Of {told['exposures']:,} videos shown to {told['users']:,} users, {told['liked']:.1%} were liked: became "
        "positives. The head says of each how likely that is, knowing what came before; from a probability of "
        f"{threshold:.3f} on it counts as said, which had the best F1 on valid. Its AUC less that of the rates alone: "
        f"{gain['value']:+.4f} (95% interval {gain['low']:+.4f} to {gain['high']:+.4f})."
    )
    caption = (
        "Exposures in 15 groups of equal size, from the least likely on: how likely they were said to be liked, and "
        "what share was. On the dotted line, probabilities can be taken at their word. Thin lines are 95% intervals."
    )
    return (
        f"<h2>Which of the videos shown get liked</h2><p>{escape(words)}</p>"
        f"<div class=scroll>{_table(*report.engagement_rows())}</div>"
        f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _main_table(report: Report) -> str:
    return _table(*report.rows())


def _table(header: list[str], lines: list[list[str]]) -> str:
    """Return a table whose first line is ours."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        f"<tr{' class=ours' if place == 0 else ''}>{''.join(f'<td>{_dim(text)}</td>' for text in line)}</tr>"
        for place, line in enumerate(lines)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _dim(text: str) -> str:
    """Return a table cell with its half-width in a lighter hand."""
    value, sign, width = text.partition(" ±")
    return f"{escape(value)} <small>±{escape(width)}</small>" if sign else escape(text)


def _cold(report: Report) -> str:
    told = []
    everybody = {"the towers": report.metrics, report.best_floor: report.floors[report.best_floor]}
    for what, count in (("cold users", "cold users"), ("cold videos", "cold videos: users")):
        name = f"{what}: recall@100"
        if name not in report.metrics:
            continue
        figures = ", ".join(f"{who} {value_of(found, name):.3f}" for who, found in everybody.items() if name in found)
        number = int(value_of(report.metrics, count))
        who = (
            "users without a past" if what == "cold users" else "users with a past who watched a video new to everybody"
        )
        told.append(f"{number:,} {who}, recall@100 over these: {figures}.")
    if "cold videos: auc" in report.metrics:
        share, recalled, new = (
            value_of(report.metrics, name)
            for name in ("cold videos: auc", "cold videos alone: recall@100", "cold videos: in all")
        )
        told.append(
            f"Among the {new:,.0f} new videos alone, the towers put those watched above {share:.0%} of the others "
            f"(chance: 50%), and {recalled:.0%} of them into the first hundred (chance: {min(1, 100 / new):.0%})."
        )
    return f"<p>{escape(' '.join(told))}</p>" if told else ""


def _slices(report: Report) -> str:
    parts = []
    for group, lines in itertools.groupby(report.slices, key=lambda line: line["group"]):
        picture = plots.slice_bars(list(lines), report.best_floor)
        parts.append(f"<h3>{escape(GROUPS.get(group, group))}</h3><figure>{picture}</figure>")
    return "".join(parts)


def _training(showcase: Showcase) -> str:
    epochs = training_curve(showcase.training)
    best = showcase.info.get("best_epoch")
    if not plots.drawable(epochs) or best == 0:  # nothing was trained
        return ""
    picture = plots.training_lines(epochs, best)
    told = f"The dotted line is epoch {best}, the one that was kept: best on valid." if best is not None else ""
    return f"<h2>How training went</h2><figure>{picture}<figcaption>{escape(told)}</figcaption></figure>"


def _person(person: Example) -> str:
    title = f"User {person.name}: {person.found} of {person.to_find} found among 100"
    columns = [
        (f"Watched before (newest of {person.past:,})", "ul", person.watched),
        ("What we would show, best first", "ol", person.offered),
        (f"What they then watched ({person.to_find:,})", "ul", person.then),
    ]
    lists = "".join(
        f"<div><h4>{escape(head)}</h4><{kind} class=videos>{''.join(map(_video, videos))}</{kind}></div>"
        for head, kind, videos in columns
    )
    return f"<div class=person><h3>{escape(title)}</h3><div class=lists>{lists}</div></div>"


def _video(video: Video) -> str:
    facts = " · ".join([*video.facts, f"seen {video.before:,}×"])
    mark = " class=hit" if video.hit else ""
    place = f" ✓ shown at place {video.place}" if video.place else " ✓" if video.hit else ""
    return f"<li{mark}>video {escape(video.name)}{place}<small>{escape(facts)}</small></li>"


def _all_figures(report: Report) -> str:
    """Return every metric at every k: the towers, and under them the best floor."""
    metrics, floor = report.metrics, report.floors[report.best_floor]
    names = dict.fromkeys(name.split("@")[0] for name in metrics if "@" in name and ":" not in name)
    head = "".join(f"<th>@{k}</th>" for k in CUTOFFS)
    body = ""
    for name in names:
        cells = "".join(
            f"<td>{escape(cell(metrics, f'{name}@{k}', width=False))}"
            f"<br><small>{escape(cell(floor, f'{name}@{k}', width=False))}</small></td>"
            for k in CUTOFFS
        )
        body += f"<tr><td>{escape(name)}</td>{cells}</tr>"
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
