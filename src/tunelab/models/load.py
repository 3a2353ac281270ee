"""Loading models, adapters and tokenizers through transformers and peft, quietly and with clear errors."""

from __future__ import annotations

import logging
import os
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from tunelab.canonical import canonical
from tunelab.errors import ModelError
from tunelab.formats.encoder_decoder import EncoderDecoderRenderer
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer, Shot
from tunelab.models.device import Device, Precision
from tunelab.models.four_bit import TYPES, FourBit, settle
from tunelab.models.kind import Kind, kind_of
from tunelab.models.memory import give_back, keep_freed_memory
from tunelab.models.products import multiply_faster
from tunelab.models.resident import resident
from tunelab.models.spec import BUNDLED, ModelRef

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it speaks while peft imports it
ENDS_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "</s>")


def load_tokenizer(ref: ModelRef) -> PreTrainedTokenizerBase:
    """Load a tokenizer that pads on the left and has a pad token. Raises ModelError."""
    tokenizer = _loading(ref, AutoTokenizer.from_pretrained, ref.location, revision=ref.revision)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = _padding(ref, tokenizer)
    tokenizer.padding_side = "left"
    return tokenizer


def _padding(ref: ModelRef, tokenizer: Any) -> str:
    """Return the token to pad with where none is set; padding is masked, so any token of the vocabulary will do."""
    vocabulary = tokenizer.get_vocab()
    for token in (tokenizer.eos_token, *ENDS_OF_TURN, tokenizer.unk_token):
        if token in vocabulary:
            return token
    raise ModelError(
        f"model {ref.name!r}: its tokenizer has no pad, end or unknown token; set pad_token in {ref.location}"
    )


def load_config(ref: ModelRef) -> Any:
    """Load a model's configuration without its weights. Raises ModelError."""
    return _loading(ref, AutoConfig.from_pretrained, ref.location, revision=ref.revision)


def load_kind(ref: ModelRef) -> Kind:
    """Return what kind a model is. Raises ModelError."""
    return kind_of(load_config(ref))


def load_renderer(ref: ModelRef, fmt: Format, shots: Sequence[Shot] = ()) -> Renderer:
    """Load what renders for a model under a format, by the model's kind. Raises ModelError or FormatError."""
    kind = EncoderDecoderRenderer if load_kind(ref) == "encoder-decoder" else Renderer
    return kind(load_tokenizer(ref), fmt, shots)


def load_model(
    ref: ModelRef, device: Device, precision: Precision, adapter: Path | None = None, four_bit: FourBit | None = None
) -> Any:
    """Load a causal or encoder-decoder model onto a device, in 4 bit and with the LoRA adapter in a folder if given.

    Raises ModelError.
    ``precision`` is that of the weights; of those that are not in 4 bit, where ``four_bit`` says so.
    """
    kind = AutoModelForSeq2SeqLM if load_kind(ref) == "encoder-decoder" else AutoModelForCausalLM
    return _load(kind, ref, device, precision, adapter, four_bit)


def load_resident(
    ref: ModelRef, device: Device, precision: Precision, adapter: Path | None = None, four_bit: FourBit | None = None
) -> Any:
    """Return the same for answering, on the base that this process keeps. Raises ModelError.

    It is valid until the next model is loaded, by whatever function.
    """
    quiet()
    key = canonical([asdict(ref), device, precision, asdict(four_bit) if four_bit else None])
    base = resident.take(key, lambda: load_model(ref, device, precision, four_bit=four_bit))
    if adapter is None:
        return base
    try:
        resident.adapted = _adapted(ref, base, adapter).to(device).eval()
    except ModelError:
        resident.release()  # half of the adapter may be on it
        raise
    return resident.adapted


def load_backbone(
    ref: ModelRef, device: Device, precision: Precision, adapter: Path | None = None, four_bit: FourBit | None = None
) -> Any:
    """Load the same without its language-model head. Raises ModelError."""
    return _load(AutoModel, ref, device, precision, adapter, four_bit)


def _load(
    kind: Any, ref: ModelRef, device: Device, precision: Precision, adapter: Path | None, four_bit: FourBit | None
) -> Any:
    resident.release()
    _forget_unused()
    quiet()
    limit_threads(ref)
    if device == "cpu":
        keep_freed_memory()
    how = four_bit.loading(device) if four_bit else {"dtype": TYPES[precision]}
    model = _loading(ref, kind.from_pretrained, ref.location, revision=ref.revision, **how)
    _loaded.append(weakref.ref(model))
    model = settle(model, TYPES[precision]) if four_bit else model.to(device)
    multiply_faster(model)
    return (_adapted(ref, model, adapter).to(device) if adapter else model).eval()


_loaded: list[weakref.ref[Any]] = []
"""The models of this process, until they are destroyed."""
WORTH = 64 << 20
"""Bytes of models that are worth looking for: it takes a tenth of a second."""


def _forget_unused() -> None:
    """Destroy models that nobody uses any more: trainers refer to theirs in circles, which keep them."""
    alive = [model for model in (ref() for ref in _loaded) if model is not None]
    _loaded[:] = [weakref.ref(model) for model in alive]
    size = sum(map(_bytes_of, alive))
    alive.clear()
    if size >= WORTH:
        give_back()


def _bytes_of(model: Any) -> int:
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def _adapted(ref: ModelRef, model: Any, adapter: Path) -> Any:
    """Put an adapter onto its base. Raises ModelError where it was made for another."""
    from peft import PeftModel

    from tunelab.models.lora_layers import add_in_place

    try:
        adapted = PeftModel.from_pretrained(model, str(adapter))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"adapter {adapter}: does not fit the model {ref.name!r} ({reason})") from error
    add_in_place(adapted)
    return adapted


@dataclass
class _Threads:
    """The number of threads that a bundled model took from the process; None while it took none."""

    before: int | None = None


_threads = _Threads()


def limit_threads(ref: ModelRef) -> None:
    """Give a bundled model one thread, as more cost it more than they bring; any other gets back what there was.

    A number that somebody else has set since is left alone.
    """
    alone = ref.name in BUNDLED and "OMP_NUM_THREADS" not in os.environ
    now = torch.get_num_threads()
    if alone and now != 1:
        _threads.before = now
        torch.set_num_threads(1)
    elif not alone and _threads.before is not None:
        torch.set_num_threads(_threads.before if now == 1 else now)
        _threads.before = None


def quiet() -> None:
    """Keep the libraries' progress bars and advice out of our own output."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def _loading(ref: ModelRef, loader: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return loader(*args, **kwargs)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"model {ref.name!r}: cannot be loaded from {ref.location} ({reason})") from error
