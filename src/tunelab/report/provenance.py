"""The page's tables about where results come from: data, leaks, examples, versions, fingerprints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunelab.engine.record import Artifact
from tunelab.files import read_json
from tunelab.report.cells import OUTCOMES
from tunelab.report.evidence import Evidence
from tunelab.report.tabular import Table
from tunelab.report.wording import listing, short

LEAKS_LISTED = 20
TEXT_LIMIT = 1500
SENSITIVE_LIMIT = 60
"""Characters that are shown of texts that nobody should have to read."""
EXAMPLE = ("prompt", "output", "answer", "targets", "explanation")


@dataclass(frozen=True)
class Leaks:
    """One leak check: what it is about, its counts and the rows that it lists first."""

    name: str
    policy: str
    counts: Mapping[str, int]
    table: Table
    more: int


def leaks(evidence: Evidence) -> list[Leaks]:
    """Return every leak check with its first rows; its name says which variants it is about."""
    origins = {r.fingerprint: [made for made in r.inputs.values() if made] for r in evidence.records()}
    learnt = {name: _behind(a.record.fingerprint, origins) for name, a in evidence.of("train").items()}
    return [_leaks(artifact, learnt) for artifact in evidence.of("check").values()]


def _behind(fingerprint: str, origins: Mapping[str, list[str]]) -> set[str]:
    """Return the fingerprints of all that a step was made of, as far as its records are here, and its own."""
    below = [_behind(made, origins) for made in origins.get(fingerprint, [])]
    return {fingerprint}.union(*below)


def _leaks(artifact: Artifact, learnt: Mapping[str, set[str]]) -> Leaks:
    found = read_json(artifact.path("leaks.json"))
    rows: list[dict[str, str]] = found["rows"]
    columns = ("evaluation row", "training row", "kind", "shared words")
    listed = [[r["evaluation_id"], r["train_id"], r["kind"], r["text"]] for r in rows[:LEAKS_LISTED]]
    counts = {key.replace("_", " "): value for key, value in found.items() if isinstance(value, int)}
    table = Table("Rows that training and evaluation share", columns, listed)
    return Leaks(_about(artifact, learnt), artifact.record.settings["policy"], counts, table, len(rows) - len(listed))


def _about(check: Artifact, learnt: Mapping[str, set[str]]) -> str:
    """Name a check with what it compares with, where that is not an evaluation, and the variants that saw its rows."""
    record = check.record
    seen = {made for name, made in record.inputs.items() if not name.startswith("evaluation")}
    against = f", {record.settings['of']}" if "of" in record.settings else ""
    variants = [name for name, behind in learnt.items() if seen <= behind]
    return f"{record.slug}{against}" + (f": {listing(variants)}" if variants else "")


def examples(evidence: Evidence) -> dict[str, list[dict[str, Any]]]:
    """Return, for each scored cell, the first output of every outcome that occurs."""
    return {name: _examples(artifact) for name, artifact in evidence.of("score").items()}


def _examples(artifact: Artifact) -> list[dict[str, Any]]:
    limit = SENSITIVE_LIMIT if artifact.record.facts.get("sensitive") else TEXT_LIMIT
    first: dict[str, dict[str, Any]] = {}
    for row in read_json(artifact.path("results.json")):
        first.setdefault(row["outcome"], row)
    return [
        {"id": row["id"], "outcome": o, "texts": {key: _text(row[key], limit) for key in EXAMPLE if row[key]}}
        for o in OUTCOMES
        if (row := first.get(o))
    ]


def _text(value: Any, limit: int) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def data(evidence: Evidence) -> Table:
    """Which rows each step used, by the fingerprint of the step that prepared them."""
    columns = ("used by", "purpose", "rows prepared by", "worked examples by", "rows asked", "rows used")
    rows: list[list[Any]] = []
    for name, artifact in evidence.of("train").items():
        receipt: Mapping[str, Any] = artifact.record.facts.get("receipt", {})
        used, too_long = receipt.get("rows"), receipt.get("too_long")
        asked = used + too_long if used is not None and too_long is not None else None
        rows.append([name, "training", *_prepared(artifact), asked, used])
    generated, imported = evidence.of("generate"), evidence.of("import")
    for cell in evidence.scored:
        made = _prepared(generated[cell["cell"]]) if cell["cell"] in generated else [None, None]
        if cell["cell"] in imported:
            made = [short(imported[cell["cell"]].record.inputs["rows"]), "not known"]
        rows.append([cell["cell"], "evaluation", *made, cell["n"] + cell.get("unanswered", 0), cell["scored"]])
    return Table("Rows that were used", columns, rows)


def _prepared(artifact: Artifact) -> list[str | None]:
    inputs = artifact.record.inputs
    return [short(inputs.get("rows")), short(inputs["shots"]) if "shots" in inputs else "none"]


def receipts(evidence: Evidence) -> Table:
    """What each prepare step took and left out: n of N, and why."""
    columns = ("prepared rows", "split", "rows", "of", "source", "kept for worked examples", "held out",
               "dropped as leaks", "left out as long", "prompts from", "duplicates")  # fmt: skip
    rows: list[list[Any]] = []
    for name, artifact in evidence.of("prepare").items():
        receipt: Mapping[str, Any] = artifact.record.facts["receipt"]
        dropped = receipt.get("dropped_as_leaks")
        kept_apart = [receipt.get(key) for key in ("reserved_for_few_shots", "held_out")]
        source = _source(receipt["source"])
        split, made = artifact.record.settings["split"], receipt.get("made", {})
        leaks_dropped = None if dropped is None else len(dropped)
        split += f", made of {made['from']}" if made else ""
        taken = [split, receipt["rows"], receipt["available"], source]
        rows.append([name, *taken, *kept_apart, leaks_dropped, receipt.get("left_out_as_long"),
                     receipt.get("prompt_column"), receipt.get("duplicates")])  # fmt: skip
    return Table("Receipts", columns, rows)


def pairs(evidence: Evidence) -> Table:
    """What dpo prefers: prompts with a pair, prompts without one by reason, and the completions behind the pairs."""
    columns = ("pairs", "used by", "source", "prompts", "pairs made", "prompts without a pair", "drawn by", "right",
               "wrong", "cut by the budget", "unscored")  # fmt: skip
    drawn = {a.record.fingerprint: f"{name} ({_drawing(a)})" for name, a in evidence.of("draws").items()}
    rows: list[list[Any]] = []
    for name, artifact in evidence.of("pairs").items():
        record, receipt = artifact.record, artifact.record.facts["receipt"]
        users = [v for v, a in evidence.of("train").items() if a.record.inputs.get("pairs") == record.fingerprint]
        made: Mapping[str, Any] = receipt.get("completions", {})
        counts = [made.get(k) for k in ("right", "wrong", "cut", "unscored")]
        start = [name, ", ".join(users), receipt["source"], receipt["prompts"], receipt["pairs"], _reasons(receipt)]
        rows.append([*start, drawn.get(record.inputs.get("outputs") or ""), *counts])
    return Table("Pairs that DPO learnt from, and the completions of the base behind them", columns, rows)


def _reasons(receipt: Mapping[str, Any]) -> str:
    """Say why prompts have no pair: every count of the receipt that is a reason and not 0."""
    reasons = {k: v for k, v in receipt.items() if isinstance(v, int) and k not in ("prompts", "pairs")}
    return ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in reasons.items() if n) or "none"


def _drawing(draws: Artifact) -> str:
    decoding: Mapping[str, Any] = draws.record.settings["decoding"]
    return f"{decoding['samples']} a prompt at temperature {decoding['temperature']:g}"


def _source(source: Mapping[str, Any] | None) -> str:
    """Name where rows came from: the hub's revision, the content of a file, or the task itself."""
    if source is None:
        return "generated by the task"
    if "hub" in source:
        return f"{source['hub']} at {source['revision'][:12]}"
    return f"file with sha256 {source['sha256'][:12]}…" + (" (built in)" if "builtin" in source else "")


def versions(evidence: Evidence) -> Table:
    """Every library that took part, and whether all steps ran under the same version."""
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for record in evidence.records():
        for name, version in record.versions.items():
            found[name][version] = None
    rows = [[n, ", ".join(v), "all equal" if len(v) == 1 else "differs between steps"] for n, v in found.items()]
    return Table("Versions", ("software", "version", "across steps"), rows)


def fingerprints(evidence: Evidence) -> Table:
    """The identity of every scored cell: equal fingerprints mean equal results."""
    rows = [[name, a.record.fingerprint, f"{a.record.finished[:19]}Z"] for name, a in evidence.of("score").items()]
    return Table("Fingerprints of the cells", ("cell", "fingerprint of the score step", "finished"), rows)
