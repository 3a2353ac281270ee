"""The code in an answer: out of its fence, and put where the prompt left off.

Chat models answer with a fenced block, and often repeat the signature; base models go on where the prompt ends. Both
come to one program, by the text alone: nothing of a model's is parsed outside the sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

FENCE = re.compile(r"^[ \t]*```[^\n`]*(?:\n|\Z)(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)
"""A block of code; the last one may be cut off before it closes."""
CLOSING = re.compile(r"^[ \t]*```[ \t]*$", re.MULTILINE)
AFTER_BODY = re.compile(r"\n(?=(?:class|def|if|print)\b|#|@)")
"""Where a continued body has ended, as Chen et al. (2021) stop: a line that begins something else."""
BEGINNING = re.compile(r"^(?:(?:from|import|def|class|async def)\b|[@#]|\w+ *=)", re.MULTILINE)
"""The first line that looks like code; nothing is parsed to find it."""
INDENT = "    "


def code_of(output: str, names: Sequence[str] = ()) -> str:
    """Return the code of an answer, its own indentation kept; empty where there is none.

    Of several blocks it is the first that defines one of ``names``, else the first. Text without a block is code
    from the first line that looks like a definition or an import, if any line defines one of ``names``.
    """
    opened = CLOSING.split(output, maxsplit=1)[0]  # what stands before a fence that was opened by the prompt
    if "```" not in opened and _defines(opened, names):
        return opened[_beginning(opened) :].rstrip()
    blocks = [block.rstrip() for block in FENCE.findall(output)]
    if blocks:
        return next((block for block in blocks if _defines(block, names)), blocks[0])
    return output[_beginning(output) if _defines(output, names) else 0 :].rstrip()


def completed(prompt: str, entry_point: str, output: str) -> str:
    """Return the program of an answer to ``prompt``, which ends with the signature of ``entry_point``.

    An answer that defines the function itself takes the place of the prompt's signature; what stands before it in the
    prompt, imports and other functions, stays. Anything else is the function's body.
    """
    code = code_of(output, [entry_point])
    if _defines(code, [entry_point]):
        return f"{prompt[: _signature(prompt, entry_point)]}{code}\n"
    body = code if "```" in output else AFTER_BODY.split(code, maxsplit=1)[0]
    return f"{prompt}{indented(body)}\n"


def indented(body: str) -> str:
    """Return the body of a function with its indentation, which may be lost on the first line or on all of them."""
    lines = body.strip("\n").splitlines()
    if not lines or lines[0][:1].isspace():
        return "\n".join(lines)
    widths = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    deeper = len(INDENT) if lines[0].rstrip().endswith(":") else 0
    only_first = bool(widths) and min(widths) > 0 and widths[0] > deeper
    return "\n".join(INDENT + line if number == 0 or not only_first else line for number, line in enumerate(lines))


def _defines(code: str, names: Sequence[str]) -> bool:
    return any(re.search(rf"^(?:async def|def|class)\s+{re.escape(name)}\b", code, re.MULTILINE) for name in names)


def _beginning(text: str) -> int:
    found = BEGINNING.search(text)
    return found.start() if found else 0


def _signature(prompt: str, entry_point: str) -> int:
    """Return where the signature of the last function of that name begins, its decorators not counted."""
    found = list(re.finditer(rf"^(?:async def|def)\s+{re.escape(entry_point)}\b", prompt, re.MULTILINE))
    return found[-1].start() if found else len(prompt)
