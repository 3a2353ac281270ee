"""Trackers that the trainer also reports to: W&B, TensorBoard, Trackio."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

TENSORBOARD = "tensorboard"
"""Where TensorBoard's files lie in the step of a training."""


@contextmanager
def trackers(names: tuple[str, ...], directory: Path) -> Generator[None]:
    """Keep TensorBoard's files with the step, and give every training a W&B run of its own.

    W&B and Trackio write where they always do; a process trains several variants, and W&B would log them as one.
    """
    place = "TENSORBOARD_LOGGING_DIR"
    ours = "tensorboard" in names and place not in os.environ
    if ours:
        os.environ[place] = str(directory / TENSORBOARD)
    try:
        yield
    finally:
        if ours:
            del os.environ[place]
        if "wandb" in names:
            import wandb

            wandb.finish()
