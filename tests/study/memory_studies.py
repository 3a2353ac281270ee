"""Studies whose memory is estimated, and what a plan says of it: models are there as configurations alone."""

import json

from study_files import changed, compiled

from tunelab.engine.store import Store
from tunelab.study.fitting import needs
from tunelab.study.open import Opened

GIB = 1 << 30
SEVEN_BILLION = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
}  # fmt: skip
SFT = {"format": "chat", "loss": "all"}
LORA = SFT | {"adaptation": "lora"}
GRPO = {"format": "chat", "method": "grpo", "batch_size": 8, "grpo": {"num_generations": 8}}
LONG = GRPO | {"adaptation": "lora", "grpo": {"num_generations": 8, "max_new_tokens": 8192}}
SMALL = {"gradient_checkpointing": True, "micro_batch_size": 1}
OFF = {"gradient_checkpointing": False}


def folder_of(folder, config=SEVEN_BILLION):
    """A model's folder as a plan needs it: a configuration, and no weights. Nothing counts tokens there."""
    made = folder / "model"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(config))
    return str(made)


def planned(folder, entry, model=None, hardware=None, **fields):
    """A study of one trained variant and its base, over an empty store."""
    fields |= {"model": model or folder_of(folder), "hardware": {"device": "cpu", **(hardware or {})}}
    raw = changed(**{"train": {"one": entry}, "evaluate": {"chat": {"format": "chat"}}, **fields})
    return Opened(compiled(folder, raw), Store(folder / "store"))


def needed(opened, room=None):
    """Needs by kind and readable name."""
    return {f"{n.step.kind}/{n.step.slug}": n for n in needs(opened, opened.plan(), room).values()}


def trained(folder, entry, room=None, **fields):
    return needed(planned(folder, entry, **fields), room)["train/one"]
