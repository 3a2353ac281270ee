"""How fast is the engine? Few-shot text (B4) and multiple choice (B5) against plain generation of transformers.

    python scripts/bench_generation.py [--rounds 5] [--requests 48] [--models GLOB] [--only GLOB] [--batches 1 8 32]

Llamas of 13 and 43 million parameters, initialised at random, answer random ids in fp32 on one thread. All prompts of
B4 begin with the same 900 ids; an answer ends at one of many stop ids or after 128. All prompts of B5 begin with the
same 500, and have four choices, of one token or of 4 to 20. The peer runs at the best of five batch sizes. Nothing is
said about speed before the results are equal: the same ids (or another way from where the two largest logits are within
1e-4, which is then printed), log-probabilities within 1e-4, the same choices. Engine and peer take turns within a
process (ABBA), with the allocator told to keep memory for both; what counts is the median of the process's CPU seconds.
Where lm-eval can be imported, its log-probabilities of choices are another peer.
"""

import argparse
import fnmatch
import importlib.util
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.generation.choose import Chooser
from tunelab.generation.decoding import ChoiceRequest, Decoding, Request
from tunelab.generation.engine.chooser import PackedChooser
from tunelab.generation.engine.generator import PackedGenerator
from tunelab.generation.engine.model import shared_ids
from tunelab.generation.local import LocalGenerator
from tunelab.models.load import load_tokenizer
from tunelab.models.memory import keep_freed_memory
from tunelab.models.spec import resolve

VOCABULARY = 8192
BATCHES = (1, 4, 8, 16, 32)
SLOTS = 32
LONGEST = 128
CLOSE = 1e-4
MODELS = {
    "llama-13M": {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4, "num_key_value_heads": 4},
    "llama-43M": {"hidden_size": 512, "intermediate_size": 1536, "num_attention_heads": 8, "num_key_value_heads": 8},
}
LIVELY = {"initializer_range": 0.06}
"""Larger weights than usual: with small ones greedy text soon repeats itself, and never meets a stop id."""
ROW = "{:10} {:22} {:28} {:>8} {:>15} {:>8} {:>7}"


@dataclass(frozen=True)
class Timed:
    """What a run made, and the seconds that it took: of the process and by the clock."""

    made: Any
    cpu: float
    wall: float


def timed(run: Callable[[], Any]) -> Timed:
    """Run and measure."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = run()
    return Timed(made, time.process_time() - cpu, time.perf_counter() - wall)


def model_of(name: str, stops: Sequence[int]) -> Any:
    """Return a Llama with random weights whose generation ends at ``stops``."""
    torch.manual_seed(0)
    sizes = {
        **MODELS[name],
        "num_hidden_layers": 10,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 2048,
        **LIVELY,
    }
    model = LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=name == "llama-13M")).eval()
    model.generation_config.eos_token_id = list(stops)
    model.generation_config.pad_token_id = 0
    return model


def ids(rng: random.Random, count: int) -> list[int]:
    """Return random ids, none of them the padding."""
    return [rng.randrange(1, VOCABULARY) for _ in range(count)]


def few_shot(count: int) -> list[Request]:
    """Return prompts with the same first 900 ids and questions of 30 to 90."""
    rng = random.Random(1)
    prefix = ids(rng, 900)
    return [Request(f"q{i:03}", 0, "", prefix + ids(rng, rng.randint(30, 90))) for i in range(count)]


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


def same_text(model: Any, asked: Sequence[Request], one: Sequence[list[int]], other: Sequence[list[int]]) -> str:
    """Return why texts differ, or an empty text; one that parts where two tokens are as likely is named and passes."""
    for request, a, b in zip(asked, one, other, strict=True):
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            with torch.no_grad():
                logits = model(torch.tensor([request.ids + a[:at]], device=model.device)).logits[0, -1]
            first, second = logits.topk(2).values.tolist()
            print(f"  {request.id} parts at token {at}, where the two largest logits are {first - second:.1e} apart")
            if first - second > CLOSE:
                return "texts differ"
    return ""


def same_choices(one: Sequence[Any], other: Sequence[Any]) -> str:
    """Return why choices differ, or an empty text."""
    apart = max(abs(a.logprobs[k] - b.logprobs[k]) for a, b in zip(one, other, strict=True) for k in a.logprobs)
    chosen = sum(a.output != b.output for a, b in zip(one, other, strict=True))
    return f"{chosen} choices differ, log-probabilities by up to {apart:.1e}" if chosen or apart > CLOSE else ""


@dataclass(frozen=True)
class Bench:
    """What is asked, who answers, and what makes two answers equal."""

    name: str
    engine: Callable[[], Any]
    peers: Mapping[str, Callable[[int], Any]]
    """By name, what answers in batches of a size."""
    unlike: Callable[[Any, Any], str]


def benches(model: Any, count: int) -> list[Bench]:
    """Return the benches of one model."""
    renderer = Renderer(load_tokenizer(resolve("tiny")), Format(template="raw"))
    asked, decoding = few_shot(count), Decoding(LONGEST)
    plain = LocalGenerator(model, renderer, decoding)
    found = [
        Bench(
            "B4 few-shot text",
            lambda: PackedGenerator(model, renderer, decoding, (), SLOTS, _shared(asked)).draw(asked),
            {"plain": lambda size: in_batches(asked, size, plain.draw)},
            lambda one, other: same_text(model, asked, one, other),
        )
    ]
    for name, lengths in (("B5 choices, 1 token", (1, 1)), ("B5 choices, 4-20", (4, 20))):
        questions = choices(count, lengths)
        found.append(
            Bench(
                name,
                lambda questions=questions: PackedChooser(model, 0, SLOTS, _shared(questions)).run(questions),
                {
                    "plain": lambda size, questions=questions: in_batches(questions, size, Chooser(model, 0).run),
                    **lm_eval_peer(model, renderer, questions),
                },
                same_choices,
            )
        )
    return found


@dataclass(frozen=True)
class Choice:
    """An answer of another program."""

    output: str
    logprobs: dict[str, float]


def lm_eval_peer(model: Any, renderer: Renderer, questions: Sequence[ChoiceRequest]) -> dict[str, Callable[[int], Any]]:
    """Return lm-eval as a peer, by name; nothing where it is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        return {}
    from lm_eval.models.huggingface import HFLM

    asked = [
        ((question.id, label), question.ids, list(ids))
        for question in questions
        for label, ids in zip(question.labels, question.label_ids, strict=True)
    ]

    def answer(size: int) -> list[Choice]:
        lm = HFLM(pretrained=model, tokenizer=renderer.tokenizer, batch_size=size, max_length=2048)
        values = iter(value for value, _ in lm._loglikelihood_tokens(asked, disable_tqdm=True))
        found = [{label: next(values) for label in question.labels} for question in questions]
        return [Choice(max(each, key=each.__getitem__), each) for each in found]

    return {"lm-eval": answer}


def _shared(requests: Sequence[Any]) -> list[int]:
    return shared_ids([request.ids for request in requests])


def measure(name: str, bench: Bench, rounds: int, batches: Sequence[int]) -> bool:
    """Compare engine and peers; print rows, and return whether their results were equal."""
    runs = {"engine": bench.engine}
    made = bench.engine()
    for peer, run in bench.peers.items():
        sweep = {size: timed(lambda size=size, run=run: run(size)) for size in batches}
        size = min(sweep, key=lambda size: sweep[size].cpu)
        runs[f"{peer}, batch {size}"] = lambda size=size, run=run: run(size)
        found = ", ".join(f"{size}: {run.cpu:.1f}" for size, run in sweep.items())
        print(f"  {name}, {bench.name}: CPU s of {peer} by batch: {found}", flush=True)
        if reason := bench.unlike(sweep[size].made, made):
            print(f"  {name}, {bench.name}: {peer} NOT EQUAL, {reason}; no ratio")
            return False
    kept: dict[str, list[Timed]] = {who: [] for who in runs}
    for turn in range(rounds):
        for who in list(runs)[:: 1 if turn % 2 == 0 else -1]:
            kept[who].append(timed(runs[who]))
    ours = statistics.median(t.cpu for t in kept["engine"])
    for who, seconds in kept.items():
        middle, wall = (statistics.median(getattr(t, kind) for t in seconds) for kind in ("cpu", "wall"))
        spread = f"{min(t.cpu for t in seconds):.2f}-{max(t.cpu for t in seconds):.2f}"
        row = ROW.format(name, bench.name, who, f"{middle:.2f}", spread, f"{wall:.2f}", f"{middle / ours:.1f}x")
        print(row, flush=True)
    return True


def main() -> int:
    """Run the benches; the exit code is 1 where results differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--models", default="*")
    parser.add_argument("--only", default="*", help="benches, by a pattern of their names")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument(
        "--quick", action="store_true", help="one round of 8 requests of the smaller model, two batches"
    )
    arguments = parser.parse_args()
    if arguments.quick:
        quick = {"rounds": 1, "requests": 8, "models": "llama-13M", "batches": (1, 8)}
        arguments = argparse.Namespace(**vars(arguments) | quick)
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    keep_freed_memory()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, load {os.getloadavg()[0]:.1f}")
    print(ROW.format("model", "bench", "who", "CPU s", "range", "wall s", "ratio"))
    stops = random.Random(3).sample(range(1, VOCABULARY), VOCABULARY // 40)
    equal = True
    for name in fnmatch.filter(MODELS, arguments.models):
        model = model_of(name, stops)
        for bench in benches(model, arguments.requests):
            if fnmatch.fnmatch(bench.name, arguments.only):
                equal &= measure(name, bench, arguments.rounds, arguments.batches)
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
