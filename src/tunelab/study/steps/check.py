"""Check: evaluation rows that a model has seen, in training or as worked examples. Runs before either is used."""

from __future__ import annotations

from pathlib import Path

from tunelab.data.leaks import find_leaks
from tunelab.engine.context import StepContext
from tunelab.errors import DataError
from tunelab.files import write_json
from tunelab.study.steps.rows import read_samples
from tunelab.tasks.task import find_task, question_text


def run(context: StepContext) -> None:
    """Write ``leaks.json``; raise DataError for a row that repeats word for word when the policy is to refuse."""
    seen, evaluated = _texts(context, "seen_"), _texts(context, "evaluation_")
    leaks = find_leaks(seen, evaluated)
    exact = [leak for leak in leaks if leak.kind == "exact"]
    counts = {"rows_seen": len(seen), "evaluation_rows": len(evaluated), "exact": len(exact)}
    context.facts["leaks"] = counts | {"overlapping": len(leaks) - len(exact)}
    write_json(context.directory / "leaks.json", {**context.facts["leaks"], "rows": [leak.to_json() for leak in leaks]})
    if exact and context.settings["policy"] == "refuse":
        listed = ", ".join(f"{leak.evaluation_id} = {leak.train_id}" for leak in exact[:10])
        raise DataError(
            f"leak: {len(exact)} evaluation rows are among the training rows ({listed}); "
            "write data.leaks: drop to leave them out of training (another few_shots.seed for worked examples), "
            "or data.leaks: report to use them knowingly"
        )


def _texts(context: StepContext, prefix: str) -> list[tuple[str, str]]:
    """Id and question of every row of the inputs whose name begins with ``prefix``."""
    found: list[tuple[str, str]] = []
    for name, artifact in context.inputs.items():
        if name.startswith(prefix):
            task = find_task(context.circumstance["tasks"][name], Path(context.circumstance["folder"]))
            found += [(s.id, question_text(task.messages(s))) for s in read_samples(artifact)]
    return found
