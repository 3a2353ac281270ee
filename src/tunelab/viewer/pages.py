"""The viewer's pages: templates over plain data. Every text from outside is escaped by jinja2."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from tunelab.viewer.graph import BOX
from tunelab.viewer.live import Piece
from tunelab.viewer.wording import duration, moment, size


def render(template: str, **values: Any) -> str:
    """Return a page."""
    return _environment.get_template(template).render(**values)


def _made() -> Environment:
    made = Environment(
        loader=PackageLoader("tunelab.viewer", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = made.filters
    filters.update(duration=duration, moment=moment, size=size, quoted=_quoted, pretty=_pretty, cut=_cut)
    known: dict[str, Any] = {"attributes": pass_context(_attributes), "text": pass_context(_text), "BOX": BOX}
    made.globals.update(known)
    return made


def _attributes(context: Context, key: str) -> Mapping[str, Any]:
    """Return the attributes of the element at a live place, for ``xmlattr``."""
    piece = _piece(context, key)
    hidden = {"hidden": ""} if piece.get("hidden") else {}
    state = {"data-state": piece["state"]} if "state" in piece else {}
    return {"data-live": key, **state, **hidden, **piece.get("set", {})}


def _text(context: Context, key: str) -> str:
    return _piece(context, key).get("text", "")


def _piece(context: Context, key: str) -> Piece:
    return context["live"][key]


def _quoted(name: str) -> str:
    """Return a name as one part of an address; a step's name keeps the slash after its kind."""
    return quote(name, safe="/")


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


_environment = _made()
