"""Check: evaluation rows that a model has seen, in training or as worked examples. Runs before either is used.

The same check finds worked examples among training rows, which nothing excuses.
"""

from __future__ import annotations

from tunelab.data.leaks import find_leaks
from tunelab.engine.context import StepContext
from tunelab.errors import DataError
from tunelab.files import write_json
from tunelab.study.steps.rows import questions_of

WORKED_EXAMPLES = "worked examples"


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
        if context.settings.get("of") == WORKED_EXAMPLES:
            raise DataError(
                f"leak: a worked example is among the training rows ({listed}), expected none: they are taken out "
                "before training; report this with the study"
            )
        raise DataError(
            f"leak: {len(exact)} evaluation rows are among the training rows ({listed}); "
            "write data.leaks: drop to leave them out of training (for worked examples another few_shots.seed or "
            "few_shots.file), or data.leaks: report to use them knowingly"
        )
