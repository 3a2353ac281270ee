"""Importing what a step runs, so that Python's garbage collector does not go through the libraries time and again.

Torch, transformers and their like are a million objects that live as long as the process. A full collection takes a
third of a second over them, and trainers, statistics and models that are given back ask for dozens.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any


def imported(entry: str) -> Callable[..., Any]:
    """Import and return ``module:function``. What the import has made is not looked at by later collections.

    What was garbage before is collected first, so that nothing but what lives on is set aside.
    """
    module, _, attribute = entry.partition(":")
    if module in sys.modules:
        return getattr(sys.modules[module], attribute)
    with _collected_once():
        return getattr(importlib.import_module(module), attribute)


@contextmanager
def _collected_once() -> Generator[None]:
    """Collect garbage before, none meanwhile, and never again what has been made until the end."""
    gc.collect()
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()
