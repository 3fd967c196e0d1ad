"""Losses: logits to one number. A loss takes logits, never a model."""

from towers.losses.bpr import Bpr
from towers.losses.contrastive import Contrastive
from towers.losses.gbce import Gbce
from towers.losses.loss import Loss
from towers.losses.scoring import CandidateSet, candidate_loss, corrected_logits
from towers.losses.softmax import Softmax

LOSSES: dict[str, type[Loss]] = {"softmax": Softmax, "bpr": Bpr, "gbce": Gbce, "contrastive": Contrastive}

__all__ = [
    "LOSSES",
    "Bpr",
    "CandidateSet",
    "Contrastive",
    "Gbce",
    "Loss",
    "Softmax",
    "candidate_loss",
    "corrected_logits",
]
