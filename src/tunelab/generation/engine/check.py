"""Whether the engine computes what a model computes: its declarations are read, and its logits compared once.

The comparison reads two short sequences with a shared beginning, packed and a token at a time, and each of them
plainly. What it cannot show, because it is short, is read from the configuration: windows that attention is never told
of, positions that are scaled by a text's length, and other rules of drawing than a repetition penalty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch

from tunelab.errors import ModelError
from tunelab.generation.engine.cache import Slots
from tunelab.generation.engine.model import PackedModel
from tunelab.generation.engine.reading import Drawing, New, Reading
from tunelab.models.kind import kind_of

SHARED, LENGTHS, DRAWN = 5, (9, 14), 2
"""Tokens that the compared sequences begin with, their lengths, and how many of these are read one at a time."""
CLOSE = {torch.float64: 1e-6, torch.float32: 2e-3}
CLOSE_IN_HALF = 0.3
"""Largest difference of logits, in standard deviations of them: rounding is below, another attention far above."""
BY_LENGTH = ("dynamic", "longrope")
LAYERS = ("full_attention", "sliding_attention")
OTHER_RULES = {
    "num_beams": (None, 1),
    "no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1.0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "bad_words_ids": (None,),
    "sequence_bias": (None,),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "exponential_decay_length_penalty": (None,),
    "guidance_scale": (None, 1.0),
    "penalty_alpha": (None,),
    "stop_strings": (None, []),
    "max_time": (None,),
    "watermarking_config": (None,),
    "prompt_lookup_num_tokens": (None,),
}
"""Generation settings that transformers would obey, and the values that mean nothing."""

_known: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def refusal(model: Any) -> str:
    """Return why a model is not the engine's, an empty text where it is; looked into once for a loaded model."""
    if model not in _known:
        _known[model] = _declared(model) or _compared(model)
    return _known[model]


def _declared(model: Any) -> str:
    config = model.config.get_text_config()
    if kind_of(model.config) == "encoder-decoder":
        return "it has an encoder"
    for name, neutral in OTHER_RULES.items():
        if (value := getattr(model.generation_config, name, None)) not in neutral:
            return f"its generation settings say {name} = {value}"
    if scaled := [kind for kind in _rope_types(config) if kind in BY_LENGTH]:
        return f"its positions are scaled by the length of a text ({scaled[0]})"
    if getattr(config, "attention_chunk_size", None):
        return "it attends in chunks"
    if other := sorted(set(getattr(config, "layer_types", None) or ()) - set(LAYERS)):
        return f"it has layers of {', '.join(other)}"
    return ""


def _rope_types(config: Any) -> list[str]:
    """Return the kinds of rotary positions, which some models have by kind of layer."""
    declared = getattr(config, "rope_parameters", None) or {}
    several = [declared, *(value for value in declared.values() if isinstance(value, dict))]
    return [str(one["rope_type"]) for one in several if "rope_type" in one]


def _compared(model: Any) -> str:
    training = model.training
    model.eval()
    try:
        return _difference(model)
    except (ModelError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        return f"it cannot read packed tokens ({' '.join(str(error).split())[:160]})"
    finally:
        model.train(training)


@torch.no_grad()
def _difference(model: Any) -> str:
    texts = _texts(model.config.get_text_config().vocab_size)
    windows: dict[int, int | None] = {}
    packed = PackedModel(model, texts[0][:SHARED])
    found, computed = _packed(packed, texts, windows), _computed(packed)
    if missing := _unheeded(model.config.get_text_config(), windows):
        return missing
    for text, logits in zip(texts, found, strict=True):
        tokens = torch.tensor([text], device=model.device)
        plain = model(input_ids=tokens, use_cache=False).logits[0, -len(logits) :].float()
        apart = float((logits - plain).abs().max() / plain.std())
        if not apart <= CLOSE.get(computed, CLOSE_IN_HALF):
            return f"its logits differ from the plain ones by {apart:.2g} of their standard deviation"
    return ""


def _computed(model: PackedModel) -> torch.dtype:
    """Return the type that a model computes in, which under autocast is not that of its weights."""
    layers = [] if model.prefix is None else list(model.prefix.layers.values())
    return layers[0][0].dtype if layers else model.model.dtype


def _texts(vocabulary: int) -> list[list[int]]:
    draws = torch.randint(vocabulary, (sum(LENGTHS),), generator=torch.Generator().manual_seed(0)).tolist()
    one, other = draws[: LENGTHS[0]], draws[LENGTHS[0] :]
    return [one, one[:SHARED] + other[SHARED:]]


def _packed(model: PackedModel, texts: Sequence[list[int]], windows: dict[int, int | None]) -> list[torch.Tensor]:
    """Return the last ``DRAWN`` + 1 logits of each text, (DRAWN + 1, vocabulary), as the engine computes them."""
    owns = [model.own(text) for text in texts]
    slots = Slots(len(texts), max(map(len, owns)))
    slots.make_room(max(map(len, owns)))
    new = [New(own[:-DRAWN], slot) for slot, own in enumerate(owns)]
    reading = Reading(model.device, new=new, prefix=model.prefix, slots=slots, windows=windows)
    made = [model.logits(reading, [end - 1 for _, end, _ in reading.slotted])]
    for at in range(-DRAWN, 0):
        rows = [Drawing(slot, own[at], len(own) + at) for slot, own in enumerate(owns)]
        made.append(model.logits(Reading(model.device, rows, prefix=model.prefix, slots=slots), range(len(rows))))
    return list(torch.stack(made, 1))


def _unheeded(config: Any, windows: dict[int, int | None]) -> str:
    """Say which window attention was not told of; a model might have put it into its mask alone."""
    window = getattr(config, "sliding_window", None)
    if window is None or not getattr(config, "use_sliding_window", True):
        return ""
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    for layer, kind in enumerate(kinds):
        if kind == "sliding_attention" and windows.get(layer) != window:
            return f"its layer {layer} has a window of {window} that attention is not told of"
    return ""
