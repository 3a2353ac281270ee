"""Replies by content: what a judge said about an exchange once is not asked again, in any cell of any study.

A reply's key is the digest of everything that decides about it: who is asked, in which words, about what, and the how
manyeth time. Failures are not kept. A file that cannot be read as a reply is as good as none, and is written anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tunelab.canonical import canonical
from tunelab.files import read_json, write_json
from tunelab.scoring.judges.exchange import Exchange


def reply_key(asked: Mapping[str, Any], exchange: Exchange, repeat: int) -> str:
    """Return 64 hex digits; ``asked`` is the part of a judge's identity that decides about its replies."""
    # Surrogates of broken model output have no canonical form, so texts enter by their own digests.
    words = (exchange.asked, exchange.answered, *exchange.references)
    texts = [hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() for text in words]
    content = canonical({"judge": asked, "exchange": texts, "repeat": repeat})
    return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class ReplyCache:
    """Replies under ``folder``, a file each: ``ab/ab….json``."""

    folder: Path

    def get(self, key: str) -> str | None:
        """Return the reply, or None when there is none that can be read."""
        try:
            found: Any = read_json(self._path(key))
        except (OSError, ValueError):
            return None
        kept = cast(dict[str, Any], found) if isinstance(found, dict) else {}
        reply = kept.get("reply")
        return reply if isinstance(reply, str) and kept.get("key") == key else None

    def put(self, key: str, reply: str) -> None:
        """Keep a reply; whoever writes last wins, and readers see one of the two whole."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"key": key, "reply": reply})

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
