"""How good towers are: exact ranking of the whole catalogue, beside the floors that a model has to beat."""

from towers.evaluation.config import EvaluateConfig, Judged
from towers.evaluation.evaluate import evaluate, folder_of
from towers.evaluation.evaluation_set import EvaluationSet
from towers.evaluation.exact import rank, validate
from towers.evaluation.floors import FLOORS
from towers.evaluation.report import Report

__all__ = ["FLOORS", "EvaluateConfig", "EvaluationSet", "Judged", "Report", "evaluate", "folder_of", "rank", "validate"]
