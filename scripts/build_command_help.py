"""Writes docs/commands.md from the commands' own help, so that the two cannot disagree.

python scripts/build_command_help.py            write the page
python scripts/build_command_help.py --check    exit with 1 when the page is out of date
"""

import sys
from pathlib import Path

from typer.testing import CliRunner

from tunelab.cli.app import VERBS, app

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
COMMANDS = [[], *([verb] for verb in VERBS), ["data", "show"], ["data", "prepare"], ["data", "stats"]]


def help_text(command: list[str]) -> str:
    """Return a command's help as it prints on a plain terminal of 100 columns."""
    plain = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    result = CliRunner().invoke(app, [*command, "--help"], prog_name="tunelab", env=plain, catch_exceptions=False)
    if result.exit_code:
        raise RuntimeError(f"help of {command}: got exit code {result.exit_code}, expected 0: {result.output}")
    return "\n".join(line.rstrip() for line in result.stdout.strip().splitlines())


def page() -> str:
    """Return the whole page."""
    parts = ["# Commands\n\nMade by `make docs` from the commands' own help.\n"]
    parts += [f"## `{' '.join(['tunelab', *command])}`\n\n```\n{help_text(command)}\n```\n" for command in COMMANDS]
    return "\n".join(parts)


if __name__ == "__main__":
    wanted = page()
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text(encoding="utf-8") != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
