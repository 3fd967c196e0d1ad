"""How much popularity counts when vectors are made: settled on valid, once the towers are trained."""

import logging
from collections.abc import Callable
from dataclasses import replace

from towers.models import TwoTower
from towers.training.config import TrainConfig
from towers.training.precision import on_gpu
from towers.training.ranks import Ranks

_log = logging.getLogger(__name__)
LADDER = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""What is tried, from 1 on in the direction that gains, for as long as it does."""
Figures = dict[str, float]


def with_strength(
    towers: TwoTower, config: TrainConfig, validate: Callable[[TwoTower], Figures], ranks: Ranks
) -> Figures:
    """Settle how much popularity counts where that is open; return the figures of valid with it, or none."""
    if config.closed_form or not config.model.leans or config.model.popularity_strength is not None:
        return {}
    towers.to("cuda" if on_gpu(config) else "cpu")  # a trainer leaves them in the machine's memory
    figures, line = settle_strength(towers, validate, config.optim.steer)
    towers.cpu()
    if ranks.first:
        _log.info("chosen: %s", line)
    return figures


def settle_strength(towers: TwoTower, validate: Callable[[TwoTower], Figures], figure: str) -> tuple[Figures, str]:
    """Give towers the strength of their term for popularity by which a figure of valid is best.

    In training the term is told apart from what a user likes by candidates that are drawn, and corrected for the draw;
    among all videos it may then weigh too little for valid: 1.4 to 2.8 times as much is best on KuaiRand, 1.5 on
    Gowalla.

    Args:
        towers: Trained towers with such a term; their `config` is replaced.
        validate: Towers → figures of the valid split.
        figure: Which of them decides.

    Returns:
        The figures at that strength, and a line that says what was chosen and why.

    Source:
        What is multiplied when vectors are made: Zhang et al. 2021, Causal Intervention for Leveraging Popularity Bias
        in Recommendation; that valid says by how much is ours. Between 1 and the best the figure is taken to rise.
    """
    first = LADDER.index(1.0)
    found = {first: _at(towers, LADDER[first], validate)}
    best = first
    for step in (1, -1):
        while best == first or (best - first) * step > 0:
            place = best + step
            if not 0 <= place < len(LADDER):
                break
            found[place] = _at(towers, LADDER[place], validate)
            if found[place][figure] <= found[best][figure]:
                break
            best = place
    towers.config = replace(towers.config, popularity_strength=LADDER[best])
    why = f"valid {figure} is {found[best][figure]:.4f}"
    why += f", {found[first][figure]:.4f} at 1" if best != first else ", and no higher above or below"
    return found[best], f"model.popularity_strength={LADDER[best]:g}: {why}"


def _at(towers: TwoTower, strength: float, validate: Callable[[TwoTower], Figures]) -> Figures:
    towers.config = replace(towers.config, popularity_strength=strength)
    return validate(towers)
