"""``tunelab score``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tunelab.cli.options import Json
from tunelab.cli.say import say
from tunelab.cli.tables import number, span
from tunelab.report.wording import counted
from tunelab.study.score_file import score_file


def command(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task's name or FILE.py:Class.")],
    outputs: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Rows with `output` and one of id, index, target; or a JSON object from id to output."
        ),
    ],
    split: Annotated[str | None, typer.Option("--split", help="Default: the task's test split.")] = None,
    as_json: Json = False,
) -> None:
    """Example: tunelab score gsm8k preds.jsonl --json"""
    summary = score_file(task, outputs, split)
    if as_json:
        print(json.dumps(summary))
        return
    say(f"{summary['task']}: {counted(summary['n'], 'item')}")
    for name, metric in summary["metrics"].items():
        about = f"  [{metric['definition']}]" if "definition" in metric else ""
        say(f"  {name}: {number(metric['value'])} ({span(metric)}), n = {metric['n']}{about}")
    say("  " + ", ".join(f"{n} {name}" for name, n in summary["outcomes"].items() if n))
    if summary["unanswered"]:
        say(f"  {summary['unanswered']} samples of the split have no output here and are in no value")
