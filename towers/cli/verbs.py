"""The verbs of `towers`: for each its configuration, its function and the words that explain it."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import cast


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One arrow of a view's life, as a command.

    Places are written `module:name` and imported when the verb is used, so that `towers` answers
    at once and `towers prepare` never loads torch.

    Attributes:
        name: What the user types.
        summary: What it does, in one line.
        story: What a newcomer should know before using it.
        config: Place of the dataclass of its options.
        function: Place of the function of that dataclass.
        show: Place of the function that prints what came of it, given the configuration and the result.
        groups: Places of the dicts whose entries the user can choose from.
        output: The option that says where results go, or an empty string.
        figures: Place of the function that names the figures of a result by which the jobs of a sweep are compared,
            the one to judge by first; higher is better. An empty string where there are none.
        examples: Command lines to copy; the first also stands in the overview.
    """

    name: str
    summary: str
    story: str
    config: str
    function: str
    show: str
    groups: tuple[str, ...] = ()
    output: str = ""
    figures: str = ""
    examples: tuple[str, ...]

    def run(self, config: object) -> object:
        """Do it, print what came of it, and return that."""
        function = cast("Callable[[object], object]", named(self.function))
        show = cast("Callable[[object, object], None]", named(self.show))
        gc.enable()  # all is imported, see command.main
        result = function(config)
        show(config, result)
        return result

    def judge(self, result: object) -> dict[str, float]:
        """Return the figures of a result; none where the verb has none."""
        return cast("Callable[[object], dict[str, float]]", named(self.figures))(result) if self.figures else {}


def named(place: str) -> object:
    """Import the thing that `module:name` names."""
    module, _, name = place.partition(":")
    found: object = getattr(import_module(module), name)
    return found


_ALL = (
    Verb(
        name="prepare",
        summary="turn raw logs of views into a dataset: cleaned, split in time, encoded",
        story="Reads events (and, if there are any, tables of users and videos), drops what cannot be used and says "
        "why, cuts the rest into train, valid and test, and writes a dataset folder. The same input gives the same "
        "bytes.",
        config="towers.data:PrepareConfig",
        function="towers.data:prepare",
        show="towers.cli.show:prepared",
        groups=("towers.data:SOURCES", "towers.data:CUTS"),
        output="dataset",
        examples=(
            "towers prepare data=kuairand dataset=runs/kuairand/dataset",
            "towers prepare data=files data.events=views.parquet dataset=runs/mine/dataset",
        ),
    ),
    Verb(
        name="train",
        summary="learn a user tower and a video tower from a dataset",
        story="Writes a run folder with the towers of the best epoch, chosen by a figure of the valid split "
        "(optim.steer), the curves and checkpoints. The same command again continues a run that was interrupted.",
        config="towers.training:TrainConfig",
        function="towers.training:train",
        show="towers.cli.show:trained",
        groups=("towers.losses:LOSSES", "towers.features:SAMPLERS", "towers.models:HISTORIES"),
        output="run",
        figures="towers.cli.show:figures_of_run",
        examples=(
            "towers train dataset=runs/kuairand/dataset run=runs/kuairand/run",
            "towers train dataset=runs/kuairand/dataset run=runs/seeds seed=0,1,2 -m",
            "towers train dataset=runs/kuairand/dataset run=runs/sweep sweep=recipe -m",
        ),
    ),
    Verb(
        name="evaluate",
        summary="say how good a run's towers are, beside the floors they have to beat",
        story="Ranks the whole catalogue exactly for every test user and writes report.json and report.html: metrics "
        "with intervals, slices, and the same for popularity, item-kNN, EASE and iALS.",
        config="towers.evaluation:EvaluateConfig",
        function="towers.evaluation:evaluate",
        show="towers.cli.show:evaluated",
        output="report",
        examples=(
            "towers evaluate run=runs/kuairand/run",
            "towers evaluate run=runs/kuairand/run lists=runs/kuairand/lists.parquet",
        ),
    ),
    Verb(
        name="publish",
        summary="make a run into a bundle: towers, vectors and index, proven to agree",
        story="Writes an immutable, checksummed version under the bundle folder and points to it only after the "
        "vectors, the exported towers and the index were seen to give the same scores.",
        config="towers.publishing:PublishConfig",
        function="towers.publishing:publish",
        show="towers.cli.show:published",
        groups=("towers.index:INDEXES",),
        output="bundle",
        examples=("towers publish run=runs/kuairand/run bundle=runs/kuairand/bundle",),
    ),
    Verb(
        name="recommend",
        summary="print the candidates of one user",
        story="Opens a bundle and asks it for the best videos that this user has not watched. A user the bundle does "
        "not know is served from features or from the history you give.",
        config="towers.cli.recommend:RecommendConfig",
        function="towers.cli.recommend:recommend",
        show="towers.cli.show:recommended",
        examples=(
            "towers recommend bundle=runs/kuairand/bundle user=0",
            "towers recommend bundle=runs/kuairand/bundle history=[36,1172] k=10",
        ),
    ),
    Verb(
        name="serve",
        summary="answer an app over HTTP: candidates, events, videos that come and go",
        story="Answers from a bundle and from what happened since, as told to POST /v1/events and PUT /v1/videos; what "
        "is acknowledged survives a crash. A version that is published while it runs is adopted between two "
        "requests. GET /openapi.json lists all requests. Needs pip install -c requirements.lock -e '.[serve]'.",
        config="towers.serving.http.server:ServeConfig",
        function="towers.serving.http.server:serve",
        show="towers.cli.show:served",
        groups=("towers.serving.store:STORES",),
        examples=(
            "towers serve bundle=runs/kuairand/bundle",
            "towers serve bundle=runs/kuairand/bundle host=0.0.0.0 keys=keys.json store=redis store.url=redis://db:6379",
        ),
    ),
    Verb(
        name="key",
        summary="make a key that an app shows to towers serve",
        story="Adds a key to a file, of which only a hash is kept there, and prints it once. One of the same name is "
        "replaced.",
        config="towers.serving.http.keys:KeyConfig",
        function="towers.serving.http.keys:add_key",
        show="towers.cli.show:key_made",
        examples=("towers key file=keys.json name=app", "towers key file=keys.json name=feed scopes=[read,write]"),
    ),
    Verb(
        name="demo",
        summary="do all of the above on the real log that ships with towers",
        story="Prepares KuaiRand-Pure's 14-day log, trains, evaluates, publishes and recommends, in a few minutes.",
        config="towers.cli.demo:DemoConfig",
        function="towers.cli.demo:demo",
        show="towers.cli.show:demonstrated",
        output="folder",
        examples=("towers demo", "towers demo folder=runs/first"),
    ),
)

VERBS: dict[str, Verb] = {verb.name: verb for verb in _ALL}
