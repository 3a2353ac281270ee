"""Chunks of a page: JSON, gzip, base64. No text of a model is ever markup there, and the page opens what it shows."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

LEVEL = 7


@dataclass
class Packed:
    """Chunks by their id, in the order in which they were put."""

    chunks: dict[str, Markup] = field(default_factory=dict[str, Markup])

    def put(self, name: str, value: Any) -> None:
        """Pack a JSON value. Lone surrogates survive: JSON writes them as escapes."""
        content = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
        packed = gzip.compress(content, LEVEL, mtime=0)
        self.chunks[name] = Markup(base64.b64encode(packed).decode("ascii"))  # base64 has nothing to escape
