"""Check: evaluation rows that a model has seen, in training or as worked examples. Runs before either is used."""

from __future__ import annotations

from tunelab.data.leaks import find_leaks
from tunelab.engine.context import StepContext
from tunelab.errors import DataError
from tunelab.files import write_json
from tunelab.study.steps.rows import questions_of


def run(context: StepContext) -> None:
    """Write ``leaks.json``; raise DataError for a row that repeats word for word when the policy is to refuse."""
    seen, evaluated = questions_of(context, "seen_"), questions_of(context, "evaluation_")
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
