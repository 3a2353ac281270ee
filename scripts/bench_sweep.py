"""How fast is a sweep of LoRA ranks here (B2)? Adapters trained together, one after the other, and by TRL, if equal.

    python scripts/bench_sweep.py [--only GLOB] [--ranks 4,16,64] [--rounds N] [--steps N] [--quick] [--json FILE]

Adapters of several ranks and learning rates learn the same rows in the same batches over one base, in fp32 on one
thread, without activation checkpoints: the bundled model on its word problems, or a Llama of 13 million weights,
initialised at random, on rows of made-up tokens. Together, every adapter has a trainer of
its own and their passes are one. TRL trains one after the other, padded, with the rows per forward pass that are
fastest for it. Before any ratio stands the gate: initial weights, losses, first gradients and weights after some steps
of each adapter are equal. A time is that of a step of the whole sweep.
"""

from __future__ import annotations

import fnmatch
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import datasets
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear as AdaptedLinear
from transformers import PrinterCallback, set_seed
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

import benching
from bench_training import BATCH, DEVICE, GATE, PASSES, Seen, Watch, digest, relative, settings
from bench_training import Case as Llama
from benching import LOSS, SLOPE, WEIGHT, Gate, Peer, Results, Took
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.models.load import load_model, load_tokenizer
from tunelab.models.lora_layers import LoraLinear, add_in_place
from tunelab.models.packed_attention import packed_attention
from tunelab.models.products import Linear, multiply_faster
from tunelab.models.spec import resolve
from tunelab.models.stacked_adapters import sharing_weights
from tunelab.models.supervised_head import add_supervised_head
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.training.lockstep import Meet, in_lockstep
from tunelab.training.packing import PackedTrainer
from tunelab.training.rows import supervised_rows
from tunelab.training.together import GAIN, LockstepTrainer, Passes

TOGETHER, ALONE, TRL = "together", "one after the other", "TRL"
ALWAYS = float("inf")
ROWS = BATCH * 12
RATES = (5e-5, 1e-4, 2e-4)
"""Learning rates, in turn."""


def word_problems() -> list[dict[str, list[int]]]:
    """Return rows of the bundled model's own task: about 55 tokens, of which the answers are learnt."""
    task, renderer = find_task("arithmetic"), Renderer(load_tokenizer(resolve("tiny")), Format(template="chat"))
    samples = load_samples(task, "train", None)[:ROWS]
    return supervised_rows(samples, task, renderer, "completion", max_length=512, max_too_long=0.0).rows


def plain_layers(model: torch.nn.Module) -> None:
    """Let a model's layers multiply and add as a peer's do."""
    for module in model.modules():
        if isinstance(module, Linear):
            module.__class__ = torch.nn.Linear
        elif isinstance(module, LoraLinear):
            module.__class__ = AdaptedLinear


def our_layers(model: torch.nn.Module) -> None:
    """Let them do so as ours do."""
    multiply_faster(model)
    add_in_place(model)


@dataclass(frozen=True)
class Case:
    """A base and what its adapters learn."""

    name: str
    base: Callable[[], Any]
    rows: Callable[[], list[dict[str, list[int]]]]


LLAMA = Llama(32_000, adapter=False, masked=True)
CASES = {
    case.name: case
    for case in (
        Case("tiny", lambda: load_model(resolve("tiny"), "cpu", "fp32").to(DEVICE), word_problems),
        Case("13m", LLAMA.model, lambda: LLAMA.rows(ROWS)),
    )
}


@dataclass
class Sweep:
    """A base with fresh adapters of several ranks, and what trains them."""

    base: Any
    ranks: Sequence[int]
    rows: list[dict[str, list[int]]]
    tokenizer: Any
    folder: str
    passes: int = BATCH
    """Rows that TRL takes in a forward pass."""
    adapters: list[Any] = field(default_factory=list[Any])
    trial: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the trial of the last run together said."""

    def __post_init__(self) -> None:
        for rank in self.ranks:
            set_seed(0)
            config = LoraConfig(r=rank, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
            self.adapters.append(get_peft_model(sharing_weights(self.base), config))

    def run(self, way: str, steps: int, gate: bool = False, gain: float = ALWAYS) -> list[Seen]:
        """Train all for some steps of the same rows; they go on from where they are."""
        found = [Seen() for _ in self.ranks]
        for model in (self.base, *self.adapters):
            plain_layers(model) if way == TRL else our_layers(model)
        if way == TOGETHER:
            self._together(found, steps, gate, gain)
            return found
        for place, (adapter, seen) in enumerate(zip(self.adapters, found, strict=True)):
            set_seed(0)
            if way == TRL:
                self._trainer(SFTTrainer, place, steps, seen, gate, self.passes).train()
            else:
                with packed(adapter.get_base_model()):
                    self._trainer(PackedTrainer, place, steps, seen, gate, BATCH).train()
        return found

    def took(self, way: str, steps: int, gain: float = ALWAYS) -> Took:
        """Return what a step of all takes, after a first one that is not counted."""
        clocks = [seen.clock for seen in self.run(way, steps + 1, gain=gain)]
        if way == TOGETHER:  # all end a step before any ends the next one
            clocks = [[max(ends) for ends in zip(*clocks, strict=True)]]
        return Took(*(sum(clock[-1][i] - clock[1][i] for clock in clocks) / steps for i in (0, 1)))

    def _together(self, found: Sequence[Seen], steps: int, gate: bool, gain: float) -> None:
        def training(place: int) -> Callable[[Meet], None]:
            def train(meet: Meet) -> None:
                set_seed(0)
                trainer = self._trainer(LockstepTrainer, place, steps, found[place], gate, BATCH)
                trainer.meet = meet
                trainer.train()

            return train

        passes = Passes(self.base.train(), gain)
        with ExitStack() as until_done:
            until_done.enter_context(packed_attention(self.base))
            for adapter in self.adapters:
                until_done.enter_context(packed(adapter.get_base_model()))
            in_lockstep([training(place) for place in range(len(found))], passes.answer)
        self.trial = passes.facts()

    def _trainer(self, kind: Any, place: int, steps: int, seen: Seen, gate: bool, rows: int) -> Any:
        datasets.disable_progress_bars()
        told = settings(steps, rows, self.folder) | {"learning_rate": RATES[place % len(RATES)]}
        trainer = kind(
            model=self.adapters[place],
            args=SFTConfig(**told, padding_free=kind is not SFTTrainer),
            train_dataset=datasets.Dataset.from_list(self.rows),
            processing_class=self.tokenizer,
            callbacks=[Watch(seen, gate)],
        )
        trainer.remove_callback(PrinterCallback)
        return trainer


@contextmanager
def packed(model: Any) -> Generator[None]:
    """Give a model our attention and our head for as long as the block runs."""
    forward = model.forward
    add_supervised_head(model)
    with packed_attention(model):
        yield
    model.forward = forward


def gate(fresh: Callable[[], Sweep], steps: int) -> Gate:
    """Compare what each way makes of some steps of every adapter with what TRL makes."""
    sweeps = {way: fresh() for way in (TOGETHER, ALONE, TRL)}
    before = {way: [digest(adapter) for adapter in sweep.adapters] for way, sweep in sweeps.items()}
    seen = {way: sweep.run(way, steps, gate=True) for way, sweep in sweeps.items()}
    apart: dict[str, list[float]] = {"loss": [], "gradients": [], "weights": []}
    for way in (TOGETHER, ALONE):
        for ours, theirs in zip(seen[way], seen[TRL], strict=True):
            apart["loss"] += [abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=True)]
            slopes = {name: slope for name, slope in theirs.gradients.items() if float(slope.norm())}
            apart["gradients"] += [relative(ours.gradients[name], slope) for name, slope in slopes.items()]
        for ours, theirs in zip(sweeps[way].adapters, sweeps[TRL].adapters, strict=True):
            known = dict(theirs.named_parameters())
            apart["weights"] += [float((w - known[n]).detach().abs().max()) for n, w in ours.named_parameters()]
    unequal = sum(found != before[TRL] for found in before.values())
    return Gate(
        f"initial weights, losses, first gradients (relative) and weights of {steps} steps of every adapter",
        {"unequal initial weights": unequal, **{name: max(values) for name, values in apart.items()}},
        {"unequal initial weights": 0, "loss": LOSS, "gradients": SLOPE, "weights": WEIGHT},
    )


def measure(case: Case, sweep: Sweep, results: Results, equal: Gate, rounds: int, steps: int) -> None:
    """Let the ways take turns, add a line for each peer, and say what the trial of a training decides."""

    def passing(rows: int) -> Took:
        sweep.passes = rows
        return sweep.took(TRL, 1)

    sweep.passes, _ = benching.fastest(TRL, PASSES, passing)
    results.measure_peak()
    runs = {way: lambda way=way: sweep.took(way, steps) for way in (TOGETHER, ALONE, TRL)}
    turns = benching.take_turns(runs[TOGETHER], {way: runs[way] for way in (ALONE, TRL)}, rounds)
    name = f"{case.name}, ranks {', '.join(map(str, sweep.ranks))}"
    measured = benching.Case("B2", name, "a step of the sweep", equal)
    batch = f"{sweep.passes} of {', '.join(map(str, PASSES))} rows a pass"
    results.add(measured, Peer(f"tunelab, {ALONE}", "P2", f"{BATCH} rows a pass"), turns.ours, turns.peers[ALONE])
    results.add(measured, Peer(TRL, "P1", batch), turns.ours, turns.peers[TRL])
    sweep.run(TOGETHER, 12, gain=GAIN)
    print(f"  trial: {sweep.trial}", flush=True)


def main() -> int:
    """Measure the cases; 1 where results differ."""
    parser = benching.parser(__doc__, rounds=5)
    parser.add_argument("--only", default="*", help="cases, by glob: " + ", ".join(CASES))
    parser.add_argument("--ranks", default="4,16,64", help="of the adapters")
    parser.add_argument("--steps", type=int, default=4, help="that are timed in a run, after one that is not")
    asked = parser.parse_args()
    rounds, steps = (1, 2) if asked.quick else (asked.rounds, asked.steps)
    warnings.simplefilter("ignore")
    benching.prepare()
    tokenizer, results = load_tokenizer(resolve("tiny")), Results(asked.quick)
    for case in (CASES[name] for name in fnmatch.filter(CASES, "tiny" if asked.quick else asked.only)):
        with tempfile.TemporaryDirectory() as folder:
            ranks = [int(rank) for rank in asked.ranks.split(",")]
            fresh = partial(Sweep, case.base(), ranks, case.rows(), tokenizer, folder)
            print(f"{case.name}: ranks {asked.ranks}; load {os.getloadavg()[0]:.1f}", flush=True)
            equal = gate(fresh, GATE)
            if equal.passed:
                measure(case, fresh(), results, equal, rounds, steps)
            else:
                results.refuse(benching.Case("B2", case.name, "a step of the sweep", equal))
    return results.finish(asked.json)


if __name__ == "__main__":
    sys.exit(main())
