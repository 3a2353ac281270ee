"""What the page says of cells whose outputs are from files: where from, how rows were matched, and the other scorer.

Two scorers of one task drift apart unseen, until both have scored the same outputs. So each metric that a file brings
stands against each of ours, output by output.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tunelab.engine.record import Artifact
from tunelab.files import read_lines
from tunelab.report.evidence import Evidence
from tunelab.report.tabular import Table
from tunelab.report.wording import interval, number, short
from tunelab.stats import agreement
from tunelab.study.steps.answers import OUTPUTS
from tunelab.study.steps.import_outputs import THEIRS
from tunelab.study.steps.score import SCORES

NAMED = 3
EQUAL = 1e-9
Values = dict[str, float]


def sources(evidence: Evidence) -> Table:
    """A row for each imported cell: its file and what is known of the prompts."""
    columns = ("cell", "file", "sha256", "layout", "rows", "matched by", "match no row asked", "without an output",
               "prompt", "format contract")  # fmt: skip
    rows: list[list[Any]] = []
    for name, artifact in evidence.of("import").items():
        found: Mapping[str, Any] = artifact.record.facts["imported"]
        outputs = artifact.record.facts["outputs"]
        ways = ", ".join(f"{way} ({count:,})" for way, count in found["matched"].items())
        prompt = f"as recorded, of {found['prompts']:,} of {outputs:,} outputs" if found["prompts"] else "not known"
        file = [found["file"], short(artifact.record.settings["file"]["sha256"]), found["layout"], found["rows"]]
        gaps = [_gap(found["unmatched"]), _gap(found["missing"])]
        rows.append([name, *file, ways, *gaps, prompt, "not checked"])
    return Table("Outputs that another program wrote", columns, rows)


def _gap(found: Mapping[str, Any]) -> str | int:
    return f"{found['count']:,}: {', '.join(found['first'])}" if found["count"] else 0


def other_scorers(evidence: Evidence) -> Table:
    """A row for each metric of a file and ours of its name, or each of ours where none is called so."""
    columns = ("cell", "their metric", "our metric", "items", "theirs", "ours", "say the same", "95 %",
               "Cohen's kappa", "only theirs higher", "only ours higher", "like")  # fmt: skip
    scores = evidence.of("score")
    rows = [
        [name, *row]
        for name, artifact in evidence.of("import").items()
        if name in scores
        for row in _pairs(artifact, scores[name])
    ]
    return Table("Two scorers on the same items", columns, rows)


def _pairs(imported: Artifact, score: Artifact) -> Iterator[list[Any]]:
    outputs, scores = read_lines(imported.path(OUTPUTS)), read_lines(score.path(SCORES))
    names = dict.fromkeys(metric for row in scores for metric in row["values"])
    for theirs in imported.record.facts["imported"]["metrics"]:
        given = _means((row["id"], row.get(THEIRS, {}).get(theirs)) for row in outputs)
        same = theirs.partition(",")[0]
        for ours in [same] if same in names else names:
            made = _means((row["id"], row["values"].get(ours)) for row in scores)
            if given.keys() & made.keys():
                yield [theirs, ours, *_compared(given, made)]


def _means(values: Iterable[tuple[str, float | None]]) -> Values:
    """Return each item's mean over its draws, which one value of the other program may be of."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for item, value in values:
        if value is not None:
            found[item].append(value)
    return {item: sum(several) / len(several) for item, several in found.items()}


def _compared(given: Values, made: Values) -> list[Any]:
    both = sorted(given.keys() & made.keys())
    one, other = [given[key] for key in both], [made[key] for key in both]
    higher = [[key for key in both if sign * (given[key] - made[key]) > EQUAL] for sign in (1, -1)]
    found = agreement([*map(_rounded, one)], [*map(_rounded, other)])
    span = interval({"low": found.share.low, "high": found.share.high})
    kappa = number(found.kappa) if found.kappa is not None else found.reason
    named = ", ".join(sorted(higher[0] + higher[1])[:NAMED])
    means = [number(sum(side) / len(side)) for side in (one, other)]
    return [len(both), *means, number(found.share.value), span, kappa, len(higher[0]), len(higher[1]), named or "none"]


def _rounded(value: float) -> float:
    """Two scorers may add the same numbers in another order."""
    return round(value, 9)
