"""What a training run can be told."""

from dataclasses import dataclass, field
from enum import Enum

from towers.features.sampler import Sampler
from towers.features.samplers import Mixed
from towers.kinds import check_folders, check_kinds
from towers.losses.loss import Loss
from towers.losses.softmax import Softmax
from towers.models import ModelConfig, PopularityTerm
from towers.models.engagement import EngagementConfig
from towers.types import ConfigError, Geometry


class Accelerator(Enum):
    """Where to compute."""

    auto = "auto"
    """A GPU if there is one, else the CPU."""
    cpu = "cpu"
    """The CPU."""
    gpu = "gpu"
    """A CUDA GPU; an error where there is none."""


class Products(Enum):
    """In what the products of training are taken; weights and sums stay in float32."""

    auto = "auto"
    """bfloat16 where the machine is faster by it, else float32."""
    float32 = "float32"
    """32 bits throughout."""
    bfloat16 = "bfloat16"
    """16 bits for products and logits: faster on GPUs, on processors with AMX, and on an EPYC with avx512_bf16."""


class Strategy(Enum):
    """How several processes share a training."""

    auto = "auto"
    """One process where devices is 1, else ddp."""
    ddp = "ddp"
    """Each process has all weights and takes its part of every batch; their gradients are averaged."""
    rows = "rows"
    """As ddp, but of the tables of ids each keeps a part of the rows: for a table that one device cannot hold."""


class Schedule(Enum):
    """How the step size goes over a stage."""

    constant = "constant"
    """The same throughout."""
    cosine = "cosine"
    """Rises over the first steps, then falls along a half cosine to nothing at the last epoch allowed."""


class Tables(Enum):
    """How embedding tables move."""

    auto = "auto"
    """Row by row where a table is large, else in one pass with everything else."""
    dense = "dense"
    """Every row in every step."""
    sparse = "sparse"
    """Only the rows that a step has touched."""


MOST_SEED = 2**32 - 1
"""The highest that numpy's generator takes."""
FIGURES = ("recall@100", "recall@20", "ndcg@10", "hit@10")
"""What is measured on valid after every epoch."""


@dataclass(kw_only=True)
class OptimConfig:
    """How the weights move."""

    learning_rate: float = 3e-3
    """Step size of AdamW, at its highest."""
    find: bool = False
    """Whether to look for the learning rate first: 200 steps with a rising one, drawn in learning_rate.png.
    Recommendation: once, for a log of a new kind. Source: Smith 2017, Cyclical learning rates, section 3.3."""
    schedule: Schedule = Schedule.cosine
    """How the step size goes: constant or cosine. Recommendation: cosine; constant where the end is not known, as when
    each day's log is learned on top. Source: Loshchilov and Hutter 2017, SGDR, section 3, without restarts."""
    warm_up: int = 50
    """Steps over which the step size rises under cosine, at most a tenth of all. Recommendation: more for transformers
    that diverge at first. Source: Vaswani et al. 2017, Attention is all you need, section 5.3."""
    weight_decay: float = 0.0
    """Decoupled weight decay of AdamW. Source: Loshchilov and Hutter 2019, Decoupled weight decay regularization."""
    epochs: int = 0
    """Passes over the training events, at most; 0 lets training choose by their number."""
    steer: str = "recall@100"
    """Figure of valid that chooses the epoch: recall@100, recall@20, ndcg@10 or hit@10."""
    patience: int = 3
    """Epochs without a better figure of valid before training stops."""
    positions: int = 1024
    """Targets of one batch, padding included."""
    accumulate: int = 1
    """Batches that make one step: their gradients are averaged, their memory is that of one. Recommendation: 1, and
    more only where a batch of the wanted size does not fit: each batch has candidates of its own."""
    clip: float = 1.0
    """Largest norm of a step's gradient; a longer one is shortened. 0 leaves it. Recommendation: 1. Source: Pascanu et
    al. 2013, On the difficulty of training recurrent neural networks, section 3.2."""
    tables: Tables = Tables.auto
    """Which rows of an embedding table a step moves: auto, dense or sparse. Recommendation: auto, which takes sparse
    above some 20,000 rows. Source: torch.optim.SparseAdam, moments of untouched rows standing still."""
    average: float = 0.0
    """Decay of the running mean of the weights that is validated and kept in their place, as .999; 0 keeps the
    weights themselves. Recommendation: 0, under a cosine it gained nothing: recall@100 .414 (.415 without) on KuaiRand,
    .669 (.670) on MovieLens, .351 (.354) on Gowalla. Source: Polyak and Juditsky 1992; Kingma and Ba 2015, 7.2."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "optim.")
        for name in ("learning_rate", "patience", "positions", "accumulate", "warm_up"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"optim.{name} is {getattr(self, name)}; expected above 0")
        for name in ("weight_decay", "clip", "epochs"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"optim.{name} is {getattr(self, name)}; expected at least 0")
        if self.steer not in FIGURES:
            raise ConfigError(f"optim.steer is {self.steer!r}; expected {', '.join(FIGURES[:-1])} or {FIGURES[-1]}")
        if not 0 <= self.average < 1:
            raise ConfigError(f"optim.average is {self.average}; expected from 0 to below 1, as .999")


@dataclass(kw_only=True)
class TrainerConfig:
    """Over how many processes a training goes; the batch and what is learned from it stay the same."""

    devices: int = 1
    """Processes on this machine, one to a device; under torchrun its own number holds."""
    strategy: Strategy = Strategy.auto
    """How they share the work: auto, ddp or rows."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "trainer.")
        if self.devices < 1:
            raise ConfigError(f"trainer.devices is {self.devices}; expected at least 1")

    @property
    def several(self) -> bool:
        """Whether processes are to be started."""
        return self.devices > 1 or self.strategy is not Strategy.auto


@dataclass(kw_only=True)
class TrainConfig:
    """Train the towers of a dataset."""

    dataset: str
    """Folder that `towers prepare` wrote."""
    run: str
    """Folder to write; an unfinished run in it goes on where it stopped."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Shape of the towers."""
    loss: Loss = field(default_factory=Softmax)
    """What is made small."""
    sampler: Sampler = field(default_factory=Mixed)
    """Which videos a step is scored against."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """How the weights move."""
    closed_form: bool = False
    """Whether nothing is trained: videos lie where the leading singular vectors of who watched what put them, a user is
    the mean of what they watched and leans on popularity as all do. Takes seconds, and on KuaiRand finds more than
    other packages' two towers after eight to ten seconds of training (recall@100 .339 and .325; ours when trained
    .442).
    Features are not read, so new videos are all alike and come late; loss, sampler, optim and the weights of events are
    of no account. For a first look, and for what has to be there at once."""
    refit_epochs: int = 2
    """Further epochs on train and valid together, from the epoch that valid chose, so that the newest events
    count too; 0 leaves them out."""
    refit_afresh: bool = False
    """Whether the refit begins anew and takes as many epochs as valid chose, instead of refit_epochs from there:
    twice the time, no number to guess, and better where events have no order or old ones count like new ones."""
    half_life_days: float | None = None
    """Days after which a training event counts half of what the newest of its batch counts; 0 lets all count the same.
    null lets training choose: half of the days that train's events with a time span where valid comes later, else 0.
    Source: as of :func:`towers.features.aged`."""
    passed_weight: float = 1.0
    """How many others a video counts for among the candidates of a user who was shown it and passed it over; above 0.
    Only a video that is among the candidates counts: see passed_each. Recommendation: 1, as they weigh anyway; on
    KuaiRand 10 with passed_each=4 is no better (recall@100 .411, .419 without, ± .008; dim 64, one seed), perhaps since
    what was shown had been chosen to be liked. Source: Huang et al. 2020, Embedding-based Retrieval in Facebook Search,
    on negatives."""
    passed_each: int = 0
    """Videos, the latest, that each user of a batch was shown and passed over and that are among its candidates for
    certain; 0 leaves it to the sampler."""
    engagement: EngagementConfig = field(default_factory=EngagementConfig)
    """A head that says how likely a video that is shown is to be liked."""
    shuffle: bool = False
    """Whether every epoch puts each user's events in another order: for logs whose order means nothing."""
    seed: int = 0
    """Seed of everything that is drawn."""
    accelerator: Accelerator = Accelerator.auto
    """Where to compute: auto, cpu or gpu."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Over how many processes."""
    precision: Products = Products.auto
    """In what the products of training are taken: auto, float32 or bfloat16. Recommendation: auto, which takes bfloat16
    on GPUs and on processors where it is the faster. Source: Kalamkar et al. 2019, A study of BFLOAT16."""
    threads: int = 0
    """CPU threads of a process; 0 leaves it to torch, and to several processes an equal part of the cores."""
    progress: bool = True
    """Whether to show a progress bar, or a line per epoch where there is no terminal."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self)
        check_folders(self, "dataset", "run")
        for name in ("refit_epochs", "seed", "threads", "passed_each"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 0")
        if self.seed > MOST_SEED:
            raise ConfigError(f"seed is {self.seed}; expected at most {MOST_SEED}")
        if self.half_life_days is not None and not self.half_life_days >= 0:
            raise ConfigError(f"half_life_days is {self.half_life_days}; expected above 0, or 0 for no ageing")
        if self.shuffle and self.model.popularity is PopularityTerm.recent:
            raise ConfigError(
                "model.popularity is recent and shuffle is true, which leaves events no times; set "
                "model.popularity=total, or shuffle=false"
            )
        self._check_stages()
        if not self.passed_weight > 0:
            raise ConfigError(f"passed_weight is {self.passed_weight}; expected above 0, and 1 for no difference")
        if self.passed_weight != 1 and not self.loss.corrected:
            raise ConfigError(
                f"passed_weight is {self.passed_weight}; expected 1, since this loss is no sum over candidates; "
                "take loss=softmax"
            )
        for name, wanted in (("geometry", Geometry.cosine), ("popularity", PopularityTerm.none)):
            value = getattr(self.model, name)
            if not self.loss.tempered and not self.closed_form and value not in {wanted, PopularityTerm.auto}:
                raise ConfigError(
                    f"model.{name} is {value.name}; expected {wanted.name}, since this loss is about cosines"
                )

    def _check_stages(self) -> None:
        if self.refit_afresh and not self.refit_epochs:
            raise ConfigError(
                "refit_epochs is 0, no refit, and refit_afresh asks for one; set refit_afresh=false too, or "
                "refit_epochs above 0"
            )
        if self.refit_afresh and self.engagement.fit:
            raise ConfigError(
                "refit_afresh and engagement.fit are both true; expected one of them: the head is learned with towers "
                "that have not seen valid, and can read those of a refit only when it went on from there"
            )
        if self.closed_form:
            self._check_closed_form()

    def _check_closed_form(self) -> None:
        """Refuse what means nothing where nothing is trained, instead of passing it over."""
        model = self.model
        wanted: dict[str, tuple[object, object]] = {
            "engagement.fit": (self.engagement.fit, False),
            "half_life_days": (self.half_life_days or 0, 0),
            "model.id_buckets": (model.id_buckets, 0),
            "model.interests": (model.interests, 1),
            "model.spectral": (model.spectral, True),
            "model.user_id": (model.user_id, False),
            "optim.epochs": (self.optim.epochs, 0),
            "optim.find": (self.optim.find, False),
            "passed_each": (self.passed_each, 0),
            "passed_weight": (self.passed_weight, 1.0),
            "shuffle": (self.shuffle, False),
        }
        for name, (value, expected) in wanted.items():
            if value != expected:
                value, expected = (str(each).lower() for each in (value, expected))
                raise ConfigError(
                    f"{name} is {value} and closed_form is true, which trains nothing; set {name}={expected}, or "
                    "closed_form=false"
                )
