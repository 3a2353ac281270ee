"""Tables of studies over several tasks: averages over the tree, what was mixed, and how learning rates were chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunelab.files import to_csv
from tunelab.report.evidence import Evidence
from tunelab.report.tabular import Table, to_markdown
from tunelab.report.wording import MARKS, interval, listing, number, p_value, signed, signed_range

Row = Mapping[str, Any]
AVERAGE = ("node", "tasks", "variant", "eval_format", "value", "low", "high", "difference", "difference_low",
           "difference_high", "p_value", "p_adjusted", "verdict", "missing")  # fmt: skip


def averages(evidence: Evidence) -> Table:
    """Every group of tasks under every variant: mean of its tasks, and the change against the baseline."""
    columns = ("group", "variant", "evaluated in", "mean", "95 %", "Δ", "95 % of Δ", "p (Holm)", "verdict", "tasks")
    rows: list[Sequence[Any]] = []
    for row in evidence.comparison["tree"]:
        if len(row["tasks"]) > 1:
            rows.append([" / ".join(row["node"]) or "all", row["variant"], row["eval_format"], *_average(row)])
    return Table(
        f"Averages over groups of tasks, {_weighing(evidence.comparison.get('task_weights', {}))}", columns, rows
    )


def _weighing(weights: Mapping[str, float]) -> str:
    """Say what each task counts for."""
    if not weights:
        return "every task counting the same"
    shares = [f"{task} {weight / sum(weights.values()):.1%}" for task, weight in weights.items()]
    return f"tasks counting {', '.join(shares)}"


def _average(row: Row) -> list[Any]:
    tasks = ", ".join(row["tasks"])
    if "value" not in row:
        return [*[None] * 5, f"{MARKS['missing']}: {', '.join(row['missing'])}", tasks]
    mean = [number(row["value"]), interval(row)]
    if "difference" not in row:
        return [*mean, *[None] * 3, "", tasks]
    span = signed_range({"low": row["difference_low"], "high": row["difference_high"]})
    return [*mean, signed(row["difference"]), span, p_value(row["p_adjusted"]), MARKS[row["verdict"]], tasks]


def averages_markdown(evidence: Evidence) -> str:
    """Return the averages over groups as a Markdown table; empty where there is no group."""
    table = averages(evidence)
    return f"\n{table.caption}:\n\n{to_markdown(table)}" if table.rows else ""


def averages_csv(tree: Sequence[Row]) -> str:
    """Return every group and task under every variant as CSV, with every digit of ``comparison.json``."""
    rows = [{name: row.get(name) for name in AVERAGE} | {"node": "/".join(row["node"])} for row in tree]
    return to_csv([{name: _flat(value) for name, value in row.items()} for row in rows])


def _flat(value: Any) -> Any:
    return " ".join(value) if isinstance(value, list) else value


def mixtures(evidence: Evidence) -> Table:
    """What each mixture drew from each source: the receipt, with the tokens that training saw."""
    columns = ("mixture", "used by", "task", "available", "rows", "unique", "repeats", "share", "tokens a pass", "note")
    trained = evidence.of("train")
    rows: list[Sequence[Any]] = []
    for name, artifact in evidence.of("mix").items():
        users = [v for v, a in trained.items() if a.record.inputs.get("rows") == artifact.record.fingerprint]
        tokens: Mapping[str, Any] = _receipt(trained[users[0]].record.facts).get("sources", {}) if users else {}
        for task, found in artifact.record.facts["receipt"]["sources"].items():
            counts = [found[key] for key in ("available", "rows", "unique", "repeats")]
            share = f"{found['share']:.1%}"
            seen = tokens.get(task, {}).get("tokens")
            rows.append([name, ", ".join(users), task, *counts, share, seen, found.get("warning", "")])
    return Table("Mixtures, by source", columns, rows)


def _receipt(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    return facts.get("receipt", {})


def searches(evidence: Evidence) -> Table:
    """Every candidate learning rate with its mean score on held-out rows."""
    columns = ("variant", "learning rate", "mean on held-out rows", "by task", "chosen")
    rows: list[Sequence[Any]] = []
    for name, artifact in evidence.of("train").items():
        search: Mapping[str, Any] = artifact.record.facts.get("search", {"by": None})
        if search["by"] != "lr":
            continue
        rates = [found["candidate"] for found in search["candidates"]]
        for found in search["candidates"]:
            by_task = ", ".join(f"{task} {number(score['value'])}" for task, score in found["scores"].items())
            chosen = "✓" if found["candidate"] == search["chosen"] else ""
            at_the_edge = chosen and search["chosen"] in (min(rates), max(rates))
            edge = " at the edge: a wider search may find better" if at_the_edge else ""
            rows.append([name, f"{found['candidate']:g}", number(found["mean"]), by_task, chosen + edge])
    return Table("Learning rates that were tried", columns, rows)


def _entries(evidence: Evidence) -> Mapping[str, Any]:
    return evidence.study["train"]


def protocol(evidence: Evidence) -> str:
    """Say whether learning rates were fixed or chosen, and on what; empty when nothing was trained."""
    declared = {n: e for n, e in _entries(evidence).items() if not e.get("from_checkpoint")}
    searched = [name for name, entry in declared.items() if entry["lr_search"]]
    if not declared:
        return ""
    if not searched:
        rates = sorted({entry["lr"] for entry in declared.values()})
        named = listing([f"{lr:g}" for lr in rates])
        return f"Learning rates were fixed beforehand ({named}); no variant had its own chosen."
    rows = sorted({declared[name]["lr_search"]["rows"] for name in searched})
    all_or_some = "Every variant" if len(searched) == len(declared) else f"{len(searched)} of {len(declared)} variants"
    return (
        f"{all_or_some} had a learning rate of its own, chosen on {listing([str(n) for n in rows])} rows of each task "
        "that were held out of the training split and that it did not train on."
    )
