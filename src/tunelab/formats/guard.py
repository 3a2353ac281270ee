"""Prompts of guard models: their chat template writes the whole question around a conversation that it shows.

A template that puts words of its own behind the last answer has no end of an assistant's turn to find, and nobody is
trained under it. So only what generation needs is looked for.
"""

from __future__ import annotations

from tunelab.errors import FormatError
from tunelab.formats.renderer import Renderer


class GuardRenderer(Renderer):
    """Renders a conversation that ends with the assistant's answer, up to where the verdict on it begins."""

    def _find_end_of_turn(self) -> tuple[str, int]:
        token, number = self.tokenizer.eos_token, self.tokenizer.eos_token_id
        if not isinstance(token, str) or not isinstance(number, int):
            raise FormatError("guard model: the tokenizer has no end-of-text token; use another model")
        return token, number

    def _find_seams(self) -> tuple[str, str]:
        return "", ""
