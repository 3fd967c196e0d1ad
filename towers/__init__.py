"""Two towers for the retrieval stage of a short-video app: from logs of views to served candidates."""

__version__ = "0.1.0"
