"""The one way to print a line for people: no text of it, whoever wrote it, can act on the terminal."""

from __future__ import annotations

import sys

from tunelab.visible import visible


def say(text: object) -> None:
    """Print a line on standard output."""
    print(visible(str(text)), flush=True)


def warn(text: object) -> None:
    """Print a line on standard error."""
    print(visible(str(text)), file=sys.stderr)
