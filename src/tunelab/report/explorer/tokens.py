"""Where the tokens of prompts end, by the tokenizer that the model was asked with, if it is on this machine.

Prompts were sent as ids; the page shows their text, and on demand its tokens. They are counted again when the report
is written, so the page says so where their number is another than the one that was sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunelab.engine.record import Record
from tunelab.models.spec import ModelRef, known_file
from tunelab.report.explorer.texts import Text
from tunelab.study.longest import load_counter

SURROGATE = re.compile("[\ud800-\udfff]")

Tokens = dict[str, list[Any]]
"""``ids``, and ``ends``: where each token's text ends, in UTF-16 units, as a browser counts."""


@dataclass
class Tokenizers:
    """Splits prompts; every tokenizer is opened once."""

    _opened: dict[Path, Any] = field(default_factory=dict[Path, Any])

    def path_of(self, record: Record | None) -> Path | None:
        """Return the tokenizer of the model that a generate step asked; None where it is not on this machine."""
        model: Mapping[str, Any] = (record.circumstance.get("model") if record else None) or {}
        if not {"name", "location"} <= model.keys():
            return None
        path = known_file(ModelRef(**model), "tokenizer.json")
        return path if path is not None and self._open(path) is not None else None

    def split(self, path: Path, texts: Sequence[Text | None]) -> list[Tokens | None]:
        """Return the tokens of every text that is whole, and that is text: lone surrogates have none."""
        whole = [text if isinstance(text, str) and not SURROGATE.search(text) else "" for text in texts]
        found = self._open(path).encode_batch(whole, add_special_tokens=False)
        return [_tokens(text, encoding) if text else None for text, encoding in zip(whole, found, strict=True)]

    def _open(self, path: Path) -> Any:
        if path not in self._opened:
            self._opened[path] = load_counter(path)
        return self._opened[path]


def _tokens(text: str, encoding: Any) -> Tokens:
    """A character of several tokens belongs to the last of them; the text of the others is empty."""
    widths = [0]
    for character in text:
        widths.append(widths[-1] + (2 if ord(character) > 0xFFFF else 1))
    starts = [start for start, _ in encoding.offsets]
    return {"ids": list(encoding.ids), "ends": [widths[start] for start in [*starts[1:], len(text)]]}
