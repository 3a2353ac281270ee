"""The end of a study in the trackers that ``hardware.track`` names: one run called like the study.

Trainings report their curves there while they run (``tunelab.training.trackers``). When a study ends, its run gets
the table of variants and evaluations (value, interval, n, difference, verdict) and each number of it as a scalar. A
table that a tracker already has is not sent again; another one goes to the same run as its next step.
``results/<study>/tracked.json`` remembers both. A tracker that fails spoils no result: what it said is told.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunelab.files import known_sha256, read_json, write_json
from tunelab.study.exports import cell_rows
from tunelab.study.spec import Study
from tunelab.study.steps.files import COMPARISON

TRACKED = "tracked.json"
TABLE = "results"
COLUMNS = (
    *("variant", "evaluation", "task", "metric", "value", "low", "high", "n", "scored"),
    *("difference", "difference_low", "difference_high", "difference_verdict", "error"),
)
PROJECT = "huggingface"
"""Where the trainer's integrations put runs whose project nobody names."""


@dataclass(frozen=True)
class Ending:
    """What a tracker gets: the study, the table's rows under ``COLUMNS``, and how many tables it got before."""

    study: Study
    rows: Sequence[Mapping[str, Any]]
    step: int
    folder: Path
    """The study's folder under results."""
    run: str | None = None
    """The tracker's own name of the run that has the earlier tables."""

    @property
    def table(self) -> list[Any]:
        """The rows as lists."""
        return [[row[name] for name in COLUMNS] for row in self.rows]

    @property
    def scalars(self) -> dict[str, float]:
        """Every number of the table as ``variant/evaluation/column``."""
        return {
            f"{row['variant']}/{row['evaluation']}/{name}": value
            for row in self.rows
            for name in COLUMNS
            if isinstance(value := row[name], int | float)
        }

    @property
    def about(self) -> dict[str, Any]:
        """What the run's configuration says."""
        return {"study": self.study.study, "question": self.study.question, "smoke": self.study.smoke}


def track_results(study: Study, folder: Path) -> list[str]:
    """Send the comparison in a study's folder to its trackers; return a line for each that did not take it."""
    path, memory = folder / COMPARISON, folder / TRACKED
    if not study.hardware.track or not path.is_file():
        return []
    rows, sha256 = cell_rows(read_json(path)), known_sha256(path)
    tracked: dict[str, Any] = read_json(memory) if memory.is_file() else {}
    failed: list[str] = []
    for name in dict.fromkeys(study.hardware.track):
        before = tracked.get(name, {"run": None, "tables": []})
        if before["tables"][-1:] == [sha256]:
            continue
        ending = Ending(study, rows, len(before["tables"]), folder, before["run"])
        try:
            with redirect_stdout(sys.stderr):  # stdout belongs to the command's own output
                run = TRACKERS[name](ending)
        except Exception as error:  # noqa: BLE001 - a tracker is a service elsewhere; the results do not depend on it
            failed.append(
                f"hardware.track: {name} did not take the table: {' '.join(str(error).split())}; run it again"
            )
            continue
        tracked[name] = {"run": run, "tables": [*before["tables"], sha256]}
        write_json(memory, tracked)
    return failed


def _to_tensorboard(ending: Ending) -> None:
    """Write beside the links to the trainings' curves, or where ``TENSORBOARD_LOGGING_DIR`` says."""
    from torch.utils.tensorboard import SummaryWriter

    place = Path(os.environ.get("TENSORBOARD_LOGGING_DIR", ending.folder / "tensorboard"))
    with SummaryWriter(str(place / ending.study.study)) as writer:
        writer.add_text(TABLE, _markdown(ending.table), ending.step)
        for name, value in ending.scalars.items():
            writer.add_scalar(name, value, ending.step)


def _to_wandb(ending: Ending) -> str:
    """Log a table; return the run's id. ``WANDB_PROJECT`` and ``WANDB_MODE`` count, as in training."""
    import wandb

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    with wandb.init(
        project=project, name=ending.study.study, id=ending.run, resume="allow", config=ending.about
    ) as run:
        table = wandb.Table(columns=list(COLUMNS), data=ending.table, allow_mixed_types=True)
        run.log({TABLE: table, **ending.scalars}, step=ending.step)
        return run.id


def _to_trackio(ending: Ending) -> str:
    """Log a table; return the run's name."""
    import pandas
    import trackio

    name = ending.study.study
    trackio.init(project=PROJECT, name=name, resume="allow", config=ending.about, embed=False)
    table = trackio.Table(dataframe=pandas.DataFrame(ending.table, columns=list(COLUMNS)))
    trackio.log({TABLE: table, **ending.scalars}, step=ending.step)
    trackio.finish()
    return name


TRACKERS: Mapping[str, Callable[[Ending], str | None]] = {
    "tensorboard": _to_tensorboard,
    "wandb": _to_wandb,
    "trackio": _to_trackio,
}


def _markdown(table: Sequence[Sequence[Any]]) -> str:
    lines = [COLUMNS, ["---"] * len(COLUMNS), *table]
    return "\n".join(f"| {' | '.join(map(_field, line))} |" for line in lines)


def _field(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace("|", "\\|")
