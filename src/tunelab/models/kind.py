"""What kind of model a configuration describes: one that continues a text, or one that reads a text and writes another.

The kind is the configuration's, never a setting: it decides how a model is loaded, what its prompts look like, how it
answers and which methods can train it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tunelab.errors import ModelError

Kind = Literal["causal", "encoder-decoder"]

ENCODER_DECODERS = ("bart", "blenderbot", "led", "longt5", "m2m_100", "marian", "mbart", "mt5", "pegasus", "t5", "umt5")
"""Model types of files that do not say it, since it is their default."""


def kind_of(config: Any) -> Kind:
    """Return the kind of a loaded configuration."""
    return "encoder-decoder" if getattr(config, "is_encoder_decoder", False) else "causal"


def declared_kind(config: Mapping[str, Any]) -> Kind:
    """Return the kind of a ``config.json`` as it was read."""
    declared = config.get("is_encoder_decoder", config.get("model_type") in ENCODER_DECODERS)
    return "encoder-decoder" if declared else "causal"


def decoder_start(config: Any) -> int:
    """Return the id that a decoder starts from; pad where nothing is said, as in T5. Raises ModelError for none."""
    start = getattr(config, "decoder_start_token_id", None)
    found = config.pad_token_id if start is None else start
    if found is None:
        raise ModelError(f"{config.model_type} model: has no decoder_start_token_id, expected one in its config.json")
    return found
