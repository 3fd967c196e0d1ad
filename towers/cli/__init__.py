"""The console command `towers`: composes a configuration and calls one function."""

from towers.cli.command import main

__all__ = ["main"]
