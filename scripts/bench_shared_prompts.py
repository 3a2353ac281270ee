"""How much does GRPO's training pass save by computing a prompt once? Trees against TRL's padded rows.

    python scripts/bench_shared_prompts.py [--prompts 60 500] [--rounds 5]

A Llama of 13 million parameters, initialised at random, scores two groups of 8 completions of 20 to 100 made-up tokens,
forwards and backwards, in fp32 on one thread. Log-probabilities must be equal within 1e-4 and gradients within 1e-5
before a ratio is printed; the ways take turns, and CPU-seconds count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer.utils import add_fused_lm_head

from tunelab.models.load import quiet
from tunelab.models.memory import keep_freed_memory
from tunelab.models.packed_attention import packed_attention
from tunelab.models.supervised_head import add_scored_places
from tunelab.training.shared_prompts import grow

GROUPS, MEMBERS, WORDS = 2, 8, 32_000
Pairs = list[tuple[list[int], list[int]]]


def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "vocab_size": WORDS}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True}
    return LlamaForCausalLM(LlamaConfig(pad_token_id=0, **sizes, **heads)).train()


def completions(prompt: int) -> Pairs:
    """Return pairs of prompt and completion."""
    draw = torch.Generator().manual_seed(0)
    found: Pairs = []
    for _ in range(GROUPS):
        ids = torch.randint(3, WORDS, (prompt,), generator=draw).tolist()
        lengths = torch.randint(20, 101, (MEMBERS,), generator=draw).tolist()
        found += [(ids, torch.randint(3, WORDS, (length,), generator=draw).tolist()) for length in lengths]
    return found


def padded(trained: LlamaForCausalLM, pairs: Pairs) -> torch.Tensor:
    """Score completions as TRL does."""
    longest = max(len(completion) for _, completion in pairs)
    ids = torch.tensor([[*p, *c, *[0] * (longest - len(c))] for p, c in pairs])
    mask = torch.tensor([[1] * len(p + c) + [0] * (longest - len(c)) for p, c in pairs])
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-longest] = -100
    found = trained(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    return found.log_probs[:, -longest:][mask[:, -longest:].bool()]


def shared(trained: LlamaForCausalLM, pairs: Pairs) -> torch.Tensor:
    """Score them behind one prompt a group."""
    tree = grow(pairs)
    with packed_attention(trained):
        places = {"places": torch.tensor(tree.places), "targets": torch.tensor(tree.targets)}
        return trained(**tree.inputs("cpu"), **places)["log_probs"]


def scored(
    score: Callable[[LlamaForCausalLM, Pairs], torch.Tensor], trained: LlamaForCausalLM, pairs: Pairs
) -> tuple[float, torch.Tensor]:
    """Return the CPU-seconds of a pass forwards and backwards, and the log-probabilities."""
    trained.zero_grad()
    start = time.process_time()
    found = score(trained, pairs)
    (found * torch.linspace(-1, 1, len(found))).sum().backward()
    return time.process_time() - start, found.detach()


def main() -> int:
    """Print a line for each length of prompts; 1 where results differ."""
    parser = argparse.ArgumentParser(description="Compare GRPO's training passes on equal results.")
    parser.add_argument("--prompts", type=int, nargs="+", default=[60, 500])
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    keep_freed_memory()
    trained = {padded: model(), shared: model()}
    add_fused_lm_head(trained[padded], outputs=("log_probs", "entropy"))
    add_scored_places(trained[shared], 1.0)
    equal = True
    for prompt in asked.prompts:
        pairs = completions(prompt)
        first = {way: scored(way, trained[way], pairs)[1] for way in (padded, shared)}
        slopes = zip(trained[shared].parameters(), trained[padded].parameters(), strict=True)
        off = max(
            float((a.grad - b.grad).norm() / b.grad.norm())
            for a, b in slopes
            if b.grad is not None and a.grad is not None
        )
        apart = float((first[shared] - first[padded]).abs().max())
        print(f"prompt {prompt}: log-probabilities within {apart:.1e}, gradients within {off:.1e}", flush=True)
        if apart > 1e-4 or off > 1e-5:
            equal = False
            continue
        times = {way: [] for way in (padded, shared)}
        for _ in range(asked.rounds):
            for way in (padded, shared, shared, padded):
                times[way].append(scored(way, trained[way], pairs)[0])
        ours, theirs = (statistics.median(times[way]) for way in (shared, padded))
        told = f"shared {ours:.2f}, padded {theirs:.2f}, ratio {theirs / ours:.2f}"
        print(f"  CPU-seconds: {told}; load {os.getloadavg()[0]:.1f}", flush=True)
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
