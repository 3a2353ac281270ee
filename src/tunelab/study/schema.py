"""The JSON Schema of study files, for editors.

A file is looser than a validated study: what ``recipe`` or ``evaluation`` gives need not stand in every entry,
and an entry may have a ``matrix``. Both sections are described by the entries that they feed.
"""

from __future__ import annotations

from typing import Any

from tunelab.study.spec import Study

MATRIX = {
    "type": "object",
    "description": "Multiplies the entry: {field: [values]}.",
    "additionalProperties": {"type": "array"},
}


def study_schema() -> dict[str, Any]:
    """Return the schema as plain JSON."""
    schema = Study.model_json_schema()
    for entry, shared in (("Train", "recipe"), ("Evaluate", "evaluation")):
        definition = schema["$defs"][entry]
        definition.pop("required", None)
        definition["properties"]["matrix"] = MATRIX
        schema["properties"][shared] = {
            "$ref": f"#/$defs/{entry}",
            "description": schema["properties"][shared]["description"],
        }
    return schema
