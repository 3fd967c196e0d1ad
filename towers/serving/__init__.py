"""A bundle → candidates: ids in, ids out, no HTTP."""

from towers.serving.candidates import Candidates, Way
from towers.serving.retriever import Retriever, Unknown

__all__ = ["Candidates", "Retriever", "Unknown", "Way"]
