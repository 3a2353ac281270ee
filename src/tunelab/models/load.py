"""Loading models, adapters and tokenizers through transformers and peft, quietly and with clear errors."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from tunelab.errors import ModelError
from tunelab.models.device import Device, Precision
from tunelab.models.memory import keep_freed_memory
from tunelab.models.spec import TINY, ModelRef

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
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


def load_model(ref: ModelRef, device: Device, precision: Precision, adapter: Path | None = None) -> Any:
    """Load a causal model onto a device, with the LoRA adapter in ``adapter`` when given. Raises ModelError."""
    return _load(AutoModelForCausalLM, ref, device, precision, adapter)


def load_backbone(ref: ModelRef, device: Device, precision: Precision, adapter: Path | None = None) -> Any:
    """Load the same without its language-model head. Raises ModelError."""
    return _load(AutoModel, ref, device, precision, adapter)


def _load(kind: Any, ref: ModelRef, device: Device, precision: Precision, adapter: Path | None) -> Any:
    quiet()
    limit_threads(ref)
    if device == "cpu":
        keep_freed_memory()
    model = _loading(ref, kind.from_pretrained, ref.location, revision=ref.revision, dtype=DTYPES[precision])
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter))
    return model.to(device).eval()


@dataclass
class _Threads:
    """The number of threads that the tiny model took from the process; None while it took none."""

    before: int | None = None


_threads = _Threads()


def limit_threads(ref: ModelRef) -> None:
    """Give the tiny model one thread, as more cost it more than they bring; any other gets back what there was.

    A number that somebody else has set since is left alone.
    """
    alone = ref.name == TINY and "OMP_NUM_THREADS" not in os.environ
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
