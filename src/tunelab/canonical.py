"""Canonical JSON and the fingerprint of a step.

Two steps are the same step exactly when their fingerprints are equal, so the encoding must be unambiguous:
keys sorted, no white space, floats by their shortest round-trip form, nothing converted on the quiet.
A value that it does not know is an error that names the place, never ``str(value)``: a path or an object
address inside an identity would make equal work look different, or different work look equal.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tunelab.errors import TunelabError


class CanonicalError(TunelabError):
    """A value has no canonical form."""


def canonical(value: Any) -> str:
    """Return the canonical JSON of ``value``.

    Accepts None, bool, int, finite float, str, list, tuple and dict with string keys.
    Raises CanonicalError with the path of the first value that is none of these.
    """
    return json.dumps(_plain(value, "$"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(kind: str, version: int, settings: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """Return the sha256, as 64 hex digits, of what can change a step's result.

    ``inputs`` maps each input's name to the fingerprint of the step that makes it, or to what a hole is.
    """
    identity = {"kind": kind, "version": version, "settings": dict(settings), "inputs": dict(inputs)}
    return hashlib.sha256(canonical(identity).encode()).hexdigest()


def _plain(value: Any, path: str) -> Any:
    if isinstance(value, str):
        return _text(value, path)
    if value is None or isinstance(value, bool) or type(value) is int:
        return value
    if type(value) is float:
        if math.isfinite(value):
            return value
        raise CanonicalError(f"{path}: got {value}, expected a finite number; write it as a string or leave it out")
    if isinstance(value, Mapping):
        return {_key(k, path): _plain(v, f"{path}.{k}") for k, v in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_plain(v, f"{path}[{i}]") for i, v in enumerate(cast(Sequence[Any], value))]
    raise CanonicalError(
        f"{path}: got {type(value).__name__}, expected None, bool, int, float, str, list or dict; "
        "convert it where its meaning is known"
    )


def _key(key: Any, path: str) -> str:
    if isinstance(key, str):
        return _text(key, path)
    raise CanonicalError(f"{path}: got the key {key!r} ({type(key).__name__}), expected a string key")


def _text(value: str, path: str) -> str:
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise CanonicalError(f"{path}: got text with a lone surrogate ({value[:40]!a}), expected valid Unicode")
    return value
