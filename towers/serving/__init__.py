"""A bundle → candidates: ids in, ids out, no HTTP."""

from towers.serving.asking import Ask, Unknown
from towers.serving.candidates import Candidates, Way
from towers.serving.retriever import Retriever

__all__ = ["Ask", "Candidates", "Retriever", "Unknown", "Way"]
