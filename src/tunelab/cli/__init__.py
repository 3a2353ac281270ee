"""The command line: one file a verb."""

from tunelab.cli.app import main

__all__ = ["main"]
