"""Served models that their server does not list: it answered, but nobody knows which model did.

Some servers answer for any name, with whatever they have loaded; others serve what they do not list. So this is told
beside the results and fails nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunelab.engine.record import Record


def unlisted(records: Iterable[Record]) -> dict[str, str]:
    """Map each served model that its server did not list to what the server lists, the nearest names first."""
    found: dict[str, str] = {}
    for record in records:
        server = record.facts.get("server", {})
        probe = server.get("probe", {})
        if probe.get("listed") is False:
            names = ", ".join(map(repr, probe.get("nearest", ()))) or "other models"
            who = f"served model {server.get('model', record.slug)!r}"
            found[who] = f"not among the models that its server lists ({names}), so another one may have answered"
    return found
