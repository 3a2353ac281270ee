"""Check: evaluation rows that a model has seen, in training or as worked examples. Runs before either is used.

The same check finds worked examples among training rows, which nothing excuses.
"""

from __future__ import annotations

from collections import Counter

from tunelab.data.leaks import CERTAIN, CLUSTER, EXACT, NEAR, RUN, find_leaks
from tunelab.engine.context import StepContext
from tunelab.errors import DataError
from tunelab.files import write_json
from tunelab.study.steps.rows import questions_of

WORKED_EXAMPLES = "worked examples"


def run(context: StepContext) -> None:
    """Write ``leaks.json``; raise DataError for a repeat or a shared cluster when the policy is to refuse."""
    seen, evaluated = questions_of(context, "seen_"), questions_of(context, "evaluation_")
    leaks = find_leaks(seen, evaluated)
    certain, kinds = [leak for leak in leaks if leak.kind in CERTAIN], Counter(leak.kind for leak in leaks)
    counts = {"rows_seen": len(seen), "evaluation_rows": len(evaluated), "exact": kinds[EXACT]}
    suspected = {"near": kinds[NEAR], "overlapping": kinds[RUN]}
    context.facts["leaks"] = counts | {"same_cluster": kinds[CLUSTER], **suspected}
    write_json(context.directory / "leaks.json", {**context.facts["leaks"], "rows": [leak.to_json() for leak in leaks]})
    if certain and context.settings["policy"] == "refuse":
        listed = ", ".join(f"{leak.evaluation_id} = {leak.train_id}" for leak in certain[:10])
        if context.settings.get("of") == WORKED_EXAMPLES:
            raise DataError(
                f"leak: a worked example is among the training rows ({listed}), expected none: they are taken out "
                "before training; report this with the study"
            )
        translated = f", {kinds[CLUSTER]} of them as another row of the same cluster" if kinds[CLUSTER] else ""
        raise DataError(
            f"leak: {len(certain)} evaluation rows are among the training rows{translated} ({listed}); "
            "write data.leaks: drop to leave them out of training (for worked examples another few_shots.seed or "
            "few_shots.file), or data.leaks: report to use them knowingly"
        )
