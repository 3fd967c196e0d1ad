"""Searches a space of options with Optuna, as a plugin of Hydra: `towers train -m hydra/sweeper=optuna …`.

hydra-optuna-sweeper, which does the same, asks for an Optuna before 3, whose storage breaks with SQLAlchemy 2.1.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from towers.lazy import worded
from towers.types import ConfigError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "sweep.journal"
"""What Optuna remembers, in the sweep's folder: a killed sweep goes on with the trial that it was in."""
PLACE = "hydra_plugins.towers"


@dataclass
class OptunaConfig:
    """Options of the search, under `hydra.sweeper`."""

    _target_: str = f"{PLACE}.OptunaSweeper"
    params: dict[str, str] = field(default_factory=dict)
    """The space: option → choice(a,b), range(1,9), interval(0.1,0.5) or tag(log,interval(1e-4,1e-2))."""
    n_trials: int = 20
    """Jobs in all, those of an earlier call on the same folder included."""
    seed: int = 0
    """Seed of what is tried; trial n follows from it and from what the trials before n came to."""
    weigh_seconds: bool = True
    """Whether to look for what is quick for how good it is as well; else only for what is good."""


class OptunaSweeper(Sweeper):
    """Runs one job after the other, each with the options that Optuna proposes after those before it.

    The space is what stands in `hydra.sweeper.params` and what the command line sweeps over; the first
    figure of a job is made large, its seconds small. Trial n runs in folder n. Called again, it goes
    through the trials there are, which finished runs answer at once, and on from there.
    """

    __module__ = PLACE

    def __init__(self, params: Mapping[str, str], n_trials: int, seed: int, weigh_seconds: bool) -> None:
        self.params, self.n_trials, self.seed, self.weigh_seconds = params, n_trials, seed, weigh_seconds
        self.folder = Path()
        self.launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives to a sweeper."""
        self.hydra_context, self.config, self.folder = hydra_context, config, Path(config.hydra.sweep.dir)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials.

        Args:
            arguments: What the user typed, but for Hydra's own options.

        Raises:
            ConfigError: Optuna is not installed, there is no space, or the folder holds a search of another one.
        """
        fixed, space = self._parted(arguments)
        study = self._study(space)
        for number in range(self.n_trials):
            trial = self._trial(study, number, space)
            if trial is None:
                continue
            told = [f"{name}={_text(value)}" for name, value in trial.params.items()]
            (job,) = self.launcher.launch([[*fixed, *told]], initial_job_idx=number)
            if study.trials[number].state.is_finished():
                continue
            if job.return_value:
                figures: dict[str, float] = job.return_value
                study.tell(number, [next(iter(figures.values())), figures["seconds"]][: len(study.directions)])
            else:
                from optuna.trial import TrialState

                study.tell(number, state=TrialState.FAIL)

    def _parted(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, "BaseDistribution"]]:
        """Return the options that are the same for all, and the space of the others."""
        words = [f"{name}={value}" for name, value in self.params.items()]
        overrides = OverridesParser.create().parse_overrides([*words, *arguments])
        by_name = {override.get_key_element(): override for override in overrides}
        fixed = [
            f"{name}={override.get_value_element_as_str()}"
            for name, override in by_name.items()
            if not override.is_sweep_override()
        ]
        space = {name: _distribution(override) for name, override in by_name.items() if override.is_sweep_override()}
        if not space:
            raise ConfigError("there is nothing to search; name a space, as in sweep=recipe or model.dim=choice(32,64)")
        return fixed, space

    def _study(self, space: dict[str, "BaseDistribution"]) -> "Study":
        import optuna
        from optuna.storages.journal import JournalFileBackend, JournalStorage

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            study_name="sweep",
            storage=JournalStorage(JournalFileBackend(str(self.folder / JOURNAL))),
            directions=["maximize", "minimize"] if self.weigh_seconds else ["maximize"],
            load_if_exists=True,
        )
        words = {name: repr(distribution) for name, distribution in space.items()}
        before = study.user_attrs.setdefault("space", words)
        if before != words:
            name = next(name for name in before | words if before.get(name) != words.get(name))
            was, now = (of.get(name, "not searched") for of in (before, words))
            raise ConfigError(
                f"{self.folder} holds a search of another space: {name} was {was} and is now {now}; choose another "
                "run=FOLDER, or delete that one"
            )
        study.set_user_attr("space", words)
        return study

    def _trial(self, study: "Study", number: int, space: dict[str, "BaseDistribution"]) -> "Trial | FrozenTrial | None":
        """Return the trial of a number, made now or before; None for one that has failed."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        if number < len(study.trials):
            earlier = study.trials[number]
            if earlier.state is TrialState.RUNNING and earlier.params.keys() != space.keys():
                study.tell(number, state=TrialState.FAIL)  # killed while it was made
            return earlier if study.trials[number].state is not TrialState.FAIL else None
        study.sampler = TPESampler(seed=self.seed * 10_007 + number)
        return study.ask(space)


def register() -> None:
    """Tell Hydra of the search: `hydra/sweeper=optuna`.

    Hydra takes plugins only from the package hydra_plugins, by import. This makes one there, in memory: a plugin
    on disk would be looked for and loaded by every program on the machine that uses Hydra.
    """
    for name in PLACE.partition(".")[0], PLACE:
        sys.modules.setdefault(name, ModuleType(name))
    sys.modules[PLACE].OptunaSweeper = OptunaSweeper  # type: ignore[attr-defined]
    Plugins.instance().register(OptunaSweeper)
    ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=OptunaConfig, provider="towers")


def _distribution(override: Override) -> "BaseDistribution":
    """Return what Optuna calls the values of a sweep."""
    try:
        from optuna import distributions
    except ModuleNotFoundError as error:
        raise worded("hydra/sweeper=optuna", error) from error
    value = override.value()
    if isinstance(value, IntervalSweep):
        kind: Any = distributions.IntDistribution if _whole(value.start, value.end) else distributions.FloatDistribution
        return cast("BaseDistribution", kind(value.start, value.end, log="log" in value.tags))
    if isinstance(value, RangeSweep) and not value.shuffle and _whole(value.start, value.stop, value.step):
        steps = list(value.range())
        return distributions.IntDistribution(steps[0], steps[-1], step=int(value.step))
    return distributions.CategoricalDistribution(list(override.sweep_string_iterator()))


def _whole(*numbers: object) -> bool:
    return all(isinstance(number, int) for number in numbers)


def _text(value: Any) -> str:  # noqa: ANN401 - text or a number, as Optuna has it
    return f"{value:.6g}" if isinstance(value, float) else str(value)
