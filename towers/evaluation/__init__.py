"""How good towers are: exact ranking of the whole catalogue, beside the floors that a model has to beat."""

from towers.evaluation.evaluation_set import EvaluationSet
from towers.evaluation.rank import rank, validate

__all__ = ["EvaluationSet", "rank", "validate"]
