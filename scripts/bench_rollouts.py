"""How much does a step of GRPO save when the engine draws its completions? Against transformers' generate.

    python scripts/bench_rollouts.py [--rounds 2] [--steps 3] [--cases tiny 60 500]

Cases: the tiny model as the quickstart trains it, and a Llama of 13 million parameters, initialised at random, with
prompts of 60 and of 500 tokens, four a step with 8 completions of up to 100 tokens (it ends at one of many stop ids).
Both are trained in full, in fp32 on one thread, with all that a step has: rollouts, rewards, the training pass. The
ways take turns, whole trainings each; CPU-seconds of a step count, the first of each training aside. The completions of
the first step must be the same, but for rows that part where a random number is within 1e-5 of a border of two tokens.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tunelab.data.sample import Message, Sample
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.generation.decoding import Request
from tunelab.generation.sampling import uniform
from tunelab.models.load import load_model, load_tokenizer, quiet
from tunelab.models.memory import keep_freed_memory
from tunelab.models.spec import resolve
from tunelab.scoring.score import Metric, Score, judged
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.training.gold import GARBAGE
from tunelab.training.grpo import train_grpo
from tunelab.training.job import Hardware, Job
from tunelab.training.recipe import Grpo, Recipe
from tunelab.training.rollouts import Rollouts

Way = Literal["auto", "plain"]
WAYS: tuple[Way, Way] = ("auto", "plain")
GROUP, VOCABULARY, STOPS, CLOSE = 8, 8192, 136, 1e-5


class Even:
    """A made-up task: texts of an even number of characters are right."""

    name = "even"
    version = scorer_version = 1
    dataset = None
    train_split = test_split = "train"
    metrics = (Metric("even"),)
    stop = ()
    max_new_tokens = 100

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def load(self, split: str, source: Any) -> list[Sample]:
        return self.samples

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", sample.fields["text"])]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        right = output in sample.targets or (output != GARBAGE and len(output) % 2 == 0)
        return judged(right, output, {"even": float(right)})


@dataclass
class Measured:
    """What the steps of trainings took, in CPU-seconds, of it the rollouts, and what the first one drew."""

    steps: list[float] = field(default_factory=list[float])
    rollouts: list[float] = field(default_factory=list[float])
    first: dict[str, Any] = field(default_factory=dict[str, Any])
    began: float = 0.0


def llama() -> LlamaForCausalLM:
    """Return a model of 13 million parameters; larger weights than usual keep its draws from being all alike."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 10, "vocab_size": VOCABULARY}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True, "pad_token_id": 0}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, max_position_embeddings=2048, initializer_range=0.06))
    model.generation_config.eos_token_id = list(range(VOCABULARY - STOPS, VOCABULARY))
    return model


def lengthy(renderer: Renderer, tokens: int) -> list[Sample]:
    """Return prompts of so many tokens, none of which begins like another."""
    found: list[Sample] = []
    words = " ".join(sample.fields["question"] for sample in load_samples(find_task("arithmetic"), "train", None)[:200])
    empty = len(renderer.prompt([Message("user", "")]).ids)
    ids = renderer.tokenizer.encode(words, add_special_tokens=False)
    for i in range(40):
        text = renderer.tokenizer.decode(ids[i * 37 : i * 37 + tokens - empty])
        found.append(Sample(f"s{i}", {"text": text}, ("yes",)))
    return found


@contextmanager
def watched(into: Measured) -> Generator[None]:
    """Note what rollouts take and make; a step begins with them."""
    generate = Rollouts.generate

    def noting(self: Rollouts, prompts: list[str], trainer: Any) -> dict[str, Any]:
        into.began = time.process_time()
        made = generate(self, prompts, trainer)
        into.rollouts.append(time.process_time() - into.began)
        into.first = into.first or {"prompts": prompts, **made}
        return made

    Rollouts.generate = noting
    try:
        yield
    finally:
        Rollouts.generate = generate


def model_of(case: str) -> Any:
    """Return a case's untrained model."""
    return load_model(resolve("tiny"), "cpu", "fp32") if case == "tiny" else llama()


def train(case: str, way: Way, steps: int) -> Measured:
    """Train for some steps, one more than are measured."""
    renderer = Renderer(load_tokenizer(resolve("tiny")), Format(template="chat"))
    task: Any = find_task("arithmetic") if case == "tiny" else Even(lengthy(renderer, int(case)))
    samples = load_samples(task, "train", None)[:480] if case == "tiny" else task.samples
    recipe = Recipe(
        method="grpo",
        adaptation="full",
        lr=3e-5,
        epochs=1,
        batch_size=16 if case == "tiny" else 4,
        max_steps=steps + 1,
        grpo=Grpo(num_generations=GROUP),
    )
    found = Measured()
    with tempfile.TemporaryDirectory() as folder, watched(found):
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        hardware = Hardware("cpu", 128, False, (), generation=way)

        def ended(*_: Any) -> None:
            found.steps.append(time.process_time() - found.began)

        job = Job(recipe, "fp32", 0, hardware, Path(folder), scratch, ended)
        facts = train_grpo(job, samples, task, renderer, model_of(case), renderer.tokenizer)
    assert (facts["generation"]["engine"] == "packed") is (way == "auto")
    found.steps, found.rollouts = found.steps[1:], found.rollouts[1:]
    return found


def gaps(model: Any, one: dict[str, Any], other: dict[str, Any]) -> list[float]:
    """Return how far from the border of two tokens the random numbers are where completions part."""
    found: list[float] = []
    drawn: dict[str, int] = {}
    for sample, prompt, a, b in zip(
        one["prompts"], one["prompt_ids"], one["completion_ids"], other["completion_ids"], strict=True
    ):
        number = drawn[sample] = drawn.get(sample, -1) + 1
        if a != b:
            at = next(i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1])
            with torch.no_grad():
                logits = model.eval()(torch.tensor([prompt + a[:at]])).logits[0, -1]
            borders = torch.softmax(logits.double(), -1).cumsum(-1)[min(a[at], b[at]) : max(a[at], b[at])]
            found.append(float((borders - uniform(0, Request(sample, number, "", []), at)).abs().max()))
    return found


def told(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> int:
    """Print a paragraph for each case; 1 where completions differ."""
    parser = argparse.ArgumentParser(description="Compare steps of GRPO with and without the engine.")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=["tiny", "60", "500"])
    asked = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    keep_freed_memory()
    code = 0
    for case in asked.cases:
        runs: dict[Way, list[Measured]] = {"auto": [], "plain": []}
        for _ in range(asked.rounds):
            for way in (*WAYS, *reversed(WAYS)):
                runs[way].append(train(case, way, asked.steps))
        one, other = (runs[way][0].first for way in WAYS)
        apart = gaps(model_of(case), one, other)
        drawn = sum(map(len, one["completion_ids"]))
        print(f"{case}: {len(one['completion_ids'])} completions of {drawn} tokens, {len(apart)} part "
              f"(at {max(apart, default=0):.1e} from a border); load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
        code = code or int(max(apart, default=0) > CLOSE)
        for part in ("rollouts", "steps"):
            ours, theirs = ([t for run in runs[way] for t in getattr(run, part)] for way in WAYS)
            ratio = statistics.median(theirs) / statistics.median(ours)
            print(f"  {part}, CPU-seconds: engine {told(ours)}, generate {told(theirs)}, ratio {ratio:.2f}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
