"""A bundle → candidates: ids in, ids out, no HTTP."""

from towers.serving.retriever import Candidates, Retriever, Unknown, Way

__all__ = ["Candidates", "Retriever", "Unknown", "Way"]
