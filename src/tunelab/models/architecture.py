"""What a model is made of, read from its ``config.json`` as it stands: every matrix by its name, and the rest counted.

Sizes of weights, adapters and caches follow from this without loading anything. A family is described here only where
its count was compared with the model that transformers builds; what is not known exactly (mixtures of experts, models
that see, a field that is missing) is None, never a guess. Names and shapes are those of the modules in transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunelab.models.kind import Kind

Config = Mapping[str, Any]
Shape = tuple[int, int]
"""Rows and columns of a matrix: what it gives and what it takes."""

EMBEDDINGS = ("model.embed_tokens", "lm_head", "shared")
"""Matrices as high as the vocabulary: neither a linear layer to ``all-linear`` nor ever of 4 bits."""


@dataclass(frozen=True)
class Family:
    """How the causal models of one type differ from the first of them, Llama (Touvron et al. 2023).

    ``biases`` and ``mlp_biases`` are the fields that say whether there are any, or the answer where the type has none.
    """

    norms: int = 2
    """Norms around a layer's two halves."""
    norms_of_heads: bool = False
    biases: str | bool = "attention_bias"
    output_bias: bool = True
    """Whether these biases are also on what joins the heads."""
    mlp_biases: str | bool = False
    fused: bool = False
    """One matrix for queries, keys and values, one for both halves of the gated MLP."""
    tied: bool = False
    head_dim: int | None = None
    kv_heads: int | None = None
    """Defaults of fields that a file may leave out; None: all heads, and the width shared out among them."""
    sliding: int = 0
    """Of so many layers all but the last look at a window only; 0: those that ``layer_types`` names, 1: all."""
    window: int | None = None
    eager: bool = False
    """Whether attention keeps a weight for every pair of tokens, since the fused kernel cannot do what it does."""


FAMILIES: dict[str, Family] = {
    "llama": Family(mlp_biases="mlp_bias"),
    "mistral": Family(biases=False, kv_heads=8, sliding=1, window=4096),
    "qwen2": Family(biases=True, output_bias=False, kv_heads=32),
    "qwen3": Family(norms_of_heads=True, head_dim=128, kv_heads=32),
    "gemma": Family(tied=True, head_dim=256, kv_heads=16),
    "gemma2": Family(norms=4, tied=True, head_dim=256, kv_heads=4, sliding=2, window=4096, eager=True),
    "gemma3_text": Family(norms=4, norms_of_heads=True, tied=True, head_dim=256, kv_heads=4, sliding=6, window=4096),
    "phi3": Family(biases=False, fused=True, sliding=1),
}
T5_TYPES = ("t5", "mt5")


@dataclass(frozen=True)
class Architecture:
    """The parts of a model. ``layers`` are those of the decoder, which alone has a cache."""

    kind: Kind
    matrices: Mapping[str, Shape]
    """Every weight matrix by its module's name; a tied head is none of its own."""
    vectors: int
    """Parameters beside them: norms and biases."""
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_dim: int
    windows: tuple[int | None, ...]
    """For each layer of the decoder, the tokens that it looks back at; None: all."""
    family: Family = Family()
    gated: bool = True
    encoder_layers: int = 0

    @property
    def parameters(self) -> int:
        """How many numbers the model has learnt."""
        return self.vectors + sum(rows * columns for rows, columns in self.matrices.values())

    @property
    def linears(self) -> dict[str, Shape]:
        """The matrices that an adapter on all linear layers is put on."""
        return {name: shape for name, shape in self.matrices.items() if not is_embedding(name)}

    def without_head(self) -> Architecture:
        """Return the model as a classifier has it: it reads words and writes none."""
        return replace(self, matrices={n: s for n, s in self.matrices.items() if n != "lm_head"}, vocabulary=0)


def is_embedding(name: str) -> bool:
    """Say whether a matrix belongs to the vocabulary, or to T5's table of distances."""
    return name in EMBEDDINGS or name.endswith("relative_attention_bias")


def architecture(config: Config) -> Architecture | None:
    """Return what a configuration describes, or None where it is not known exactly, as of weights quantised before."""
    try:
        if config.get("quantization_config"):
            return None
        if config["model_type"] in T5_TYPES:
            return _t5(config)
        family = FAMILIES.get(config["model_type"])
        return None if family is None else _causal(config, family)
    except (KeyError, TypeError):
        return None  # a field that has no default here


def _causal(config: Config, family: Family) -> Architecture:
    hidden, heads, layers = config["hidden_size"], config["num_attention_heads"], config["num_hidden_layers"]
    kv_heads = _first(config.get("num_key_value_heads"), family.kv_heads, heads)
    head_dim = _first(config.get("head_dim"), family.head_dim, hidden // heads)
    inner, vocabulary = config["intermediate_size"], config["vocab_size"]
    layer = _layer(family, hidden, inner, heads * head_dim, kv_heads * head_dim)
    matrices = {f"model.layers.{i}.{name}": shape for i in range(layers) for name, shape in layer.items()}
    embeddings = {"model.embed_tokens": (vocabulary, hidden), "lm_head": (vocabulary, hidden)}
    if _first(config.get("tie_word_embeddings"), family.tied):
        del embeddings["lm_head"]
    biases = sum(rows for name, (rows, _) in layer.items() if _has_bias(config, family, name))
    norms = family.norms * hidden + (2 * head_dim if family.norms_of_heads else 0)
    return Architecture(
        kind="causal",
        matrices={**embeddings, **matrices},
        vectors=layers * (biases + norms) + hidden,
        layers=layers,
        hidden=hidden,
        intermediate=inner,
        vocabulary=vocabulary,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        windows=_windows(config, family, layers),
        family=family,
    )


def _layer(family: Family, hidden: int, inner: int, queries: int, keys: int) -> dict[str, Shape]:
    """The matrices of one layer, whose attention has queries and keys of these widths."""
    if family.fused:
        into = {"self_attn.qkv_proj": (queries + 2 * keys, hidden)}
        wide = {"mlp.gate_up_proj": (2 * inner, hidden)}
    else:
        widths = {"q": queries, "k": keys, "v": keys}
        into = {f"self_attn.{name}_proj": (width, hidden) for name, width in widths.items()}
        wide = {f"mlp.{name}_proj": (inner, hidden) for name in ("gate", "up")}
    return {**into, "self_attn.o_proj": (hidden, queries), **wide, "mlp.down_proj": (hidden, inner)}


def _has_bias(config: Config, family: Family, name: str) -> bool:
    declared = family.mlp_biases if name.startswith("mlp.") else family.biases
    has = config.get(declared, False) if isinstance(declared, str) else declared
    return bool(has) and (family.output_bias or name != "self_attn.o_proj")


def _windows(config: Config, family: Family, layers: int) -> tuple[int | None, ...]:
    """Return what each layer looks back at. Qwen's window counts only where ``use_sliding_window`` says so."""
    window = config.get("sliding_window", family.window)
    if window is None or not (family.sliding or config.get("use_sliding_window")):
        return (None,) * layers
    every = config.get("sliding_window_pattern") or family.sliding
    first = config.get("max_window_layers", 28) if not every else 0
    default = [
        "sliding_attention" if i >= first and (every < 2 or (i + 1) % every) else "full_attention"
        for i in range(layers)
    ]
    types = config.get("layer_types") or default
    return tuple(window if kind == "sliding_attention" else None for kind in types)


def _t5(config: Config) -> Architecture:
    """T5 (Raffel et al. 2020): an encoder and a decoder that share their embeddings, and have no biases."""
    hidden, inner, width = config["d_model"], config["d_ff"], config["num_heads"] * config["d_kv"]
    encoder, decoder = config["num_layers"], _first(config.get("num_decoder_layers"), config["num_layers"])
    gated = config.get("feed_forward_proj", "relu").startswith("gated")
    attention = {**dict.fromkeys("qkv", (width, hidden)), "o": (hidden, width)}
    dense = {**dict.fromkeys(("wi_0", "wi_1") if gated else ("wi",), (inner, hidden)), "wo": (hidden, inner)}
    matrices: dict[str, Shape] = {"shared": (config["vocab_size"], hidden)}
    if config.get("tie_word_embeddings") is False:
        matrices["lm_head"] = (config["vocab_size"], hidden)
    for stack, layers in (("encoder", encoder), ("decoder", decoder)):
        parts = {"SelfAttention": attention, "DenseReluDense": dense}
        if stack == "decoder":
            parts = {"SelfAttention": attention, "EncDecAttention": attention, "DenseReluDense": dense}
        for i in range(layers):
            for at, (part, found) in enumerate(parts.items()):
                matrices |= {f"{stack}.block.{i}.layer.{at}.{part}.{name}": shape for name, shape in found.items()}
        distances = (config.get("relative_attention_num_buckets", 32), config["num_heads"])
        matrices[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias"] = distances
    return Architecture(
        kind="encoder-decoder",
        matrices=matrices,
        vectors=hidden * (2 * encoder + 3 * decoder + 2),
        layers=decoder,
        hidden=hidden,
        intermediate=inner,
        vocabulary=config["vocab_size"],
        heads=config["num_heads"],
        kv_heads=config["num_heads"],
        head_dim=config["d_kv"],
        windows=(None,) * decoder,
        gated=gated,
        encoder_layers=encoder,
    )


def _first(*found: Any) -> Any:
    """Return the first that is not None."""
    return next(value for value in found if value is not None)
