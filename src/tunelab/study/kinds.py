"""Which methods train which kind of model: refused while planning if the configuration is there, else in the step."""

from __future__ import annotations

from tunelab.errors import StudyError
from tunelab.models.kind import Kind

TRAINED_BY: dict[Kind, tuple[str, ...]] = {"causal": ("sft", "grpo", "dpo"), "encoder-decoder": ("seq2seq",)}


def refuse_unlike(where: str, method: str, model: str, kind: Kind) -> None:
    """Raise StudyError for a method that cannot train this kind of model; ``where`` is the setting's place."""
    if method not in TRAINED_BY[kind]:
        raise StudyError(
            f"{where}: got {method!r} for {model}, which is {'a' if kind == 'causal' else 'an'} {kind} model, "
            f"expected {' or '.join(TRAINED_BY[kind])}"
        )
