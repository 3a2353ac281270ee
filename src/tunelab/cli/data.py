"""``tunelab data``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError
from rich.text import Text

from tunelab.cli.data_prepare import prepare
from tunelab.cli.tables import console
from tunelab.errors import FormatError
from tunelab.formats.format import Format
from tunelab.study.keys import check_keys, describe_validation
from tunelab.study.preview import preview_rows

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Show the rows of a task as a model sees them, or prepare those of a study.",
)
app.command("prepare")(prepare)


class Loss(StrEnum):
    """Tokens that are learnt."""

    ALL = "all"
    COMPLETION = "completion"


class SourceName(StrEnum):
    """Where rows come from."""

    AUTO = "auto"
    HUB = "hub"
    MIRROR = "mirror"
    BUILTIN = "builtin"


@app.callback()
def _root() -> None:
    pass


@app.command()
def show(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task's name or FILE.py:Class.")],
    fmt: Annotated[
        str, typer.Option("--format", help="chat, raw, or a format as YAML: '{template: chat, system: Hi}'")
    ] = "chat",
    model: Annotated[str, typer.Option("--model", help="Whose tokenizer and template to use.")] = "tiny",
    loss: Annotated[Loss, typer.Option("--loss", help="Tokens to show as learnt.")] = Loss.COMPLETION,
    split: Annotated[str | None, typer.Option("--split", help="Default: the task's training split.")] = None,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Number of rows.")] = 3,
    source: Annotated[SourceName, typer.Option("--source", help="Where rows come from.")] = SourceName.AUTO,
    masks: Annotated[bool, typer.Option("--masks", help="One token a line: id, learnt or not, text.")] = False,
) -> None:
    """Print rows as a model sees them in training; the learnt tokens are green and ⟦bracketed⟧."""
    out = console()
    for example in preview_rows(task, read_format(fmt), model, loss.value, split, rows, source.value):
        out.rule(f"{example.id}: {example.tokens} tokens, {example.learnt} learnt")
        if masks:
            for token, learnt, text in example.table:
                out.print(
                    Text(f"{token:>8} {'learnt' if learnt else '      '} {text!r}", style="green" if learnt else "")
                )
        else:
            out.print(Text.assemble(*(_styled(*piece) for piece in example.pieces)))


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
    return (f"⟦{text}⟧", "green") if learnt else (text, "")
