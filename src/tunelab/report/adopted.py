"""What the page says of variants that were not trained as the study asks: adopted ones, and fallbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunelab.report.evidence import Evidence
from tunelab.report.tabular import Table


def adopted(evidence: Evidence) -> Table:
    """Where adopted weights came from, what they are, and what in them contradicts the study."""
    rows: list[list[Any]] = []
    for name, artifact in evidence.of("adopt").items():
        found: Mapping[str, Any] = artifact.record.facts["adopted"]
        place = found["from"] if found["revision"] is None else f"{found['location']} at {found['revision']}"
        weights = "over a base in 4 bit" if "qlora" in artifact.record.settings["recipe"] else ""
        holds = " ".join([f"an {found['holds']}" if found["holds"] == "adapter" else "a whole model", weights]).strip()
        rows.append([name, place, holds, "; ".join(found["warnings"]) or "none", "unknown", "not checked"])
    columns = ("variant", "adopted from", "holds", "contradictions", "training rows", "leaks")
    return Table("Variants that were adopted, not trained", columns, rows)
