"""Every error that tunelab raises on purpose, and the exit code that each one means.

    TunelabError                  something went wrong, exit 1
    ├── UserError                 the user's input must change, exit 2
    │   ├── StudyError            a study file, an override or a name in it
    │   ├── DataError             rows: missing, unreadable, empty, overlapping
    │   ├── FormatError           a prompt that cannot be rendered faithfully
    │   └── ModelError            a model that is not there or cannot be loaded
    ├── HubError                  the hub: not reachable, refuses a token, fails in the middle
    ├── TrackerError              a tracker (W&B, TensorBoard, Trackio) did not take a study's results
    ├── StoreError                the store: corrupt, newer than this version, disk full
    └── StepError                 a step ran and failed
        └── LeaseLost             another process took the step over

A message reads ``what: got <value>, expected <...>; do <...>``, on one line. The command line prints it
without a traceback. Errors that are not in this tree are bugs, and keep their traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class TunelabError(Exception):
    """Base of the tree; ``exit_code`` is what the command line returns."""

    exit_code = 1


class UserError(TunelabError):
    """The input must change before it can work."""

    exit_code = 2


class StudyError(UserError):
    """A study file, an override or a name in it is wrong."""


class DataError(UserError):
    """Rows are missing, unreadable, empty or overlapping."""


class FormatError(UserError):
    """A conversation cannot be rendered so that training and evaluation agree."""


class ModelError(UserError):
    """A model is not there or cannot be loaded."""


class HubError(TunelabError):
    """The hub cannot be reached, refuses a token or a name, or failed in the middle."""


class TrackerError(TunelabError):
    """A tracker did not take a study's results."""


class StoreError(TunelabError):
    """The store is corrupt, was made by a newer version, or cannot be written."""


class StepError(TunelabError):
    """A step ran and failed."""


class LeaseLost(StepError):
    """Another process took over a step that this one had stopped refreshing."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest valid name, or the list of valid names."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""


def counted(names: Sequence[str]) -> str:
    """Return how many names there are, with the first three: ``5 (a, b, c, …)``."""
    return f"{len(names)} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else "none"
