"""The root command. A verb is imported when it is used, so that help appears at once.

Exit codes: 0 done; 1 something failed, the rest ran; 2 the user's mistake; 3 a gate failed; 130 interrupted.
"""

from __future__ import annotations

import errno
import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from tunelab.cli.say import warn
from tunelab.errors import TunelabError

VERBS = {
    "run": "Run a study: everything that is not done yet, then the report.",
    "reproduce": "Evaluate a study's published or own adapters: no training, then the report.",
    "plan": "Show what a run would do and need of memory, and how small a difference it could see.",
    "power": "Say how many items or seeds would show a difference, or how small a one so many show.",
    "view": "Watch the studies of a store in a browser, while they run and after.",
    "report": "Rebuild a study's report from what is finished.",
    "show": "Show the results of a study, or list the studies that have some.",
    "compare": "Compare any two cells, also of two studies: difference, interval, verdict, what they differ in.",
    "explain": "Show field by field why two steps differ, or why a step would run again.",
    "score": "Score anybody's outputs with a task's scorer.",
    "data": "Show the rows of a task as a model sees them, count what they are like, or prepare a study's.",
    "export": "Write a study into one file that others can score again.",
    "rescore": "Score a bundle's answers again, without a model: what differs from the record?",
    "push": "Upload trained models, and their data, to the Hugging Face hub with cards.",
    "studies": "List the bundled studies, or print one.",
    "schema": "Print the JSON Schema of study files, for editors.",
    "doctor": "Check this machine and a store.",
}


class VerbGroup(TyperGroup):
    """Knows the verbs by name and one-line help; imports the one that is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb that was imported, or a stand-in that can only describe itself."""
        if cmd_name in self.commands or cmd_name not in VERBS:
            return self.commands.get(cmd_name)
        return _command(cmd_name, lambda: None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the verb that is used."""
        if args and args[0] in VERBS:
            module = importlib.import_module(f"tunelab.cli.{args[0]}")
            self.commands[args[0]] = _verb(args[0], module)
        return super().resolve_command(ctx, args)


def _verb(name: str, module: Any) -> Any:
    """A verb is a function ``command``, or an ``app`` with verbs of its own."""
    if hasattr(module, "app"):
        return typer.main.get_command(module.app)
    return _command(name, module.command)


def _command(name: str, function: Any) -> Any:
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name, help=VERBS[name], epilog=(function.__doc__ or "").strip())(function)
    return typer.main.get_command(single)


app = typer.Typer(
    cls=VerbGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Controlled fine-tuning experiments on language models: plan, train, evaluate, compare, report.",
)


@app.callback()
def _root() -> None:
    pass


def main() -> None:
    """Run the command line; print an expected error as one line and exit with its code."""
    try:
        app()
    except TunelabError as error:
        warn(f"tunelab: {error}")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        warn(f"tunelab: {_describe(error)}")
        sys.exit(1)


def _describe(error: OSError) -> str:
    """One line: the path, what the system says of it, and what helps where that is known."""
    if error.strerror is None:
        return " ".join(str(error).split()) or type(error).__name__
    place = "" if error.filename is None else f"{error.filename}: "
    full_or_closed = error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS)
    return f"{place}{error.strerror}" + ("; free or grant the place, then run again" if full_or_closed else "")
