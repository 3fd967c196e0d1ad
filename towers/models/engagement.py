"""How likely a user is to like a video that is put before them: a head on the two towers' vectors."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor, nn
from torch.nn import functional

from towers.kinds import check_kinds
from towers.types import ConfigError, RunError, TowersError

WIDEST = 6.0
"""Standard deviations from the mean beyond which a number is taken to lie."""
ROWS_AT_ONCE = 16_384
STEPS, ENOUGH = 200, 1e-6
CURVED = {0, 2, 4, 8, 16, 32}
"""Steps at which the curve is measured anew; between them the last one serves, which saves most of the time."""


@dataclass(kw_only=True)
class EngagementConfig:
    """The engagement head: how likely a video that is shown is to be liked, learned from exposures."""

    fit: bool = False
    """Whether to fit it after the towers; needs a log that also holds what users were shown and passed over, with
    times. A finished run gets one when its command is given again with this, unless it was refitted afresh."""
    context: list[str] = field(default_factory=list)
    """Columns of the log, kept as labels, that were known when the video was shown, such as the place in the app;
    never what came of it."""
    epochs: int = 4
    """Passes over the train exposures, at most; as many are kept as are best on valid."""
    members: int = 8
    """Networks whose logits are averaged."""
    hidden: int = 32
    """Width of each network."""
    dropout: float = 0.1
    """Share of hidden units that a step leaves out."""
    learning_rate: float = 3e-3
    """Step size of AdamW, at its highest."""
    decay: float = 3e-4
    """Weight of the embeddings' squares in what is made small."""
    ridge: float = 300.0
    """Weight of the squares where valid exposures say what the towers' vectors add; higher trusts the vectors less."""
    exposures: int = 1_000_000
    """The newest of train, and of valid, to learn from, at most."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "engagement.")
        for name in ("epochs", "members", "hidden", "learning_rate", "ridge"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"engagement.{name} is {getattr(self, name)}; expected above 0")
        if self.exposures < 1000:
            raise ConfigError(f"engagement.exposures is {self.exposures}; expected at least 1000")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"engagement.dropout is {self.dropout}; expected from 0 to below 1")
        if not self.decay >= 0:
            raise ConfigError(f"engagement.decay is {self.decay}; expected at least 0")


@dataclass(frozen=True)
class Known:
    """What is known of exposures without the towers.

    Attributes:
        codes: Of users' and videos' features and of the circumstances, [n, c].
        numbers: Statistics of the past, finite, [n, m].
    """

    codes: Int64[Tensor, "n c"]
    numbers: Float32[Tensor, "n m"]

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, places: Int64[Tensor, " p"]) -> "Known":
        """Return the exposures at these places."""
        return Known(self.codes[places], self.numbers[places])


class Base(nn.Module):
    """Log odds of an exposure without the towers: a linear term and small networks side by side.

    Args:
        sizes: Number of codes of each column.
        numbers: How many statistics there are.
        config: Widths.

    Source:
        Cheng et al. 2016, Wide & Deep Learning for Recommender Systems, section 3.
    """

    def __init__(self, sizes: list[int], numbers: int, config: EngagementConfig) -> None:
        super().__init__()
        members, hidden = config.members, config.hidden
        self.members, self.hidden = members, hidden
        self.register_buffer("starts", torch.tensor([0, *sizes[:-1]]).cumsum(0), persistent=False)
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("spread", torch.ones(numbers))
        self.table = nn.Parameter(torch.randn(sum(sizes), members * hidden) * 0.05)
        self.first = nn.Linear(numbers, members * hidden)
        self.second = nn.Parameter(torch.randn(members, hidden, hidden) * hidden**-0.5)
        self.second_bias = nn.Parameter(torch.zeros(members, 1, hidden))
        self.last = nn.Parameter(torch.randn(members, hidden, 1) * hidden**-0.5)
        self.last_bias = nn.Parameter(torch.zeros(members, 1, 1))
        self.wide = nn.Linear(numbers, 1)
        self.wide_table = nn.Parameter(torch.zeros(sum(sizes), 1))
        self.dropout = nn.Dropout(config.dropout)

    def standardise(self, numbers: Float32[Tensor, "n m"], *, fit: bool = False) -> Float32[Tensor, "n m"]:
        """Return the statistics with mean 0 and spread 1, [n, m]; `fit` takes both from these."""
        mean, spread = self.get_buffer("mean"), self.get_buffer("spread")
        if fit:
            mean.copy_(numbers.mean(0))
            spread.copy_(numbers.std(0).clamp(min=1e-6))
        return ((numbers - mean) / spread).clamp(-WIDEST, WIDEST)

    def forward(self, known: Known) -> Float[Tensor, "k n"]:
        """Return each member's log odds, [members, n]."""
        numbers, codes = self.standardise(known.numbers), known.codes + self.get_buffer("starts")
        inner = functional.embedding_bag(codes, self.table, mode="sum") + self.first(numbers)
        inner = self.dropout(functional.gelu(inner)).view(len(numbers), self.members, self.hidden).transpose(0, 1)
        inner = self.dropout(functional.gelu(inner @ self.second + self.second_bias))
        wide = self.wide(numbers) + functional.embedding_bag(codes, self.wide_table, mode="sum")
        return (inner @ self.last + self.last_bias)[..., 0] + wide[:, 0]

    @property
    def weight(self) -> Float[Tensor, ""]:
        """Sum of the squares that decay holds down, for each member."""
        return self.table.square().sum() / self.members + self.wide_table.square().sum()


class EngagementHead(nn.Module):
    """Probability that an exposed video is liked, from the past's statistics and the two towers' vectors.

    The base is learned from train. What the towers add is learned from valid alone, which their vectors have not
    seen: on what they were trained with, they know the answers, and a head would trust them too much.

    Args:
        sizes: Number of codes of each column of :class:`Known`.
        circumstances: How many of the last columns are no features, but what was known of the moment.
        numbers: How many statistics there are.
        dim: Size of the towers' vectors.
        config: Widths.
    """

    def __init__(self, sizes: list[int], circumstances: int, numbers: int, dim: int, config: EngagementConfig) -> None:
        super().__init__()
        self.sizes, self.circumstances, self.dim, self.config = sizes, circumstances, dim, config
        self.base = Base(sizes, numbers, config)
        inputs = 1 + numbers + sum(sizes[len(sizes) - circumstances :]) + 1 + 2 * dim
        self.register_buffer("mean", torch.zeros(inputs, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(inputs, dtype=torch.float64))
        self.register_buffer("weights", torch.zeros(inputs + 1, dtype=torch.float64))

    @torch.inference_mode()
    def base_logits(self, known: Known) -> Float32[Tensor, " n"]:
        """Return the log odds without the towers, [n]."""
        was, _ = self.training, self.eval()
        out = [self.base(known.take(block)).mean(0) for block in _blocks(len(known))]
        self.train(was)
        return torch.cat(out) if out else torch.zeros(0)

    def inputs(
        self, known: Known, queries: Float32[Tensor, "n d"], vectors: Float32[Tensor, "n d"]
    ) -> Float64[Tensor, "n w"]:
        """Return what the last layer reads: base log odds, statistics, circumstances, the score and both vectors."""
        first = len(self.sizes) - self.circumstances
        moment = [functional.one_hot(known.codes[:, at], self.sizes[at]) for at in range(first, len(self.sizes))]
        base, numbers = self.base_logits(known)[:, None], self.base.standardise(known.numbers)
        score = (queries * vectors).sum(1, keepdim=True)
        return torch.cat([base, numbers, *moment, score, queries, vectors], dim=1).double()

    def fit_last(self, inputs: Float64[Tensor, "n w"], liked: Float64[Tensor, " n"]) -> None:
        """Learn the last layer from these exposures."""
        self.get_buffer("mean").copy_(inputs.mean(0))
        self.get_buffer("spread").copy_(inputs.std(0).clamp(min=1e-6))
        self.get_buffer("weights").copy_(logistic(self._standard(inputs), liked, self.config.ridge))

    def recentre(self, learned: Float64[Tensor, "n w"], served: Float64[Tensor, "n w"]) -> None:
        """Let the last layer read the vectors of other towers, which went on training from those it learned with.

        Args:
            learned: What it reads of some exposures with the towers it learned with, [n, w].
            served: What it reads of the same exposures with the other towers, [n, w].
        """
        self.get_buffer("mean").add_(served.mean(0) - learned.mean(0))

    def last(self, inputs: Float64[Tensor, "n w"]) -> Float64[Tensor, " n"]:
        """Return probabilities, [n]."""
        weights = self.get_buffer("weights")
        return torch.sigmoid(self._standard(inputs) @ weights[1:] + weights[0])

    def _standard(self, inputs: Float64[Tensor, "n w"]) -> Float64[Tensor, "n w"]:
        return ((inputs - self.get_buffer("mean")) / self.get_buffer("spread")).clamp(-WIDEST, WIDEST)

    def forward(
        self, known: Known, queries: Float32[np.ndarray, "n d"], vectors: Float32[np.ndarray, "n d"]
    ) -> Float64[np.ndarray, " n"]:
        """Return the probability that each exposed video is liked, [n].

        Args:
            known: What is known without the towers.
            queries: Users' vectors at the moment, [n, d].
            vectors: The videos', [n, d].

        Raises:
            TowersError: A probability is not finite.
        """
        out = np.empty(len(known))
        for block in _blocks(len(known)):
            at = block.numpy()
            inputs = self.inputs(known.take(block), torch.from_numpy(queries[at]), torch.from_numpy(vectors[at]))
            out[at] = self.last(inputs).numpy()
        if len(bad := np.flatnonzero(~np.isfinite(out))):
            raise TowersError(
                f"the probability of exposure {bad[0]} is not finite ({len(bad)} such); the vectors or the head's "
                "weights are bad"
            )
        return out


def _blocks(count: int) -> Iterator[Int64[Tensor, " b"]]:
    for start in range(0, count, ROWS_AT_ONCE):
        yield torch.arange(start, min(start + ROWS_AT_ONCE, count))


def logistic(inputs: Float64[Tensor, "n w"], liked: Float64[Tensor, " n"], ridge: float) -> Float64[Tensor, " w_1"]:
    """Return the bias and the weights of a logistic regression, the weights held small; by Newton's method.

    Args:
        inputs: Of like spread, [n, w].
        liked: 0 or 1, or between, [n].
        ridge: Half of it times the weights' squares is added to the summed log loss; the bias goes free.

    Raises:
        TowersError: An input is not finite.
        RunError: The weights do not come to rest.

    Example:
        >>> x = torch.tensor([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]], dtype=torch.float64)
        >>> liked = torch.tensor([0.0, 0.0, 1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
        >>> logistic(x, liked, ridge=1e-9).exp().round(decimals=4).tolist()  # odds of 1 to 2, and four times those
        [0.5, 4.0]
    """
    if not torch.isfinite(inputs).all():
        raise TowersError("an input of the engagement head is not finite; the towers' weights are bad, train again")
    design = torch.cat([torch.ones(len(inputs), 1, dtype=torch.float64), inputs], dim=1)
    penalty = torch.full((design.shape[1],), ridge, dtype=torch.float64)
    penalty[0] = 1e-9
    weights = torch.zeros(design.shape[1], dtype=torch.float64)
    factor = torch.empty(0)
    for step in range(STEPS):
        chance = torch.sigmoid(design @ weights)
        if step in CURVED:
            curve = (design * (chance * (1 - chance))[:, None]).T @ design + torch.diag(penalty)
            factor = torch.linalg.cholesky(curve)
        slope = design.T @ (chance - liked) + penalty * weights
        change = torch.cholesky_solve(slope[:, None], factor)[:, 0]
        weights -= change
        if float(change.abs().max()) < ENOUGH:
            return weights
    raise RunError(
        f"the engagement head's last layer moved by {float(change.abs().max()):.2g} in step {STEPS}, and should have "
        "stood still; raise engagement.ridge"
    )
