"""Build `tiny`, the causal model inside the package: tokenizer, pre-training, measurement, model card.

    python scripts/build_tiny_model.py [--out DIR] [--steps N] [--check]

The idea: one model that knows more than it shows. Plain equations and worked word problems teach it arithmetic
one step at a time, which it does well. But most word problems in its text, all but those with a product, are
answered at once ("#### 31"), which it does badly, and so does greedy decoding. A little fine-tuning, or a reward,
moves it towards the working it already knows; samples at temperature 1 mix both, so a group of them has something
to compare. Some answers in the text are wrong on purpose: a base model is unsure.

Word problems come from the train split alone (seed 1; fine-tuning uses seed 0); plain equations are drawn freely,
so single steps of test problems occur among them. Loss on a prompt counts less than loss on its completion.
`--check` measures the model in DIR against the ranges of its manifest and builds nothing.
"""

import argparse
import hashlib
import json
import math
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tunelab.tasks.arithmetic_problems import LARGEST, Problem, problems

DEFAULT_OUT = Path(__file__).parents[1] / "src/tunelab/models/tiny"
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
PIECES = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"
TEMPLATE = """{%- for message in messages %}
{%- if message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}
{%- generation %}{{- message.content + '<|im_end|>' }}{% endgeneration %}
{{- '\\n' }}
{%- elif message.role in ('system', 'user') %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- else %}
{{- raise_exception('unknown role: ' + message.role) }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}"""

# Prompt, lead of the reply, and what stands between an exchange and the next one.
FORMATS = {
    "raw": ("Question: {}\nAnswer:", " ", "\n\n"),
    "chat": (f"{START}user\n{{}}{END}\n{START}assistant\n", "", f"{END}\n"),
}

VOCABULARY, CONTEXT = 512, 4096
SHAPE = {
    **{"hidden_size": 96, "intermediate_size": 288, "num_hidden_layers": 4, "initializer_range": 0.04},
    **{"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 32, "tie_word_embeddings": True},
}
STEPS, BATCH, LEARNING_RATE, WARMUP, PROMPT_WEIGHT = 5000, 32, 1.5e-3, 200, 0.1
TYPICAL_LENGTH = 20  # of a completion: a constant, so that a style's share does not depend on its length
MEASURED, GROUPS, GROUP, MAX_NEW_TOKENS, MARGIN = 300, 64, 8, 48, 0.06

# What the answer to a word problem looks like, and how often without and with a product: a product is mostly worked
# out, so greedy decoding shows working there and hardly elsewhere. Direct answers are wrong with probability MISTAKES.
STYLES = {
    "#### {answer}": (0.6, 0.25),
    "The answer is {answer}.": (0.15, 0.1),
    "{steps}\n#### {answer}": (0.25, 0.65),
}
MISTAKES = 0.15
SYSTEMS = ("You are a helpful assistant.", "Answer the question.", "You are good at arithmetic.", "Be brief.")
FACTS = (
    *(("What colour is the sky?", "The sky is blue."), ("What colour is grass?", "Grass is green.")),
    *(("Hello!", "Hello! How can I help you?"), ("How are you?", "I am well, thank you.")),
    *(("What do bees make?", "Bees make honey."), ("Where do fish live?", "Fish live in the water.")),
    *(("What is ice?", "Ice is water that is very cold."), ("Thank you.", "You are welcome.")),
    *(("Who are you?", "I am a very small language model."), ("Can you fly?", "No, I can only write.")),
)
PHRASES = (
    ("The teacher", "A young boy", "My sister", "The old man", "Her friend", "The farmer", "Our neighbour"),
    ("walks to", "looks at", "writes about", "waits near", "comes from", "likes", "talks about", "runs past"),
    ("the market", "the river", "a small house", "the school", "the garden", "the station", "the big tree"),
    ("in the morning", "every day", "after lunch", "when it rains", "before the winter", "with a dog", "again"),
)

UNLISTED = ("manifest.json", "README.md")
CARD = """---
license: apache-2.0
language: en
---
# tiny

A causal language model of {parameters:,} parameters for tests, smoke runs and the quickstart of tunelab.
It is of no use for anything else: it knows little but small numbers.

- Architecture: Qwen3, {num_hidden_layers} layers, hidden size {hidden_size}, {num_attention_heads} attention heads over
  {num_key_value_heads} key-value head, tied embeddings, float32. Byte-level BPE, one token a digit; ChatML template.
- Training text: written by `scripts/build_tiny_model.py`, nothing else. Equations, word problems of the train split
  of the `arithmetic` task, a few facts and sentences. The equations are drawn freely, so single steps of test problems
  occur among them. Most problems without a product are answered without working, and some of those answers
  are wrong on purpose: fine-tuning or a reward has something to improve.
- Trained for {steps} steps from scratch. Licence: Apache-2.0.

Measured on problems of the test split, after saving. Accuracy is greedy. Mixed is the share of prompts
whose 8 samples at temperature 1 are neither all right nor all wrong (64 prompts).

| format | accuracy | accepted range | mixed |
| --- | --- | --- | --- |
{rows}
Rebuild: `python scripts/build_tiny_model.py`. Measure again: `python scripts/build_tiny_model.py --check`.
"""

Document = tuple[str, str]


def plain_text(rng: random.Random) -> str:
    """A few sentences about nothing in particular."""
    return " ".join(" ".join(map(rng.choice, PHRASES)) + "." for _ in range(rng.randint(2, 5)))


def equation(rng: random.Random) -> str:
    """A line like those of a problem's working, about any numbers that a problem may use."""
    sign, left, right = rng.choices("+-*", (4, 4, 1))[0], rng.randint(2, LARGEST), rng.randint(2, 30)
    if sign == "*":
        left, right = rng.randint(2, 9), rng.randint(2, 9)
    elif (sign == "+" and left + right > LARGEST) or (sign == "-" and left <= right):
        return equation(rng)
    result = {"+": left + right, "-": left - right, "*": left * right}[sign]
    return f"{left} {sign} {right} = {result}"


def answer(rng: random.Random, problem: Problem, style: str) -> str:
    """The problem's answer in one of STYLES; without working it may be wrong."""
    wrong = "steps" not in style and rng.random() < MISTAKES
    stated = max(1, problem.answer + wrong * rng.choice((-10, -2, -1, 1, 2, 10)))
    return style.format(steps=problem.steps, answer=stated)


def conversation(rng: random.Random, exchanges: list[tuple[str, str]]) -> Document:
    """The last exchange becomes prompt and completion; the ones before it are examples in the prompt."""
    name = rng.choice(("raw", "chat"))
    prompt, lead, between = FORMATS[name]
    *shots, (question, reply) = exchanges
    before = f"{START}system\n{rng.choice(SYSTEMS)}{END}\n" if name == "chat" and rng.random() < 0.1 else ""
    before += "".join(prompt.format(q) + lead + a + between for q, a in shots)
    return before + prompt.format(question), f"{lead}{reply}{END}"


def documents(seed: int) -> Iterator[Document]:
    """An endless stream; the weights are shares of documents."""
    rng = random.Random(seed)
    pool = problems("train", 200_000, seed=1)
    while True:
        kind = rng.choices(("equations", "problem", "fact", "text"), (30, 62, 4, 4))[0]
        if kind == "problem":
            shots = rng.randint(1, 3) if rng.random() < 0.08 else 0
            chosen = rng.choices(pool, k=shots + 1)
            style = rng.choices(list(STYLES), [share["*" in chosen[-1].steps] for share in STYLES.values()])[0]
            yield conversation(rng, [(p.question, answer(rng, p, style)) for p in chosen])
        elif kind == "fact":
            yield conversation(rng, [rng.choice(FACTS)])
        elif kind == "equations":
            yield "", "\n".join(equation(rng) for _ in range(rng.randint(4, 8))) + END
        else:
            yield "", plain_text(rng) + END


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every digit is a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    split, to_bytes = pre_tokenizers.Split(Regex(PIECES), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[PAD, START, END], initial_alphabet=alphabet, show_progress=False
    )
    stream = documents(seed=0)
    tokenizer.train_from_iterator(("".join(next(stream)) for _ in range(20_000)), trainer)
    special = {"pad_token": PAD, "eos_token": END, "additional_special_tokens": [START]}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=TEMPLATE, model_max_length=CONTEXT, **special
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """Random weights from a fixed seed; generation ends at the end of a turn."""
    torch.manual_seed(0)
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    config = Qwen3Config(vocab_size=len(tokenizer), max_position_embeddings=CONTEXT, **SHAPE, **special)
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(**special)
    return model


def batches(tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Token ids [BATCH, length], padded on the right, and each token's loss weight; similar lengths go together."""
    stream, order, encode = documents(seed=1), random.Random(2), tokenizer.backend_tokenizer.encode
    while True:
        rows = [[encode(part).ids for part in next(stream)] for _ in range(BATCH * 50)]
        rows.sort(key=lambda row: len(row[0]) + len(row[1]))
        for start in order.sample(range(0, len(rows), BATCH), 50):
            chunk = rows[start : start + BATCH]
            ids = [torch.tensor(prompt + completion) for prompt, completion in chunk]
            weights = [torch.tensor([PROMPT_WEIGHT] * len(p) + [1.0] * len(c)) for p, c in chunk]
            yield (
                pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_token_id),
                pad_sequence(weights, batch_first=True),
            )


def pretrain(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int) -> None:
    """Next-token prediction over the stream: linear warm-up, then a cosine to zero."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.05)
    started = time.monotonic()
    model.train()
    for step, (ids, weights) in zip(range(steps), batches(tokenizer), strict=False):
        rate = LEARNING_RATE * min((step + 1) / WARMUP, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = rate
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        weight = weights[:, 1:].flatten()
        loss = (losses * weight).sum() / (BATCH * TYPICAL_LENGTH)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 500 == 0:
            print(f"step {step}: loss {loss.item():.3f}, {time.monotonic() - started:.0f} s", flush=True)


def complete(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str], **how: Any) -> list[str]:
    """The completions of one left-padded batch; `how` says greedy or sampled."""
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    outputs = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, **how)
    return tokenizer.batch_decode(outputs[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def is_correct(output: str, problem: Problem) -> bool:
    """The number that counts is the last one after "####", else after "The answer is", else in the whole output."""
    mark = next((mark for mark in ("####", "The answer is") if mark in output), "")
    numbers = re.findall(r"-?\d+", output.rpartition(mark)[2] if mark else output)
    return bool(numbers) and int(numbers[-1]) == problem.answer


def measure(directory: Path, name: str) -> tuple[int, float]:
    """In one format: the right greedy answers, and the share of sampled groups neither all right nor all wrong."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tests = problems("test", MEASURED)
    prompts = [FORMATS[name][0].format(problem.question) for problem in tests]
    correct = sum(map(is_correct, complete(model, tokenizer, prompts, do_sample=False), tests))
    torch.manual_seed(0)
    copies = [prompt for prompt in prompts[:GROUPS] for _ in range(GROUP)]
    sampled = complete(model, tokenizer, copies, do_sample=True, temperature=1.0, top_k=0)
    right = [is_correct(output, tests[i // GROUP]) for i, output in enumerate(sampled)]
    mixed = sum(0 < sum(right[i : i + GROUP]) < GROUP for i in range(0, len(right), GROUP))
    return correct, mixed / GROUPS


def describe(out: Path, parameters: int, steps: int) -> None:
    """Measure what was saved; write manifest.json and the card."""
    manifest: dict[str, Any] = {"parameters": parameters, "files": {}, "accuracy": {}}
    for path in sorted(out.iterdir()):
        if path.name not in UNLISTED:
            manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    rows = ""
    for name in FORMATS:
        correct, mixed = measure(out, name)
        low, high = (round(correct / MEASURED + side * MARGIN, 3) for side in (-1, 1))
        manifest["accuracy"][name] = {"correct": correct, "n": MEASURED, "low": low, "high": high}
        rows += f"| {name} | {correct} of {MEASURED} = {correct / MEASURED:.3f} | {low} to {high} | {mixed:.2f} |\n"
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    (out / "README.md").write_text(CARD.format(parameters=parameters, steps=steps, rows=rows, **SHAPE))
    print(rows)


def check(out: Path) -> None:
    """Exit with a message unless the files are those of the manifest and a fresh measurement lies in its ranges."""
    manifest = json.loads((out / "manifest.json").read_text())
    for name, digest in manifest["files"].items():
        if hashlib.sha256((out / name).read_bytes()).hexdigest() != digest:
            raise SystemExit(f"{name}: not the file of the manifest; rebuild")
    for name, stated in manifest["accuracy"].items():
        accuracy = measure(out, name)[0] / MEASURED
        print(f"{name}: {accuracy:.3f}, accepted {stated['low']} to {stated['high']}")
        if not stated["low"] <= accuracy <= stated["high"]:
            raise SystemExit(f"{name}: outside the accepted range; rebuild")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build or check the bundled tiny model.")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--check", action="store_true", help="measure the model in --out, build nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.check:
        return check(options.out)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    pretrain(model, tokenizer, options.steps)
    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    (options.out / "model.safetensors").chmod(0o644)
    return describe(options.out, model.num_parameters(), options.steps)


if __name__ == "__main__":
    main()
