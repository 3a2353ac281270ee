"""How fast is a step of GRPO (B3)? Rollouts and training pass against TRL's GRPOTrainer with its own generation.

    python scripts/bench_grpo.py [--rounds N] [--prompts 60 500] [--quick] [--json FILE]

A Llama of 13 million parameters, initialised at random, is trained in full, in fp32 on one thread: two prompts a step,
of 60 or 500 tokens, each with 8 completions of up to 100 that end at one of many stop ids. A step has all that it has:
rollouts, rewards, training pass, optimiser. TRL draws the completions of a step in one batch, keeps activations, and
takes the rows per pass that are fastest for it; as it comes, it takes 8 and computes activations again.

Both draw from one distribution by other random numbers; ours are those of the seed, of 24, whose completions have
nearly as many tokens as TRL's. The gate: TRL's own completions and rewards are replayed through both, and loss and
gradients are equal; and the engine draws what ``generate`` draws by our numbers, but where one is within 1e-5 of the
border of two tokens. The pass alone is measured on the replayed completions.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer

import benching
from bench_training import OUR_PRODUCTS
from benching import FEW, LOSS, SLOPE, Gate, Peer, Results, Took
from flop import Sizes, causal
from tunelab.data.sample import Message, Sample
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.generation.decoding import Request
from tunelab.generation.sampling import uniform
from tunelab.models.load import load_tokenizer
from tunelab.models.products import faster, multiply_faster
from tunelab.models.spec import resolve
from tunelab.models.supervised_head import add_scored_places
from tunelab.scoring.score import Metric, Score, judged
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.training.grpo import grpo_config
from tunelab.training.job import Hardware, Job
from tunelab.training.recipe import Grpo, Recipe
from tunelab.training.rollouts import Rollouts, questions
from tunelab.training.shared_prompts import SharedPromptTrainer

DEVICE = torch.device(os.environ.get("BENCH_DEVICE", "cpu"))
"""Set by ``gpu_check.py``; everywhere else a CPU."""
GROUPS, GROUP, BUDGET, STOPS, BORDER, SEEDS, NEAR = 2, 8, 100, 136, 1e-5, 24, 0.03
ROWS = GROUPS * GROUP
PASSES = (16, 4)
"""Rows of a pass that TRL may choose from."""
LENGTHY = 500
"""Tokens of a prompt from which on TRL is not measured as it comes, too."""
SIZES = Sizes(256, 1024, 10, 8192)
TARGETS = {60: 2.5, 500: 6.0}


class Even:
    """A made-up task: texts of an even number of characters are right."""

    name = "even"
    version = scorer_version = 1
    dataset = None
    train_split = test_split = "train"
    metrics = (Metric("even"),)
    stop = ()
    max_new_tokens = BUDGET

    def load(self, split: str, source: Any) -> list[Sample]:
        return []

    def messages(self, sample: Sample) -> list[Message]:
        return [Message("user", sample.fields["text"])]

    def target(self, sample: Sample) -> str:
        return sample.targets[0]

    def score(self, sample: Sample, output: str) -> Score:
        return judged(len(output) % 2 == 0, output, {"even": float(len(output) % 2 == 0)})


def llama(sizes: Sizes) -> Any:
    """Return the model; larger weights than usual keep its draws from being all alike."""
    torch.manual_seed(0)
    shape = {"hidden_size": sizes.hidden, "intermediate_size": sizes.inner, "num_hidden_layers": sizes.layers}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True, "pad_token_id": 0}
    config = LlamaConfig(**shape, **heads, vocab_size=sizes.vocabulary, initializer_range=0.06)
    model = LlamaForCausalLM(config).to(DEVICE)
    model.generation_config.eos_token_id = list(range(sizes.vocabulary - STOPS, sizes.vocabulary))
    return model


def prompts(renderer: Renderer, tokens: int) -> list[Sample]:
    """Return the prompts of a step, of so many tokens; none begins like another."""
    words = " ".join(sample.fields["question"] for sample in load_samples(find_task("arithmetic"), "train", None)[:200])
    ids = renderer.tokenizer.encode(words, add_special_tokens=False)
    texts = [renderer.tokenizer.decode(ids[i * 37 : i * 37 + tokens]) for i in range(GROUPS)]
    return [Sample(f"s{i}", {"text": text}, ("yes",)) for i, text in enumerate(texts)]


@dataclass
class Drawn:
    """The completions of a step with what they earned, each prompt as often as it has some."""

    prompt_ids: list[list[int]]
    completion_ids: list[list[int]]
    rewards: list[float]

    @property
    def tokens(self) -> int:
        return sum(map(len, self.completion_ids))

    def rollout(self, asked: list[str], trainer: Any) -> dict[str, Any]:
        """Return them where a trainer asks for new ones."""
        return {"prompt_ids": self.prompt_ids, "completion_ids": self.completion_ids, "logprobs": None}

    def reward(self, prompts: list[str], **columns: Any) -> list[float]:
        return self.rewards


@dataclass
class Watch(TrainerCallback):
    """What a step took and made; its gradients are kept for the gate alone."""

    keep: bool
    began: tuple[float, float] = (0.0, 0.0)
    took: Took = field(default_factory=lambda: Took(0.0, 0.0))
    gradients: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    loss: float = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = benching.now()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if self.keep:
            self.gradients = {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        self.took = benching.since(self.began)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.loss = (logs or {}).get("loss", self.loss)


@dataclass
class Bench:
    """Both ways over one set of prompts, each with a model of its own, and how TRL is told to run."""

    folder: Path
    renderer: Renderer
    samples: list[Sample]
    sizes: Sizes
    seed: int = 0
    """Of our random numbers."""
    passes: int = ROWS
    """TRL's rows a pass."""
    keep: bool = False
    """Whether gradients are kept."""
    task: Any = field(default_factory=Even)
    models: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Give both the weights that they began with."""
        self.models = {"tunelab": llama(self.sizes), "TRL": llama(self.sizes)}
        multiply_faster(self.models["tunelab"])

    def job(self, passes: int = ROWS, checkpointed: bool = False, generation: Any = "auto") -> Job:
        recipe = Recipe(
            method="grpo",
            adaptation="full",
            lr=1e-7,
            epochs=1,
            batch_size=GROUPS,
            max_steps=1,
            grpo=Grpo(num_generations=GROUP),
        )
        hardware = Hardware(DEVICE.type, passes, checkpointed, (), generation=generation)
        return Job(recipe, "fp32", self.seed, hardware, self.folder, self.folder, lambda *_: None)

    def ours(self, replayed: Drawn | None = None) -> Watch:
        """Do a step, as ``train_grpo`` does."""
        model, rollouts = self.models["tunelab"], self.rollouts()
        trainer, watch = self._trainer(
            SharedPromptTrainer,
            model,
            self.job(),
            [sample.id for sample in self.samples],
            replayed.reward if replayed else rollouts.reward,
            replayed.rollout if replayed else rollouts.generate,
        )
        trainer.policy = model
        forward = model.forward
        add_scored_places(model, trainer.temperature)
        trainer.train()
        model.forward = forward
        return watch

    def theirs(self, replayed: Drawn | None = None, checkpointed: bool = False) -> tuple[Watch, Drawn]:
        """Do a step of TRL's; return its completions too."""
        drawn = Drawn([], [], [])

        def reward(
            prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any
        ) -> list[float]:
            drawn.prompt_ids = [self.renderer.tokenizer.encode(prompt) for prompt in prompts]
            drawn.completion_ids = completion_ids
            drawn.rewards = [float(len(text) % 2 == 0) for text in completions]
            return drawn.rewards

        job = self.job(self.passes, checkpointed)
        texts = [self.renderer.prompt(self.task.messages(sample)).text for sample in self.samples]
        earned, made = (replayed.reward, replayed.rollout) if replayed else (reward, None)
        trainer, watch = self._trainer(GRPOTrainer, self.models["TRL"], job, texts, earned, made)
        trainer.train()
        self.models["TRL"].gradient_checkpointing_disable()
        return watch, drawn

    def _trainer(self, kind: Any, model: Any, job: Job, asked: list[str], reward: Any, made: Any) -> tuple[Any, Watch]:
        watch = Watch(self.keep)
        trainer = kind(
            model=model,
            reward_funcs=[reward],
            args=grpo_config(job, 1, BUDGET, model),
            train_dataset=datasets.Dataset.from_list([{"prompt": prompt} for prompt in asked]),
            processing_class=self.renderer.tokenizer,
            rollout_func=made,
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        return trainer, watch

    def rollouts(self, generation: Any = "auto") -> Rollouts:
        return Rollouts(
            self.job(generation=generation), questions(self.samples, self.task, self.renderer), self.task, self.renderer
        )

    def draw(self, generation: Any = "auto") -> dict[str, Any]:
        """Draw the completions of the first step by our random numbers."""
        asked = [sample.id for sample in self.samples for _ in range(GROUP)]
        return self.rollouts(generation).generate(asked, _Still(self.models["tunelab"]))


class _Still:
    """As much of a trainer as rollouts ask for before the first step."""

    def __init__(self, model: Any) -> None:
        self.model, self.accelerator, self.state = model, self, self
        self.global_step = 0

    def unwrap_model(self, model: Any) -> Any:
        return model


def matched(bench: Bench, tokens: int) -> int:
    """Take the seed whose completions have nearly so many tokens as TRL's; return how many they have."""
    found: dict[int, int] = {}
    for seed in range(SEEDS):
        bench.seed = seed
        found[seed] = sum(map(len, bench.draw()["completion_ids"]))
        if abs(found[seed] - tokens) <= NEAR * tokens:
            break
    bench.seed = min(found, key=lambda seed: abs(found[seed] - tokens))
    return found[bench.seed]


def gate(bench: Bench, drawn: Drawn, ours: int) -> Gate:
    """Replay TRL's completions and rewards through both, and draw ours by the engine and by ``generate``."""
    bench.reset()
    bench.keep = True
    one, (other, _) = bench.ours(drawn), bench.theirs(drawn)
    bench.keep = False
    slopes = [float((one.gradients[n] - g).norm() / g.norm()) for n, g in other.gradients.items() if float(g.norm())]
    parted = gaps(bench.models["tunelab"], bench.seed, bench.samples, bench.draw(), bench.draw("plain"))
    largest = {
        "loss": abs(one.loss - other.loss),
        "gradients": max(slopes),
        "draws, from a border": max(parted, default=0),
    }
    return Gate(
        "TRL's completions and rewards replayed: loss and gradients (relative); draws of engine and generate",
        largest,
        dict(zip(largest, (LOSS, SLOPE, BORDER), strict=True)),
        [f"completions of {ours} and {drawn.tokens} tokens", f"{len(parted)} of {ROWS} draws part from generate's"],
    )


def gaps(model: Any, seed: int, samples: list[Sample], one: dict[str, Any], other: dict[str, Any]) -> list[float]:
    """Return how far from the border of two tokens the random numbers are where completions part."""
    found: list[float] = []
    rows = zip(one["prompt_ids"], one["completion_ids"], other["completion_ids"], strict=True)
    for row, (prompt, a, b) in enumerate(rows):
        if a != b:
            sample, number = samples[row // GROUP].id, row % GROUP
            at = next(i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1])
            with torch.no_grad():
                logits = model.eval()(torch.tensor([prompt + a[:at]], device=DEVICE)).logits[0, -1]
            borders = torch.softmax(logits.double(), -1).cumsum(-1)[min(a[at], b[at]) : max(a[at], b[at])]
            number = uniform(seed * 1_000_003, Request(sample, number, "", []), at)
            found.append(float((borders - number).abs().max()))
    return found


def pass_flop(sizes: Sizes, prompt: int, drawn: list[int]) -> float:
    """Return the FLOP of a training pass: every prompt once, the head at completions; thrice a forward pass."""
    pairs = GROUPS * causal(prompt) + sum(causal(each, prompt) for each in drawn)
    return 3 * sizes.forward(GROUPS * prompt + sum(drawn), sum(drawn), pairs)


def step_flop(sizes: Sizes, prompt: int, drawn: list[int]) -> float:
    """Return the FLOP of a step: every prompt read once, each token that is followed by another, and the pass."""
    pairs = GROUPS * causal(prompt) + sum(causal(each - 1, prompt) for each in drawn)
    reading = sizes.forward(GROUPS * prompt + sum(drawn) - len(drawn), sum(drawn), pairs)
    return reading + pass_flop(sizes, prompt, drawn)


def measure(bench: Bench, results: Results, prompt: int, rounds: int) -> None:
    """Tune TRL, compare results, and let both take turns: whole steps, and the pass alone."""
    _, drawn = bench.theirs()

    def replay(passes: int) -> Took:
        bench.passes = passes
        return bench.theirs(drawn)[0].took

    bench.passes, took = benching.fastest(f"TRL, prompts of {prompt}", PASSES, replay)
    best = bench.passes
    equal = gate(bench, drawn, matched(bench, drawn.tokens))
    whole = benching.Case("B3", f"step, prompts of {prompt}", "a step", equal)
    if not equal.passed:
        results.refuse(whole)
        return
    bench.passes = 8
    default = bench.theirs(checkpointed=True)[0].took if prompt < LENGTHY else None
    bench.passes = best
    results.measure_peak()
    lengths = list(map(len, bench.draw()["completion_ids"]))
    batch = f"{best} of {', '.join(map(str, PASSES))} rows a pass"
    whole = replace(whole, flop=step_flop(bench.sizes, prompt, lengths))
    alone = benching.Case("B3", f"pass, prompts of {prompt}", "a pass", equal,
                          pass_flop(bench.sizes, prompt, list(map(len, drawn.completion_ids))))  # fmt: skip
    turns = benching.take_turns(
        lambda: bench.ours().took, {"TRL": lambda: bench.theirs()[0].took}, benching.affordable(rounds, took[best])
    )
    results.add(whole, Peer("TRL", "P1", batch, TARGETS.get(prompt)), turns.ours, turns.peers["TRL"])
    if default:
        results.add(whole, Peer("TRL, defaults", "P0", "8 rows a pass, checkpointed"), turns.ours, [default])
    ours = turns.ours
    turns = benching.take_turns(
        lambda: bench.ours(drawn).took, {"TRL": lambda: bench.theirs(drawn)[0].took}, min(rounds, FEW)
    )
    results.add(alone, Peer("TRL", "P1", batch), turns.ours, turns.peers["TRL"])
    if faster():
        multiply_faster(bench.models["TRL"])
        theirs = [bench.theirs()[0].took]
        results.add(whole, Peer(f"TRL, {OUR_PRODUCTS}", "P2", f"{best} rows a pass"), ours, theirs)


def main() -> int:
    """Measure each length of prompts; 1 where results differ."""
    parser = benching.parser(__doc__, rounds=5)
    parser.add_argument("--prompts", type=int, nargs="+", default=[60, 500])
    asked = parser.parse_args()
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    datasets.disable_progress_bars()
    benching.prepare()
    results, sizes = Results(asked.quick), replace(SIZES, hidden=64, inner=256, layers=2) if asked.quick else SIZES
    renderer = Renderer(load_tokenizer(resolve("tiny")), Format(template="raw"))
    for prompt in [60] if asked.quick else asked.prompts:
        with tempfile.TemporaryDirectory() as folder:
            print(f"prompts of {prompt} tokens; load {os.getloadavg()[0]:.1f}", flush=True)
            measure(Bench(Path(folder), renderer, prompts(renderer, prompt), sizes), results, prompt,
                    1 if asked.quick else asked.rounds)  # fmt: skip
    return results.finish(asked.json)


if __name__ == "__main__":
    sys.exit(main())
