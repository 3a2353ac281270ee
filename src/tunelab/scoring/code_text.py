"""Code in a model's answer: out of its Markdown fence, whether the fence was closed or not."""

from __future__ import annotations

import re

FENCED = re.compile(r"```(?:[ \t]*[\w+#.-]*[ \t]*\n)?(.*?)(?:```|\Z)", re.DOTALL)


def take_code(output: str) -> str:
    """Return the first fenced block that holds anything, else the text before a fence, else the whole text.

    The word after the opening fence names the language and is dropped when a line ends there. Lines keep their
    indentation; blank lines around the code go.
    """
    blocks = (match[1] for match in FENCED.finditer(output))
    code = next((block for block in blocks if block.strip()), output.partition("```")[0])
    return re.sub(r"\A(?:[ \t]*\n)+", "", code).rstrip()
