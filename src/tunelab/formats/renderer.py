"""The renderer: one place where a conversation becomes token ids and a loss mask.

A prompt and an example share one construction: the prompt's ids are tokenised alone, the completion's ids are
tokenised alone, and an example is their concatenation. So the prompt of an evaluation is a prefix of the training
example by construction, whatever the tokenizer would merge across the seam. The completion always ends with the
token that ends a turn, so that the model learns to stop; that token is also what stops a generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from tunelab.data.sample import Message
from tunelab.errors import FormatError
from tunelab.formats.conversation import Shot, conversation, raw_text
from tunelab.formats.format import Format

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SENTINEL = "tunelab-sentinel"


@dataclass(frozen=True)
class Prompt:
    """What the model is given: the text and its ids."""

    text: str
    ids: list[int]


@dataclass(frozen=True)
class Example:
    """A supervised row: ``mask`` is 1 on the completion's ids, and as long as ``ids``."""

    text: str
    ids: list[int]
    mask: list[int]


class Renderer:
    """Renders under one format with one tokenizer. Raises FormatError when the format cannot be honoured."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, fmt: Format, shots: Sequence[Shot] = ()) -> None:
        if fmt.template == "chat" and not tokenizer.chat_template:
            raise FormatError("format chat: the tokenizer has no chat template; use template: raw or another model")
        if len(shots) != fmt.few_shots.k:
            raise FormatError(f"few shots: got {len(shots)} examples, expected k = {fmt.few_shots.k}")
        self.tokenizer = tokenizer
        self.format = fmt
        self._shots = list(shots)
        self._bos = tokenizer.bos_token_id if isinstance(tokenizer.bos_token_id, int) else None
        self._adds_bos = tokenizer("x")["input_ids"][:1] == [self._bos]  # pyright: ignore[reportIndexIssue]
        self.end_of_turn = self._find_end_of_turn()
        self._seams = self._find_seams()

    @property
    def pad_id(self) -> int:
        """Id to pad a batch with."""
        assert isinstance(self.tokenizer.pad_token_id, int)
        return self.tokenizer.pad_token_id

    @property
    def stop_ids(self) -> set[int]:
        """Ids that end a generation: the end of a turn, and the tokenizer's end of text."""
        ids = {self.end_of_turn[1]}
        if isinstance(self.tokenizer.eos_token_id, int):
            ids.add(self.tokenizer.eos_token_id)
        return ids

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """Render a conversation up to where the answer begins."""
        text = self._prompt_text(self._conversation(messages))
        return Prompt(text, self._prompt_ids(text))

    def example(self, messages: Sequence[Message], target: str) -> Example:
        """Render a conversation with its answer; the prompt's ids come first, unchanged."""
        prompt = self.prompt(messages)
        completion = self._completion_text(messages, target, prompt.text)
        ids = self._encode(completion)
        text, end = self.end_of_turn
        if ids.count(end) != 1 or ids[-1] != end:
            raise FormatError(
                f"end of turn {text!r}: got {ids.count(end)} of them in a completion, expected one, at its end; "
                "the model would not learn where to stop"
            )
        return Example(prompt.text + completion, prompt.ids + ids, [0] * len(prompt.ids) + [1] * len(ids))

    def answer_ids(self, messages: Sequence[Message], target: str) -> list[int]:
        """Return the ids of an answer as training sees them, up to the token that ends the turn and without it.

        Without it, because how readily a model ends its turn says nothing about which answer it prefers.
        """
        example = self.example(messages, target)
        return [token for token, answered in zip(example.ids, example.mask, strict=True) if answered][:-1]

    def parse(self, ids: Sequence[int]) -> str:
        """Return the text of generated ids: the inverse of a target's rendering.

        Ends before the first stop id; what the format writes around every answer is not part of it.
        """
        before, after = self._seams
        return self._decode(ids).removeprefix(before).removesuffix(after)

    def _conversation(self, messages: Sequence[Message]) -> list[Message]:
        return conversation(self.format, self._shots, messages)

    def _prompt_text(self, turns: Sequence[Message]) -> str:
        if self.format.template == "chat":
            return self._template(turns, add_generation_prompt=True)
        return raw_text(self.format, turns)

    def _completion_text(self, messages: Sequence[Message], target: str, prompt: str) -> str:
        if self.format.template == "raw":
            return f" {target}{self.end_of_turn[0]}"
        whole = self._template([*self._conversation(messages), Message("assistant", target)])
        if not whole.startswith(prompt):
            raise FormatError(
                "chat template: the conversation with its answer does not begin with the generation prompt, "
                "so training and evaluation would see different prompts; set template kwargs "
                "(e.g. enable_thinking: false) under which they agree"
            )
        completion = whole[len(prompt) :]
        end = completion.rfind(self.end_of_turn[0])
        if end < 0:
            raise FormatError(
                f"chat template: {self.end_of_turn[0]!r} does not follow the answer; the model could not learn to stop"
            )
        return completion[: end + len(self.end_of_turn[0])]

    def _find_end_of_turn(self) -> tuple[str, int]:
        """Return text and id of the token that ends the assistant's turn; a template may put white space before it."""
        if self.format.template == "raw":
            if not isinstance(self.tokenizer.eos_token, str) or not isinstance(self.tokenizer.eos_token_id, int):
                raise FormatError(
                    "format raw: the tokenizer has no end-of-text token; use template: chat or another model"
                )
            return self.tokenizer.eos_token, self.tokenizer.eos_token_id
        answered = [Message("user", "x"), Message("assistant", SENTINEL)]
        after = self._template(answered).rpartition(SENTINEL)[2]
        end = next((i for i in self._encode(after) if str(self.tokenizer.decode([i])).strip()), None)
        special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        if end is None or end not in special:
            raise FormatError(
                f"chat template: {after[:20]!r} follows an answer, expected a special token that ends the turn"
            )
        return str(self.tokenizer.decode([end])), end

    def _find_seams(self) -> tuple[str, str]:
        """Return what decoding leaves between a prompt and its answer, and between that and the end of its turn.

        Where an answer does not stand behind its own prompt nobody can be trained, and nothing is taken off.
        """
        question = [Message("user", "x")]
        prompt = self._prompt_text(question)
        answered = [*question, Message("assistant", SENTINEL)]
        whole = self._template(answered) if self.format.template == "chat" else f"{prompt} {SENTINEL}"
        if not whole.startswith(prompt):
            return "", ""
        before, found, after = self._decode(self._encode(whole[len(prompt) :])).partition(SENTINEL)
        return (before, after) if found else ("", "")

    def _template(self, turns: Sequence[Message], add_generation_prompt: bool = False) -> str:
        rows: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in turns]
        try:
            text = self.tokenizer.apply_chat_template(
                rows, tokenize=False, add_generation_prompt=add_generation_prompt, **self.format.kwargs
            )
        except TemplateError as error:
            raise FormatError(f"chat template: refuses the conversation ({error}); change the format") from None
        return str(text)

    def _prompt_ids(self, text: str) -> list[int]:
        ids = self._encode(text)
        if self._bos is None:
            return ids
        if self.format.template == "raw" and self._adds_bos:
            ids = [self._bos, *ids]
        if ids[:2] == [self._bos, self._bos]:
            raise FormatError(
                "beginning-of-text token: the prompt begins with it twice; remove one from the template or prompt"
            )
        return ids

    def _decode(self, ids: Sequence[int]) -> str:
        """Return the text before the first stop id, without special tokens."""
        end = next((i for i, token in enumerate(ids) if token in self.stop_ids), len(ids))
        return str(self.tokenizer.decode(list(ids[:end]), skip_special_tokens=True))

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]  # pyright: ignore[reportReturnType]
