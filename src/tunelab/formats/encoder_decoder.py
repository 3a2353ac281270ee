"""Prompts of encoder-decoder models: the encoder reads the prompt, and the answer is all that the decoder writes.

Both sides are tokenised apart and end with the tokenizer's end of text, as T5 was trained. The answer does not stand
behind its prompt, so no space parts them, and the prompt does not end in white space that nothing follows. An
example holds the encoder's ids first and the decoder's behind them, and the mask says which is which; the token that
the decoder starts from is the model's and no part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunelab.data.sample import Message
from tunelab.errors import FormatError
from tunelab.formats.format import Format
from tunelab.formats.renderer import SENTINEL, Renderer, Shot

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class EncoderDecoderRenderer(Renderer):
    """Renders for an encoder and a decoder. Raises FormatError for a chat template: there are no turns to write."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, fmt: Format, shots: Sequence[Shot] = ()) -> None:
        if fmt.template == "chat":
            raise FormatError("format chat: got an encoder-decoder model, which has no turns; use template: raw")
        super().__init__(tokenizer, fmt, shots)

    def sides(self, messages: Sequence[Message], target: str) -> tuple[list[int], list[int]]:
        """Return what the encoder reads and what the decoder is to write."""
        example = self.example(messages, target)
        read = example.mask.index(1)
        return example.ids[:read], example.ids[read:]

    def _prompt_text(self, turns: Sequence[Message]) -> str:
        return super()._prompt_text(turns).rstrip()

    def _prompt_ids(self, text: str) -> list[int]:
        return [*super()._prompt_ids(text), self.end_of_turn[1]]

    def _completion_text(self, messages: Sequence[Message], target: str, prompt: str) -> str:
        return f"{target}{self.end_of_turn[0]}"

    def _find_seams(self) -> tuple[str, str]:
        """Return what decoding leaves around an answer, by some tokenizers a space in front."""
        before, found, after = self._decode(self._encode(SENTINEL)).partition(SENTINEL)
        return (before, after) if found else ("", "")
