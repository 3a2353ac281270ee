"""A cell's verdicts for its scores: the first judge's make the headline, and each judge has a rate of its own.

A judge whose verdicts are missing has no rate. Where it is the first one no output is scored: another judge in its
place would be another metric under the same name. A task that scores its outputs itself keeps its headline, and judges
have their rates beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunelab.engine.context import StepContext
from tunelab.files import read_lines
from tunelab.scoring.aggregate import Clusters, Groups, Scores, by_group, interval
from tunelab.scoring.judges.judge import JUDGED, Verdict, by_judge
from tunelab.scoring.score import Metric, Outcome, Score
from tunelab.study.closing_plan import VERDICTS_OF
from tunelab.study.judges_plan import VERDICTS

Row = dict[str, Any]
RATE = Metric(JUDGED)


def score_of_verdict(row: Row, verdicts: Mapping[str, Verdict]) -> Score:
    """Return what one judge's verdict is worth; nothing where there is none."""
    [verdict] = verdicts.values()
    if verdict.value is None:
        return Score(Outcome.UNSCORED, explanation=verdict.reason)
    return Score(Outcome.CORRECT if verdict.value == 1 else Outcome.WRONG, {JUDGED: verdict.value})


def read_verdicts(rows: Sequence[Row]) -> dict[tuple[str, int], Verdict]:
    """Rebuild verdicts by id and draw from ``verdicts.jsonl``."""
    return {(r["id"], r["sample"]): Verdict(r["value"], tuple(r["replies"]), r["reason"]) for r in rows}


@dataclass(frozen=True)
class Judgement:
    """The verdicts of a cell's judges on its outputs."""

    judges: Sequence[str]
    """All that were asked for, the first one first."""
    found: Mapping[str, Mapping[tuple[str, int], Verdict]]
    """Of each judge that has verdicts: by id and draw."""
    missing: Mapping[str, str]
    """Why each of the others has none."""

    @staticmethod
    def of(context: StepContext) -> Judgement:
        """Read a score step's inputs and holes."""
        judges = [judge["name"] for judge in context.settings.get("judges", [])]
        inputs = {
            name: context.inputs[f"{VERDICTS_OF}{name}"] for name in judges if f"{VERDICTS_OF}{name}" in context.inputs
        }
        found = {name: read_verdicts(read_lines(artifact.path(VERDICTS))) for name, artifact in inputs.items()}
        missing = {name: context.holes[f"{VERDICTS_OF}{name}"] or "was not run" for name in judges if name not in found}
        return Judgement(judges, found, missing)

    def on(self, row: Row) -> dict[str, Verdict]:
        """Return the verdicts on an output by judge, in order; the first judge's is always among them."""
        verdicts = {name: self.of_judge(name, row) for name in self.judges if name in self.found}
        if self.judges and self.judges[0] in self.missing:
            first = self.judges[0]
            return {first: Verdict(None, (), f"no verdicts of {first}: {self.missing[first]}"), **verdicts}
        return verdicts

    def of_judge(self, name: str, row: Row) -> Verdict:
        """Return a judge's verdict on an output."""
        return self.found[name].get((row["id"], row["sample"]), Verdict(None, (), "not judged"))


def scores_of_each(
    judgement: Judgement,
    headline: str,
    outputs: Sequence[Row],
    score: Callable[[Row, Mapping[str, Verdict]], Score],
) -> dict[str, dict[str, list[Score]]]:
    """Return the scores by item that each judge would give alone, by the name of its rate; none of a missing one."""
    found: dict[str, dict[str, list[Score]]] = {}
    for judge in judgement.judges:
        scores: defaultdict[str, list[Score]] = defaultdict(list)
        for row in outputs if judge in judgement.found else []:
            scores[row["id"]].append(score(row, {judge: judgement.of_judge(judge, row)}))
        found[by_judge(headline, judge)] = dict(scores)
    return found


def add_rates(
    summary: dict[str, Any], rated: Mapping[str, Scores], headline: Metric, clusters: Clusters, groups: Groups
) -> None:
    """Add each judge's rate to a summary, with its interval: over all items, and within every group of them."""
    for name, scores in rated.items():
        summary["metrics"][name] = interval(scores, headline, clusters)
        for by, parts in by_group(scores, [headline], clusters, groups).items():
            for value, part in parts.items():
                summary["groups"][by][value]["metrics"][name] = part["metrics"][headline.name]
