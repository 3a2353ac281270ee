"""How many tokens a model was made for, and the refusal of texts that are longer.

Beyond its context a model with learnt positions crashes in the middle of a run, and one with rotary positions
answers nonsense that is scored like any answer. So every prompt with its budget, and every training row, is compared
with the model's own configuration before anything is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunelab.errors import DataError


def context_length(config: Any) -> int | None:
    """Return the positions that a model's configuration allows, or None for an architecture without a limit.

    YaRN (Peng et al. 2023) declares the length before it was stretched, and the factor.
    """
    text = config.get_text_config()
    declared: int | None = getattr(text, "max_position_embeddings", None)
    rope: Mapping[str, Any] = getattr(text, "rope_parameters", None) or {}
    if declared is None or rope.get("rope_type") != "yarn":
        return declared
    original: int = rope.get("original_max_position_embeddings") or declared
    return max(declared, int(original * rope.get("factor", 1)))


def refuse_long_prompts(prompts: Mapping[str, int], budget: int, config: Any) -> None:
    """Raise DataError when a prompt (its tokens by id) and a budget of new tokens exceed the context together."""
    context = context_length(config)
    if context is None:
        return
    beyond = [name for name, tokens in prompts.items() if tokens + budget > context]
    if beyond:
        longest = max(beyond, key=lambda name: prompts[name])
        raise DataError(
            f"context: {len(beyond)} of {len(prompts)} prompts do not fit with their answers: {longest} has "
            f"{prompts[longest]} tokens and its budget is max_new_tokens = {budget}, expected at most {context} "
            "together, the model's context; lower max_new_tokens, use shorter rows or fewer worked examples, "
            "or a model with a longer context"
        )


def refuse_long_rows(longest: int, config: Any) -> None:
    """Raise DataError when the longest training row, in tokens, exceeds the context."""
    context = context_length(config)
    if context is not None and longest > context:
        raise DataError(
            f"context: the longest training row has {longest} tokens, expected at most {context}, the model's context; "
            f"set max_length to {context} to leave longer rows out, or use a model with a longer context"
        )
