"""Score: outputs become values and outcomes. Scoring anew never generates anew."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunelab.data.sample import Sample
from tunelab.engine.context import StepContext
from tunelab.errors import DataError
from tunelab.files import write_json, write_lines
from tunelab.scoring.aggregate import NO_GROUP, item_values, summarise
from tunelab.scoring.code.sandbox import Choice
from tunelab.scoring.judges.judge import Verdict
from tunelab.scoring.score import Outcome, Score, at_budget_end
from tunelab.study.steps.answers import REASON, read_answers
from tunelab.study.steps.judging import RATE, Judgement, add_rates, score_of_verdict, scores_of_each
from tunelab.study.steps.rows import read_samples
from tunelab.tasks.find import find_task
from tunelab.tasks.sandboxed import refuse_unsafe
from tunelab.tasks.scored import score_all
from tunelab.tasks.task import Task, groups_of, has_choices, is_judged, is_sensitive

SCORES = "scores.jsonl"


def run(context: StepContext) -> None:
    """Write ``scores.jsonl`` (values by id), ``results.json`` (all that a person reads) and ``summary.json``."""
    task = find_task(context.circumstance["task"], Path(context.circumstance["folder"]), sandbox_of(context))
    refuse_unsafe(task, sandbox_of(context))
    samples = {s.id: s for s in read_samples(context.inputs["rows"])}
    outputs = read_answers(context.inputs["outputs"])
    judgement = Judgement.of(context)
    decides = is_judged(task)
    asked = [samples[row["id"]] for row in outputs]

    def scored_at(i: int) -> Score:
        return score_output(task, asked[i], outputs[i], judgement.on(outputs[i]) if decides else None)

    scored = list(zip(asked, outputs, score_all(task, asked, scored_at), strict=True))
    write_lines(context.directory / SCORES, [score_row(*found) for found in scored])
    write_json(context.directory / "results.json", [result_row(*found) for found in scored])
    by_item: defaultdict[str, list[Score]] = defaultdict(list)
    for sample, _, score in scored:
        by_item[sample.id].append(score)
    clusters = {sample.id: cluster for sample in samples.values() if (cluster := cluster_of(sample)) is not None}
    groups = item_groups(task, samples.values())
    summary: dict[str, Any] = {"task": task.name, **summarise(by_item, task.metrics, clusters, groups)}
    summary["unanswered"] = len(samples) - len(by_item)
    if silent := sum(REASON in row for row in outputs):
        summary["no_reply"] = silent
    if decides:
        headline = task.metrics[0]
        rated = scores_of_each(
            judgement, headline.name, outputs, lambda row, v: score_output(task, samples[row["id"]], row, v)
        )
        add_rates(summary, rated, headline, clusters, groups)
    elif judgement.judges:
        rated = scores_of_each(judgement, RATE.name, outputs, score_of_verdict)
        add_rates(summary, rated, RATE, clusters, groups)
    if decides or judgement.judges:
        summary["no_verdicts"] = dict(judgement.missing)
    if has_choices(task):
        summary["majority"] = majority([samples[i] for i in item_values(by_item, task.metrics[0].name)])
    if is_sensitive(task):
        summary["sensitive"] = True
    summary["available"] = context.inputs["rows"].record.facts["receipt"]["available"]
    write_json(context.directory / "summary.json", summary)
    context.facts.update(summary)


def sandbox_of(context: StepContext) -> Choice:
    """Return how the code that a step runs is kept in: in bubblewrap, unless its study says otherwise."""
    return context.circumstance.get("sandbox", "bubblewrap")


def majority(samples: Sequence[Sample]) -> float | None:
    """Return the share of the most frequent target: what answering always the same would reach."""
    counts = Counter(sample.targets[0] for sample in samples)
    return max(counts.values()) / len(samples) if samples else None


def score_output(
    task: Task, sample: Sample, row: dict[str, Any], verdicts: Mapping[str, Verdict] | None = None
) -> Score:
    """Score one row of ``outputs.jsonl``; an answer that the token budget cut is ``truncated`` unless it is right.

    ``verdicts`` are those of a judged task, by judge. What was judged stays what it was judged to be when it was cut.

    A request that a server did not answer, and a sample on which the scorer fails, are ``unscored``. Raises DataError
    for a score that breaks the contract; the one by which a scorer refuses a gold answer passes through.
    """
    if REASON in row:
        return Score(Outcome.UNSCORED, explanation=f"no reply: {row[REASON]}")
    try:
        if verdicts and is_judged(task):
            score = task.judged_score(sample, row["output"], verdicts)
        else:
            score = task.score(sample, row["output"])
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - a scorer is anybody's code, and one sample must not end a cell
        return Score(Outcome.UNSCORED, explanation=f"{type(error).__name__}: {error}")
    _check_score(task, sample, score)
    return at_budget_end(score) if row.get("finish") == "length" and not verdicts else score


def _check_score(task: Task, sample: Sample, score: Any) -> None:
    """Refuse a score whose values are not the task's metrics: it would be averaged or left out unnoticed."""
    where = f"task {task.name}, sample {sample.id}"
    if not isinstance(score, Score):
        raise DataError(f"{where}: score() returned {score!r}, expected a Score")
    names = [metric.name for metric in task.metrics]
    if score.outcome is Outcome.UNSCORED:
        if score.values:
            raise DataError(f"{where}: got values for {', '.join(score.values)}, expected none for an unscored sample")
        return
    if names[0] not in score.values or not set(score.values) <= set(names):
        raise DataError(
            f"{where}: got values for {', '.join(score.values) or 'no metric'}, "
            f"expected a value for {names[0]!r}, and only for {', '.join(names)}"
        )
    for name, value in score.values.items():
        if not _finite(value):
            raise DataError(f"{where}: got {value!r} for {name!r}, expected a finite number")
    _check_parts(task, score, where)


def _check_parts(task: Task, score: Score, where: str) -> None:
    """Refuse parts that a corpus metric could not be made of, and a corpus metric without parts."""
    corpus = {metric.name for metric in task.metrics if metric.total is not None and metric.name in score.values}
    if set(score.parts) != corpus:
        raise DataError(
            f"{where}: got parts for {', '.join(score.parts) or 'no metric'}, expected parts for "
            f"{', '.join(sorted(corpus)) or 'none'}: for each value of a metric with a total, and for no other"
        )
    for name, parts in score.parts.items():
        if not parts or not all(map(_finite, parts)):
            raise DataError(f"{where}: got the parts {parts!r} of {name!r}, expected one finite number or more")


def _finite(number: Any) -> bool:
    return isinstance(number, int | float) and math.isfinite(number)


def cluster_of(sample: Sample) -> str | None:
    """Return what a sample shares with others, for those that say so in ``metadata["cluster"]``."""
    cluster = sample.metadata.get("cluster")
    return None if cluster is None else str(cluster)


def item_groups(task: Task, samples: Iterable[Sample]) -> dict[str, dict[str, str]]:
    """Return each sample's group by every ``groups`` of the task that any sample has in its metadata."""
    known = list(samples)
    found = {
        name: {s.id: group for s in known if (group := group_of(s.metadata, name)) != NO_GROUP}
        for name in groups_of(task)
    }
    return {name: of for name, of in found.items() if of}


def group_of(metadata: Mapping[str, Any], name: str) -> str:
    """Return the group of a sample with such metadata, ``NO_GROUP`` where it says nothing."""
    return str(metadata[name]) if metadata.get(name) not in (None, "") else NO_GROUP


def score_row(sample: Sample, row: dict[str, Any], score: Score) -> dict[str, Any]:
    """Return a row of ``scores.jsonl``; ``parts`` and ``cluster`` are there where there are any."""
    found: dict[str, Any] = {"id": row["id"], "sample": row["sample"], "outcome": score.outcome.value}
    found["values"] = dict(score.values)
    if score.parts:
        found["parts"] = {name: list(parts) for name, parts in score.parts.items()}
    cluster = cluster_of(sample)
    return found | ({} if cluster is None else {"cluster": cluster})


def result_row(sample: Sample, row: dict[str, Any], score: Score) -> dict[str, Any]:
    """Return a row of ``results.json``."""
    return {
        **score_row(sample, row, score),
        "answer": score.answer,
        "targets": list(sample.targets),
        "explanation": score.explanation,
        "prompt": row["prompt"],
        "output": row["output"],
        "finish": row["finish"],
        "output_tokens": row["output_tokens"],
        **({"logprobs": row["logprobs"]} if "logprobs" in row else {}),
        "metadata": dict(sample.metadata),
    }


def read_scores(rows: Sequence[dict[str, Any]]) -> dict[str, list[Score]]:
    """Rebuild scores by item from ``scores.jsonl``, draws in order."""
    by_item: defaultdict[str, list[Score]] = defaultdict(list)
    for row in rows:
        parts = {name: tuple(found) for name, found in row.get("parts", {}).items()}
        by_item[row["id"]].append(Score(Outcome(row["outcome"]), row["values"], parts=parts))
    return dict(by_item)
