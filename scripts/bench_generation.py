"""How fast is the engine? Few-shot text (B4) and multiple choice (B5) against lm-eval and against ``generate``.

    python scripts/bench_generation.py [--rounds N] [--requests 24] [--prompts 48] [--models GLOB] [--only GLOB]

Llamas of 13 and 43 million parameters, initialised at random, answer made-up words in fp32 on one thread. All prompts
of B4 begin with the same 900 words; an answer ends at one of two stop strings or after 128 words. All prompts of B5
begin with the same 500, and have four choices, of one word or of 4 to 20. The peer is lm-eval's model class at the
best of some batch sizes, where Python can import it (``make peers``); lm-eval as it comes, in batches of one, and
transformers' own ``generate`` (a forward pass over prompt and label, to choose) are measured once. Nothing is said
about speed before the results are equal: the same texts (or another from where the two largest logits are within 1e-4,
which is then told), log-probabilities within 1e-4, the same choices.
"""

from __future__ import annotations

import argparse
import copy
import fnmatch
import importlib.util
import logging
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import benching
from benching import CLOSE, Case, Gate, Peer, Results, Took, timed
from flop import Sizes, causal
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.generation.choose import Chooser
from tunelab.generation.decoding import ChoiceRequest, Decoding, Request
from tunelab.generation.engine.chooser import PackedChooser
from tunelab.generation.engine.generator import PackedGenerator
from tunelab.generation.engine.model import shared_ids
from tunelab.generation.local import LocalGenerator
from tunelab.models.products import multiply_faster

VOCABULARY = 8192
BATCHES = (1, 32)
SLOTS = 32
LM_EVAL = "lm-eval"
LONGEST = 128
STOPS = ("\n\n", "###")
ENDING = 40
"""One word of so many ends with a stop string."""
LAYERS = 10
MODELS = {
    "llama-tiny": {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 4},
    "llama-13M": {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4, "num_key_value_heads": 4},
    "llama-43M": {"hidden_size": 512, "intermediate_size": 1536, "num_attention_heads": 8, "num_key_value_heads": 8},
}
LIVELY = {"initializer_range": 0.06}
"""Larger weights than usual: with small ones greedy text soon repeats itself, and never meets a stop."""


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of made-up words, each a token; one of 40 ends with a stop string."""
    words = ["<pad>", "<end>", *(f"\u2581w{i}{_ending(i)}" for i in range(2, VOCABULARY))]
    made = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<end>", clean_up_tokenization_spaces=False
    )


def _ending(word: int) -> str:
    return STOPS[word // ENDING % len(STOPS)] if word % ENDING == 0 else ""


def model_of(name: str) -> Any:
    """Return a Llama with random weights."""
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": LAYERS, "vocab_size": VOCABULARY, "max_position_embeddings": 2048, **MODELS[name]}
    config = LlamaConfig(**sizes, **LIVELY, tie_word_embeddings=name != "llama-43M", eos_token_id=1, pad_token_id=0)
    return LlamaForCausalLM(config).eval()


def ids(rng: random.Random, count: int) -> list[int]:
    """Return random ids of words that end with no stop string."""
    return [
        word + 1 if word % ENDING == 0 else word for word in (rng.randrange(2, VOCABULARY - 1) for _ in range(count))
    ]


def few_shot(count: int) -> list[Request]:
    """Return prompts with the same first 900 ids and questions of 30 to 90."""
    rng, words = random.Random(1), tokenizer()
    prefix = ids(rng, 900)
    asked = [prefix + ids(rng, rng.randint(30, 90)) for _ in range(count)]
    return [Request(f"q{i:03}", 0, words.decode(each), each) for i, each in enumerate(asked)]


def choices(count: int, lengths: tuple[int, int]) -> list[ChoiceRequest]:
    """Return questions of 40 to 120 ids after the same 500, with four choices; longer ones begin alike in pairs."""
    rng = random.Random(2)
    prefix, found = ids(rng, 500), []
    for i in range(count):
        labels = [ids(rng, rng.randint(*lengths)) for _ in range(4)]
        if lengths[0] > 1:
            labels[1][0] = labels[0][0]
        question = prefix + ids(rng, rng.randint(40, 120))
        found.append(ChoiceRequest(f"q{i:03}", 0, "", question, tuple("abcd"), tuple(map(tuple, labels))))
    return found


def in_batches(requests: Sequence[Any], size: int, run: Callable[[Sequence[Any]], Sequence[Any]]) -> list[Any]:
    """Run batches of prompts of similar length, longest first, and return what is made in the requests' order."""
    ordered = sorted(requests, key=lambda r: (-len(r.ids), r.id))
    made = [one for batch in (ordered[i : i + size] for i in range(0, len(ordered), size)) for one in run(batch)]
    by_id = {request.id: one for request, one in zip(ordered, made, strict=True)}
    return [by_id[request.id] for request in requests]


@dataclass(frozen=True)
class Bench:
    """What is asked, who answers, what makes two answers equal, and what answering cannot do without."""

    name: str
    engine: Callable[[], Any]
    peers: Mapping[str, Callable[[int], Any]]
    """By name, what answers in batches of a size."""
    gate: Callable[[Any, Any], Gate]
    """Compares what a peer made with what the engine made."""
    flop: Callable[[Any], float]
    """Of what the engine made."""
    target: float


def benches(model: Any, count: int, prompts: int | None = None, ours: Any = None) -> list[Bench]:
    """Return the benches of one model: so many questions, and ``prompts`` to write text for, as many by default.

    ``ours`` is the same model as tunelab loads it, for the engine; the very same by default.
    """
    ours = ours or model
    renderer = Renderer(tokenizer(), Format(template="raw"))
    longer = choices(count, (4, 20))
    return [
        texts(model, ours, renderer, few_shot(prompts or count)),
        chosen("B5 choices of one word", 12.0, model, ours, renderer, choices(count, (1, 1))),
        chosen("B5 choices of 4 to 20 words", 23.0, model, ours, renderer, longer),
    ]


def texts(model: Any, ours: Any, renderer: Renderer, asked: Sequence[Request]) -> Bench:
    """Return B4: prompts as text in, answers as text out."""
    decoding, encode = Decoding(LONGEST), renderer.tokenizer.encode
    plain = LocalGenerator(model, renderer, decoding, STOPS)

    def engine() -> list[str]:
        requests = [Request(r.id, 0, r.prompt, encode(r.prompt)) for r in asked]
        generator = PackedGenerator(ours, renderer, decoding, STOPS, SLOTS, _shared(requests))
        return [generator.output(r, drawn).output for r, drawn in zip(requests, generator.draw(requests), strict=True)]

    def answered(size: int) -> list[str]:
        requests = [Request(r.id, 0, r.prompt, encode(r.prompt)) for r in asked]
        return [output.output for output in in_batches(requests, size, plain.run)]

    return Bench(
        "B4 few-shot text",
        engine,
        {**lm_eval_texts(model, renderer, asked), "generate": answered},
        lambda theirs, ours: same_text(model, encode, asked, ours, theirs),
        lambda made: text_flop(model, [len(r.ids) for r in asked], len(_shared(asked)), [len(encode(t)) for t in made]),
        8.0,
    )


def chosen(
    name: str, target: float, model: Any, ours: Any, renderer: Renderer, asked: Sequence[ChoiceRequest]
) -> Bench:
    """Return B5: prompts and labels as ids in, the likeliest label and log-probabilities out."""
    return Bench(
        name,
        lambda: PackedChooser(ours, 0, SLOTS, _shared(asked)).run(asked),
        {
            **lm_eval_choices(model, renderer, asked),
            "forward passes": lambda size: in_batches(asked, size, Chooser(model, 0).run),
        },
        lambda theirs, ours: same_choices(ours, theirs),
        lambda made: choice_flop(model, asked),
        target,
    )


def same_text(model: Any, encode: Any, asked: Sequence[Request], one: Sequence[str], other: Sequence[str]) -> Gate:
    """Compare texts; one that parts where two tokens are as likely is told and passes."""
    differing, notes = 0, list[str]()
    for request, a, b in zip(asked, one, other, strict=True):
        if a.strip() != b.strip():
            ours, theirs = encode(a), encode(b)
            at = next((i for i, (x, y) in enumerate(zip(ours, theirs, strict=False)) if x != y), 0)
            with torch.no_grad():
                logits = model(torch.tensor([request.ids + ours[:at]], device=model.device)).logits[0, -1]
            first, second = logits.topk(2).values.tolist()
            notes.append(
                f"{request.id} parts at token {at}, where the two largest logits are {first - second:.1e} apart"
            )
            differing += first - second > CLOSE
    return Gate(f"{len(asked)} greedy texts", {"texts that differ": differing}, {"texts that differ": 0}, notes)


def same_choices(one: Sequence[Any], other: Sequence[Any]) -> Gate:
    """Compare choices, and the log-probabilities that they were made by."""
    apart = max(abs(a.logprobs[k] - b.logprobs[k]) for a, b in zip(one, other, strict=True) for k in a.logprobs)
    differing = sum(a.output != b.output for a, b in zip(one, other, strict=True))
    largest = {"choices that differ": differing, "log-probabilities": apart}
    return Gate(
        f"{len(one)} choices, log-probabilities of labels",
        largest,
        {"choices that differ": 0, "log-probabilities": CLOSE},
    )


def _sizes(model: Any) -> Sizes:
    config = model.config
    return Sizes(config.hidden_size, config.intermediate_size, config.num_hidden_layers, config.vocab_size)


def text_flop(model: Any, prompts: Sequence[int], shared: int, made: Sequence[int]) -> float:
    """Return the FLOP of reading what is shared once, every question, and every token that is written but the last."""
    new = [prompt - shared + max(0, written - 1) for prompt, written in zip(prompts, made, strict=True)]
    pairs = causal(shared) + sum(causal(each, shared) for each in new)
    return _sizes(model).forward(shared + sum(new), sum(made), pairs)


def choice_flop(model: Any, asked: Sequence[ChoiceRequest]) -> float:
    """Return the FLOP of reading what is shared once, every question, and the tree of its labels but its leaves."""
    shared = len(_shared(asked))
    trees = [{label[:i] for label in r.label_ids for i in range(1, len(label))} for r in asked]
    branches = sum(len(r.ids) + len(stem) for r, tree in zip(asked, trees, strict=True) for stem in tree)
    pairs = causal(shared) + sum(causal(len(r.ids) - shared, shared) for r in asked) + branches
    nodes = sum(map(len, trees))
    return _sizes(model).forward(shared + sum(len(r.ids) - shared for r in asked) + nodes, len(asked) + nodes, pairs)


@dataclass(frozen=True)
class Choice:
    """An answer of another program."""

    output: str
    logprobs: dict[str, float]


def has_lm_eval() -> bool:
    return importlib.util.find_spec("lm_eval") is not None


@cache
def _lm(model: Any, renderer: Renderer, size: int) -> Any:
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model, tokenizer=renderer.tokenizer, batch_size=size, max_length=2048)


def lm_eval_texts(model: Any, renderer: Renderer, asked: Sequence[Request]) -> dict[str, Callable[[int], list[str]]]:
    """Return lm-eval as a peer that writes, by name; nothing where it is not installed."""
    if not has_lm_eval():
        return {}
    from lm_eval.api.instance import Instance

    settings = {"until": list(STOPS), "max_gen_toks": LONGEST, "do_sample": False}
    wanted = [Instance("generate_until", {}, (r.prompt, settings), i) for i, r in enumerate(asked)]
    return {LM_EVAL: lambda size: _lm(model, renderer, size).generate_until(wanted, disable_tqdm=True)}


def lm_eval_choices(
    model: Any, renderer: Renderer, asked: Sequence[ChoiceRequest]
) -> dict[str, Callable[[int], list[Choice]]]:
    """Return lm-eval as a peer that chooses, by name; nothing where it is not installed."""
    if not has_lm_eval():
        return {}
    wanted = [((r.id, k), r.ids, list(ids)) for r in asked for k, ids in zip(r.labels, r.label_ids, strict=True)]

    def answer(size: int) -> list[Choice]:
        values = iter(v for v, _ in _lm(model, renderer, size)._loglikelihood_tokens(wanted, disable_tqdm=True))
        found = [{label: next(values) for label in r.labels} for r in asked]
        return [Choice(max(each, key=each.__getitem__), each) for each in found]

    return {LM_EVAL: answer}


def _shared(requests: Sequence[Any]) -> list[int]:
    return shared_ids([request.ids for request in requests])


def measure(model_name: str, bench: Bench, results: Results, rounds: int, batches: Sequence[int]) -> None:
    """Find the headline's best batch, compare what peers made, and let engine and headline take turns.

    The headline is the first peer, lm-eval where it is there; the other is measured once in batches of the same size.
    """
    made, seen = bench.engine(), dict[int, Any]()
    (headline, run), *others = bench.peers.items()

    def once(size: int, run: Callable[[int], Any]) -> Took:
        seen[size], took = timed(lambda: run(size))
        return took

    best, swept = benching.fastest(f"{bench.name}, {headline}", batches, lambda size: once(size, run))
    gates, took = {headline: bench.gate(seen[best], made)}, dict[str, list[Took]]()
    for peer, other in others:
        took[peer] = [once(best, other)]
        gates[peer] = bench.gate(seen[best], made)
    cases = {peer: _case(bench, model_name, gate, bench.flop(made)) for peer, gate in gates.items()}
    if refused := [case for case in cases.values() if not case.gate.passed]:
        results.refuse(refused[0])
        return
    results.measure_peak()
    turns = benching.take_turns(
        lambda: timed(bench.engine)[1],
        {headline: lambda: timed(lambda: run(best))[1]},
        benching.affordable(rounds, swept[best]),
    )
    size = f"{best} of {', '.join(map(str, batches))} at a time"
    if headline == LM_EVAL:
        results.add(cases[headline], Peer(headline, "P1", size, bench.target), turns.ours, turns.peers[headline])
        results.add(cases[headline], Peer(f"{headline}, defaults", "P0", "1 at a time"), turns.ours, [swept[1]])
    else:
        took[headline] = turns.peers[headline]
    for peer, found in took.items():
        results.add(cases[peer], Peer(peer, "P2", size if peer == headline else f"{best} at a time"), turns.ours, found)


def _case(bench: Bench, model_name: str, gate: Gate, flop: float) -> Case:
    number, _, name = bench.name.partition(" ")
    return Case(number, f"{name}, {model_name}", "in all", gate, flop)


def main() -> int:
    """Run the benches; the exit code is 1 where results differ."""
    parser = benching.parser(__doc__, rounds=5)
    parser.add_argument("--requests", type=int, default=24, help="questions to choose for")
    parser.add_argument("--prompts", type=int, default=48, help="prompts to write text for")
    parser.add_argument("--models", default="llama-13M")
    parser.add_argument("--only", default="*", help="benches, by a pattern of their names")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    asked = parser.parse_args()
    if asked.quick:
        small = {"rounds": 1, "requests": 4, "prompts": 8, "models": "llama-tiny", "batches": (1, 4), "only": "*[!s]"}
        asked = argparse.Namespace(**vars(asked) | small)
    benching.prepare()
    results = Results(asked.quick)
    if not has_lm_eval():
        results.missing.append("lm-eval cannot be imported (make peers): B4 and B5 are against transformers alone")
    for name in fnmatch.filter(MODELS, asked.models):
        model = model_of(name)
        multiply_faster(ours := copy.deepcopy(model))
        for bench in benches(model, asked.requests, asked.prompts, ours):
            if fnmatch.fnmatch(bench.name, asked.only):
                print(f"{bench.name}, {name}; load {os.getloadavg()[0]:.1f}", flush=True)
                measure(name, bench, results, asked.rounds, asked.batches)
    return results.finish(asked.json)


if __name__ == "__main__":
    sys.exit(main())
