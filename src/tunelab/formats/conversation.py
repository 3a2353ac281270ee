"""What is put before a question, and how turns are written as plain text: the part of a format without a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from tunelab.data.sample import Message
from tunelab.formats.format import Format

Shot = tuple[list[Message], str]
"""A worked example: its conversation and its target."""


def conversation(fmt: Format, shots: Sequence[Shot], messages: Sequence[Message]) -> list[Message]:
    """Put system prompt and worked examples before the messages, as the format declares."""
    system = [Message("system", fmt.system)] if fmt.system else []
    turns = [m for shot, target in shots for m in (*shot, Message("assistant", target))]
    if turns and fmt.template == "chat" and fmt.few_shots.style == "text":
        *before, question = messages
        return [*system, *before, Message(question.role, raw_text(fmt, [*turns, question]))]
    return [*system, *turns, *messages]


def raw_text(fmt: Format, turns: Sequence[Message]) -> str:
    """Write turns as plain text, ending with the assistant's prefix."""
    parts: list[str] = []
    for message in turns:
        if message.role == "user":
            parts.append(f"{fmt.user_prefix}{message.content}\n")
        elif message.role == "assistant":
            parts.append(f"{fmt.assistant_prefix} {message.content}\n\n")
        else:
            parts.append(f"{message.content}\n\n")
    return "".join(parts) + fmt.assistant_prefix
