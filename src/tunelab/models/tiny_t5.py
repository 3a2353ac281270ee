"""``tiny-t5``: an encoder-decoder model of the T5 family for tests and ``--smoke``, made here in a moment.

It has Flan-T5's architecture (T5 1.1: gated GELU, an output layer of its own) at 263,000 parameters and the bundled
tokenizer with T5's special tokens and no chat template. It has learnt nothing: its weights are random, drawn from a
fixed seed by a generator whose numbers are the same on every machine. The folder is written once, into the cache.

Neither torch nor transformers is needed to make it, since planning asks what it is.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from tunelab.files import sync_file, write_json

SEED = 0
WIDTH, HEAD, HEADS, INNER, LAYERS, BUCKETS, VOCABULARY = 64, 16, 4, 128, 2, 32, 512
PAD, UNKNOWN, END = "<pad>", "<unk>", "</s>"
SPECIAL = {"<|endoftext|>": PAD, "<|im_start|>": UNKNOWN, "<|im_end|>": END}
"""The bundled tokenizer's special tokens and what they are called here, in the order of their ids."""
SPREAD = {"shared": 1.0, "lm_head": 0.3, "q": 0.09}
"""Standard deviations by name; T5 divides no attention score, so its queries are small."""
OTHERS = 0.18
IDS: dict[str, int] = {"pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0}
CONFIG: dict[str, Any] = {
    "architectures": ["T5ForConditionalGeneration"],
    "model_type": "t5",
    "is_encoder_decoder": True,
    "vocab_size": VOCABULARY,
    "d_model": WIDTH,
    "d_kv": HEAD,
    "d_ff": INNER,
    "num_layers": LAYERS,
    "num_decoder_layers": LAYERS,
    "num_heads": HEADS,
    "relative_attention_num_buckets": BUCKETS,
    "relative_attention_max_distance": 128,
    "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "dtype": "float32",
    **IDS,
}


def made(root: Path, bundled: Path) -> Path:
    """Return the model's folder under ``root``, written if it is not there; ``bundled`` holds the bundled model."""
    folder = root / "tiny-t5-1"
    if not folder.is_dir():
        whole = root / f".{folder.name}.{uuid.uuid4().hex}.tmp"
        whole.mkdir(parents=True)
        try:
            _write(whole, bundled)
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was faster
                raise
        finally:
            shutil.rmtree(whole, ignore_errors=True)
    return folder


def _write(folder: Path, bundled: Path) -> None:
    write_json(folder / "config.json", CONFIG)
    write_json(folder / "generation_config.json", IDS)
    write_json(folder / "tokenizer.json", _tokenizer((bundled / "tokenizer.json").read_text(encoding="utf-8")))
    named = {"tokenizer_class": "TokenizersBackend", "pad_token": PAD, "unk_token": UNKNOWN, "eos_token": END}
    write_json(folder / "tokenizer_config.json", {"backend": "tokenizers", "model_max_length": 512, **named})
    weights = folder / "model.safetensors"
    save_file(weights_of(SEED), weights, metadata={"format": "pt"})
    sync_file(weights)


def _tokenizer(bundled: str) -> dict[str, Any]:
    """Rename the bundled tokenizer's special tokens, and let it end every text as T5's does."""
    for ours, theirs in SPECIAL.items():
        bundled = bundled.replace(json.dumps(ours), json.dumps(theirs))
    found: dict[str, Any] = json.loads(bundled)
    end = {"SpecialToken": {"id": END, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    found["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [first, end],
        "pair": [first, end, second, end],
        "special_tokens": {END: {"id": END, "ids": [IDS["eos_token_id"]], "tokens": [END]}},
    }
    return found


def weights_of(seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights by their names in transformers' T5, float32. Norms are 1, all others uniform around 0."""
    numbers = np.random.RandomState(seed)
    return {name: _drawn(name, shape, numbers) for name, shape in _shapes()}


def _drawn(name: str, shape: tuple[int, ...], numbers: np.random.RandomState) -> npt.NDArray[np.float32]:
    if len(shape) == 1:
        return np.ones(shape, dtype=np.float32)
    spread = next((value for part, value in SPREAD.items() if f".{part}." in f".{name}"), OTHERS)
    widest = np.sqrt(3.0) * spread
    return (widest * (2 * numbers.random_sample(shape) - 1)).astype(np.float32)


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "shared.weight", (VOCABULARY, WIDTH)
    for stack, attentions in (("encoder", ("SelfAttention",)), ("decoder", ("SelfAttention", "EncDecAttention"))):
        for block in range(LAYERS):
            yield from _block(f"{stack}.block.{block}.layer", attentions, first=block == 0)
        yield f"{stack}.final_layer_norm.weight", (WIDTH,)
    yield "lm_head.weight", (VOCABULARY, WIDTH)


def _block(place: str, attentions: tuple[str, ...], first: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield one block's weights: its attentions, the first of which places tokens, and its feed-forward layer."""
    for layer, attention in enumerate(attentions):
        for part in "qkv":
            yield f"{place}.{layer}.{attention}.{part}.weight", (HEADS * HEAD, WIDTH)
        yield f"{place}.{layer}.{attention}.o.weight", (WIDTH, HEADS * HEAD)
        if first and attention == "SelfAttention":
            yield f"{place}.{layer}.{attention}.relative_attention_bias.weight", (BUCKETS, HEADS)
        yield f"{place}.{layer}.layer_norm.weight", (WIDTH,)
    layer = len(attentions)
    for part, shape in (("wi_0", (INNER, WIDTH)), ("wi_1", (INNER, WIDTH)), ("wo", (WIDTH, INNER))):
        yield f"{place}.{layer}.DenseReluDense.{part}.weight", shape
    yield f"{place}.{layer}.layer_norm.weight", (WIDTH,)
