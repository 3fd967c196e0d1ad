"""Other packages on the same train events, each in an environment of its own: `python -m benchmarks.peers`."""
