"""Vectors → Hits: exact search, approximate search, and the choice between them."""

from towers.index.top_k import top_k

__all__ = ["top_k"]
