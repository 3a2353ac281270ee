"""Small models of several architectures with random weights in fp64, where no two tokens are likely to tie."""

import random

import torch
import transformers

VOCABULARY = 97
STOPS = (2, 5, 7, 11)
WINDOW = 8
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
KINDS = ("sliding_attention", "full_attention")
CONFIGS = {
    "llama": ("Llama", {}),
    "qwen2": ("Qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "gemma2": (
        "Gemma2",
        {
            "head_dim": 8,
            "sliding_window": WINDOW,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
            "layer_types": list(KINDS),
        },
    ),
    "gemma3": ("Gemma3", {"head_dim": 8, "sliding_window": WINDOW, "layer_types": list(KINDS)}),
    "mistral": ("Mistral", {"sliding_window": WINDOW}),
}


def made(name, **changes):
    """A model by the name of its architecture, with these settings changed."""
    kind, settings = CONFIGS[name]
    config = getattr(transformers, f"{kind}TextConfig" if kind == "Gemma3" else f"{kind}Config")
    return filled(getattr(transformers, f"{kind}ForCausalLM")(config(**SIZES | settings | changes)))


def filled(model):
    """The same model with larger random weights: its next tokens hang on what it has read."""
    generator = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data.normal_(0, 0.2, generator=generator)
    return model.double().eval()


def prompts(shared, count, longest=20, seed=0):
    """Prompts of mixed lengths that begin with the same ``shared`` ids."""
    rng = random.Random(seed)
    prefix = [rng.randrange(12, VOCABULARY) for _ in range(shared)]
    return [prefix + [rng.randrange(12, VOCABULARY) for _ in range(rng.randint(1, longest))] for _ in range(count)]
