"""``tunelab data``."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError
from rich.text import Text

from tunelab.cli.data_prepare import prepare
from tunelab.cli.data_source import Files, Source, choose_data
from tunelab.cli.data_stats import stats
from tunelab.cli.tables import console
from tunelab.errors import FormatError
from tunelab.formats.format import Format
from tunelab.study.keys import check_keys, describe_validation
from tunelab.study.places import seen_from
from tunelab.study.preview import Subject, find_subject, preview_rows
from tunelab.visible import visible

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Show the rows of a task as a model sees them, count what they are like, or prepare those of a study.",
)
app.command("prepare")(prepare)
app.command("stats")(stats)


class Loss(StrEnum):
    """Tokens that are learnt."""

    ALL = "all"
    COMPLETION = "completion"


@app.callback()
def _root() -> None:
    pass


@app.command()
def show(
    subject: Annotated[
        str,
        typer.Argument(metavar="TASK", help="A task's name, FILE.py:Class, or a study with its model, formats, data."),
    ],
    fmt: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="chat, raw, a format as YAML: '{template: chat, system: Hi}', or a name in the study. "
            "Default: chat, or the study's first.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Whose tokenizer and template to use. Default: tiny, or the study's.")
    ] = None,
    loss: Annotated[Loss, typer.Option("--loss", help="Tokens to show as learnt.")] = Loss.COMPLETION,
    split: Annotated[str | None, typer.Option("--split", help="Default: the task's training split.")] = None,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Number of rows.")] = 3,
    source: Source = None,
    files: Files = None,
    masks: Annotated[bool, typer.Option("--masks", help="One token a line: id, learnt or not, text.")] = False,
) -> None:
    """Print rows as a model sees them in training; the learnt tokens are green and ⟦bracketed⟧.

    Example: tunelab data show gsm8k --file train=my.jsonl --format raw
    """
    out, found = console(), find_subject(subject)
    chosen = choose_format(fmt, found)
    found = replace(
        found,
        model=seen_from(found.folder, "model", model) if model else found.model,
        data=choose_data(found, source, files or []),
    )
    for example in preview_rows(found, chosen, loss.value, split, rows):
        out.rule(f"{example.id}: {example.tokens} tokens, {example.learnt} learnt")
        if masks:
            for token, learnt, text in example.table:
                out.print(
                    Text(f"{token:>8} {'learnt' if learnt else '      '} {text!r}", style="green" if learnt else "")
                )
        else:
            out.print(Text.assemble(*(_styled(*piece) for piece in example.pieces)))


def choose_format(name: str | None, subject: Subject) -> Format:
    """Return the study's format of that name, or the one that is written out. Raises FormatError."""
    if name is None:
        return next(iter(subject.formats.values()), Format(template="chat"))
    return subject.formats.get(name) or read_format(name)


def read_format(text: str) -> Format:
    """Read a template's name or a format in YAML. Raises FormatError."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError:
        raise FormatError(f"--format: got {text!r}, expected chat, raw, or YAML like '{{template: chat}}'") from None
    settings = raw if isinstance(raw, dict) else {"template": raw}
    check_keys(settings, Format, "--format")
    try:
        return Format.model_validate(settings)
    except ValidationError as error:
        raise FormatError(f"--format: {describe_validation(error)}") from None


def _styled(text: str, learnt: bool) -> tuple[str, str]:
    shown = visible(text)
    return (f"⟦{shown}⟧", "green") if learnt else (shown, "")
