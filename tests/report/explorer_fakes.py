"""Scored cells as the steps leave them, of whatever rows a test has, and the page that is made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tunelab.engine.record import Artifact, FileEntry, Record
from tunelab.files import write_json, write_lines
from tunelab.report.evidence import TABLES, Evidence
from tunelab.report.explorer.page import PAGE, samples_page


def sample(id_: str, outcome: str = "correct", **changes) -> dict:
    """A row of ``results.json``."""
    values = {} if outcome == "unscored" else {"numeric": float(outcome == "correct")}
    return {
        "id": id_,
        "sample": 0,
        "outcome": outcome,
        "values": values,
        "answer": "4",
        "targets": ["4"],
        "explanation": "",
        "prompt": "2 + 2?",
        "output": "It is 4.",
        "finish": "stop",
        "output_tokens": 3,
        "metadata": {},
    } | changes


def left(folder: Path, kind: str, facts: dict) -> Artifact:
    """A finished step of the files in its folder."""
    files = {path.name: FileEntry("", path.stat().st_size) for path in folder.iterdir()}
    return Artifact(Record("", kind, 1, kind, {}, {}, {}, facts, {}, "", "", 0.0, 0.0, 1, files), folder)


def scored(folder: Path, rows: list[dict], **facts) -> Artifact:
    """A score step."""
    folder.mkdir(parents=True)
    write_json(folder / "results.json", rows)
    write_lines(folder / "scores.jsonl", [{k: row[k] for k in ("id", "sample", "outcome", "values")} for row in rows])
    return left(folder, "score", {"task": "arithmetic", "metrics": {"numeric": {}}} | facts)


def generated(folder: Path, model: Path, prompt_tokens: dict[str, int]) -> Artifact:
    """A generate step that asked the model in a folder."""
    folder.mkdir(parents=True)
    rows = [{"id": id_, "sample": 0, "prompt_tokens": count} for id_, count in prompt_tokens.items()]
    write_lines(folder / "outputs.jsonl", rows)
    made = left(folder, "generate", {})
    ref = {"name": model.name, "location": str(model), "revision": None, "identity": {}}
    return Artifact(replace(made.record, circumstance={"model": ref}), folder)


def judged(folder: Path, rows: list[dict]) -> Artifact:
    """A judge step."""
    folder.mkdir(parents=True)
    write_lines(folder / "verdicts.jsonl", rows)
    return left(folder, "judge", {})


def evidence(inputs: dict[str, Artifact]) -> Evidence:
    """A study without a comparison."""
    study = {"study": "templates", "question": "Does it matter?", "smoke": False}
    return Evidence(study, inputs, {}, {"alpha": 0.05, **{name: [] for name in TABLES}}, {})


def write_page(folder: Path, found: Evidence) -> str:
    """Write the page and return its address."""
    (folder / PAGE).write_text(samples_page(found), encoding="utf-8")
    return (folder / PAGE).as_uri()


def page_of(folder: Path, cells: dict[str, list[dict]]) -> str:
    """Write the page of cells by their rows and return its address."""
    steps = {f"score/{name}": scored(folder / str(i), rows) for i, (name, rows) in enumerate(cells.items())}
    return write_page(folder, evidence(steps))
