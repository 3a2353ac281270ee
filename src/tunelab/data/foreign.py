"""Outputs that another program wrote, row by row: lm-evaluation-harness's logged samples, or plain rows.

lm-evaluation-harness (0.4) logs a row a document and filter: ``doc_id``, ``doc``, ``target``, ``arguments``, ``resps``,
``filtered_resps`` and each metric by its name. Where it scores choices, a response is a log-likelihood and not a text:
the likeliest continuation is what was chosen. Plain rows have ``id`` and ``output``, and may have ``prompt``,
``sample`` (the draw), ``finish`` and ``metrics``. What a row does not say is None.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from tunelab.data.readers import read_outputs
from tunelab.errors import DataError

Layout = Literal["lm-eval", "plain"]
Row = Mapping[str, Any]
LOGGED = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics",
          "doc_hash", "prompt_hash", "target_hash"}  # fmt: skip
"""Fields of a logged sample that are no metric."""


@dataclass(frozen=True)
class Foreign:
    """One row: what it answers, as far as it says, and the outputs, one a draw."""

    where: str
    outputs: tuple[str, ...]
    chosen: bool = False
    """Whether the output is the likeliest of given continuations."""
    id: str | None = None
    index: int | None = None
    doc: Mapping[str, Any] | None = None
    target: str | None = None
    prompt: str | None = None
    first_draw: int = 0
    finish: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    """What the other program's own metrics say, by ``metric,filter``."""


def read_foreign(path: Path) -> tuple[Layout, list[Foreign]]:
    """Read a file's rows. Raises DataError that names the row for one that is of neither layout."""
    rows = read_outputs(path)
    logged = "resps" in rows[0] and "doc_id" in rows[0]
    read = _logged if logged else _plain
    return "lm-eval" if logged else "plain", [read(row, f"row {i}", path) for i, row in enumerate(rows, 1)]


def _plain(row: Row, where: str, path: Path) -> Foreign:
    if not isinstance(row.get("output"), str) or row.get("id") is None:
        raise DataError(
            f"{path}, {where}: got the fields {', '.join(sorted(row))}, expected id and output (a string), or "
            "lm-evaluation-harness's logged samples with doc_id and resps"
        )
    sample, metrics = row.get("sample", 0), row.get("metrics") or {}
    if not isinstance(sample, int) or sample < 0 or not isinstance(metrics, Mapping):
        raise DataError(f"{path}, {where}: got sample {sample!r}, expected the number of a draw, 0 or more")
    return Foreign(
        where,
        (row["output"],),
        id=str(row["id"]),
        prompt=_text(row.get("prompt")),
        first_draw=sample,
        finish=row.get("finish"),
        metrics=_numbers(cast(Row, metrics), ""),
    )


def _logged(row: Row, where: str, path: Path) -> Foreign:
    requests, resps = _requests(row.get("arguments")), row.get("resps")
    if not isinstance(resps, list) or not resps or not all(isinstance(r, list) and r for r in cast(list[Any], resps)):
        raise DataError(f"{path}, {where}: got resps {resps!r}, expected a list of responses a request")
    responses = cast(list[list[Any]], resps)
    chosen = not isinstance(responses[0][0], str)
    doc, target = row.get("doc"), row.get("target")
    return Foreign(
        where,
        (_likeliest(responses, requests, f"{path}, {where}"),) if chosen else tuple(map(str, responses[0])),
        chosen=chosen,
        index=row["doc_id"] if isinstance(row.get("doc_id"), int) else None,
        doc=cast(Row, doc) if isinstance(doc, Mapping) else None,
        target=None if target is None else str(target),
        prompt=_text(requests[0][0]) if requests and requests[0] else None,
        metrics=_numbers({k: v for k, v in row.items() if k not in LOGGED}, row.get("filter") or ""),
    )


def _requests(arguments: Any) -> list[list[Any]]:
    """The arguments of each request: lists, or mappings of ``gen_args_0`` to ``arg_0`` as newer versions log them."""
    found: Any = list(cast(Row, arguments).values()) if isinstance(arguments, Mapping) else arguments
    listed: Sequence[Any] = cast(list[Any], found) if isinstance(found, list) else []
    return [list(cast(Row, one).values()) if isinstance(one, Mapping) else cast(list[Any], one) for one in listed]


def _likeliest(responses: Sequence[Sequence[Any]], requests: Sequence[Sequence[Any]], where: str) -> str:
    """Return the continuation with the greatest log-likelihood; the first of equals, as the harness does."""
    try:
        likelihoods = [float(response[0][0]) for response in responses]
        return str(requests[max(range(len(likelihoods)), key=likelihoods.__getitem__)][1]).strip()
    except (IndexError, TypeError, ValueError):
        raise DataError(f"{where}: got responses that are neither texts nor log-likelihoods of continuations") from None


def _numbers(values: Row, name: str) -> dict[str, float]:
    """Keep what is one number an item; the parts of corpus metrics are none, and a NaN says nothing."""
    numbers = {k: float(v) for k, v in values.items() if isinstance(v, int | float) and math.isfinite(v)}
    return {f"{metric},{name}" if name else metric: value for metric, value in numbers.items()}


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
