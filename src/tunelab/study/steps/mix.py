"""Mix: the prepared rows of several tasks become one set of training rows, with a receipt by source."""

from __future__ import annotations

from tunelab.data.mixtures import mix
from tunelab.engine.context import StepContext
from tunelab.files import write_json
from tunelab.study.steps.rows import read_samples, write_samples


def run(context: StepContext) -> None:
    """Write ``rows.jsonl`` and ``receipt.json``. Inputs are named by task."""
    rows, sources = mix({name: read_samples(a) for name, a in context.inputs.items()}, context.settings)
    receipt = {"available": sum(s["available"] for s in sources.values()), "rows": len(rows), "sources": sources}
    write_samples(context.directory, rows)
    write_json(context.directory / "receipt.json", receipt)
    context.facts["receipt"] = receipt
