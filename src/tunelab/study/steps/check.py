"""Check: evaluation rows that are among the training rows. Runs before any training starts."""

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
    texts: dict[str, list[tuple[str, str]]] = {}
    for name, artifact in context.inputs.items():
        task = find_task(context.circumstance["tasks"][name], Path(context.circumstance["folder"]))
        texts[name] = [(s.id, question_text(task.messages(s))) for s in read_samples(artifact)]
    train = texts.pop("train")
    leaks = [leak for rows in texts.values() for leak in find_leaks(train, rows)]
    exact = [leak for leak in leaks if leak.kind == "exact"]
    if exact and context.settings["policy"] == "refuse":
        listed = ", ".join(f"{leak.evaluation_id} = {leak.train_id}" for leak in exact[:10])
        raise DataError(
            f"leak: {len(exact)} evaluation rows are among the training rows ({listed}); "
            "write data.leaks: drop to leave them out of training, or report to train on them knowingly"
        )
    summary = {"train_rows": len(train), "evaluation_rows": sum(map(len, texts.values())), "exact": len(exact)}
    context.facts["leaks"] = summary | {"overlapping": len(leaks) - len(exact)}
    write_json(context.directory / "leaks.json", {**context.facts["leaks"], "rows": [leak.to_json() for leak in leaks]})
