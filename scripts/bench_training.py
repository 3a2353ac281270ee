"""How fast is supervised fine-tuning here (B1)? Our packed steps against TRL's and a bare loop's, on equal results.

    python scripts/bench_training.py [--only GLOB] [--rounds N] [--quick] [--json FILE]

A Llama, initialised at random, with 32,000 or 150,000 words, learns rows of made-up tokens in fp32 on one thread, in
full or by LoRA, all tokens or the answers alone. Every way gets the same rows in the same batches, the same optimiser,
allocator and threads, and no activation checkpoints; the padded ways get the rows per forward pass that are fastest
for them, found beforehand. TRL as it comes (all rows in a pass, activations checkpointed) is measured once, and so are
the peers with linear layers that multiply as ours do, where ours do otherwise than torch. Before
any ratio stands the gate: ids, initial weights, losses, gradients and weights after some steps are equal.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

import benching
from benching import FEW, LOSS, SLOPE, WEIGHT, Gate, Peer, Results, Took
from flop import Sizes, causal
from tunelab.models.load import load_tokenizer
from tunelab.models.lora_layers import add_in_place
from tunelab.models.packed_attention import packed_attention
from tunelab.models.products import faster, multiply_faster
from tunelab.models.spec import resolve
from tunelab.models.supervised_head import add_supervised_head
from tunelab.training.packing import PackedTrainer

DEVICE = torch.device(os.environ.get("BENCH_DEVICE", "cpu"))
"""Set by ``gpu_check.py``; everywhere else a CPU."""
BATCH = 8
LR = 1e-4
GATE = 3
"""Optimiser steps after which losses and weights are compared."""
PASSES = (8, 2, 1)
"""Rows of a forward pass that padded ways may choose from; of the large vocabulary the last two alone."""
WAYS = ("tunelab", "TRL", "bare loop")
PADDED = WAYS[1:]
TARGETS = {"TRL": 2.5, "bare loop": 1.8}
HIDDEN, INNER, LAYERS, RANK = 256, 768, 6, 16
HALF = False
"""Whether products are of bf16, under autocast; ``gpu_check.py`` sets it with the sizes."""
OUR_PRODUCTS = "with our linear layers"
"""What a peer is called whose linear layers multiply as tunelab's do, to show what else makes the difference."""
LARGE = 150_000
"""Words whose logits take so long that a run is one step, and the gate two."""


@dataclass(frozen=True)
class Case:
    """A model, what of it is trained, and which tokens are learnt."""

    vocabulary: int
    adapter: bool
    masked: bool

    @property
    def told(self) -> str:
        """The case in words."""
        trained = "LoRA" if self.adapter else "full weights"
        return f"{trained}, {self.vocabulary // 1000}k words, {'answers' if self.masked else 'all'} learnt"

    @property
    def name(self) -> str:
        return f"{'lora' if self.adapter else 'full'}-{self.vocabulary // 1000}k-{'masked' if self.masked else 'all'}"

    @property
    def large(self) -> bool:
        """Whether a step takes so long that less is measured."""
        return self.vocabulary == LARGE

    def model(self) -> Any:
        """Return the model as every way begins with it."""
        torch.manual_seed(0)
        config = LlamaConfig(
            hidden_size=HIDDEN,
            intermediate_size=INNER,
            num_hidden_layers=LAYERS,
            num_attention_heads=max(4, HIDDEN // 64),
            num_key_value_heads=max(4, HIDDEN // 64),
            vocab_size=self.vocabulary,
            tie_word_embeddings=True,
            pad_token_id=0,
        )
        with DEVICE:
            model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16 if self.adapter and HALF else None)
        if not self.adapter:
            return model
        return get_peft_model(
            model, LoraConfig(r=RANK, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        )

    def rows(self, number: int) -> list[dict[str, list[int]]]:
        """Return prompts of about 70 tokens and answers of about 45, both lognormal, as instructions have them."""
        draw = torch.Generator().manual_seed(0)
        lengths = torch.exp(torch.randn(number, 2, generator=draw) * 0.45 + torch.tensor([70.0, 45.0]).log())
        found: list[dict[str, list[int]]] = []
        for prompt, answer in lengths.round().clamp(4, 400).int().tolist():
            ids = torch.randint(3, self.vocabulary, (prompt + answer,), generator=draw).tolist()
            found.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:] if self.masked else ids})
        return found


CASES = {
    c.name: c
    for c in (
        *(Case(words, adapter, masked=True) for words in (32_000, LARGE) for adapter in (False, True)),
        Case(32_000, adapter=False, masked=False),
    )
}
SMALLEST = Case(8_000, adapter=True, masked=True)


@dataclass
class Seen:
    """What a run of a few steps was made of, and when it began and each of them ended."""

    ids: list[str] = field(default_factory=list[str])
    losses: list[float] = field(default_factory=list[float])
    gradients: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    clock: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def tick(self) -> None:
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        self.clock.append((time.process_time(), time.perf_counter()))

    @property
    def took(self) -> Took:
        """Return the seconds of a step."""
        (cpu, wall), (cpu_end, wall_end) = self.clock[0], self.clock[-1]
        return Took((cpu_end - cpu) / (len(self.clock) - 1), (wall_end - wall) / (len(self.clock) - 1))


class Watch(TrainerCallback):
    """Keeps a trainer's times, and in a run for the gate its first gradients and its losses."""

    def __init__(self, seen: Seen, gate: bool) -> None:
        self.seen, self.gate = seen, gate

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seen.tick()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if self.gate and not self.seen.gradients:
            self.seen.gradients = gradients(model)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seen.tick()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.seen.losses += [logs["loss"]] if "loss" in logs else []


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def settings(steps: int, passes: int, folder: str, checkpointed: bool = False) -> dict[str, Any]:
    """Return what both trainers are told."""
    return {
        "output_dir": folder,
        "seed": 0,
        "data_seed": 0,
        "learning_rate": LR,
        "lr_scheduler_type": "constant",
        "max_steps": steps,
        "per_device_train_batch_size": passes,
        "gradient_accumulation_steps": BATCH // passes,
        "max_grad_norm": 1.0,
        "bf16": HALF,
        "use_cpu": DEVICE.type == "cpu",
        "gradient_checkpointing": None,
        "activation_checkpointing": checkpointed,
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": "none",
        "max_length": None,
        "dataloader_pin_memory": False,
    }


@dataclass
class Bench:
    """A case with the rows that every way learns, and how many of them the padded ways take in a forward pass."""

    case: Case
    tokenizer: Any
    folder: str
    rows: list[dict[str, list[int]]]
    passes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WAYS, BATCH))
    checkpointed: bool = False
    """Whether TRL computes activations again."""
    order: list[int] = field(default_factory=list[int])
    """Of the rows, as the trainers' sampler draws it, for the bare loop."""

    def run(self, way: str, model: Any, steps: int, gate: bool = False) -> Seen:
        """Train for some steps of the same rows; the model goes on from where it is."""
        seen = Seen()
        base = model.get_base_model() if self.case.adapter else model
        hook = (
            base.register_forward_pre_hook(lambda *call: self._read(seen, call[2]), with_kwargs=True) if gate else None
        )
        set_seed(0)
        if way == "bare loop":
            self._bare(model, steps, seen, gate)
        elif way == "TRL":
            self._trainer(SFTTrainer, model, steps, way, seen, gate, padding_free=False).train()
        else:
            multiply_faster(model)
            add_in_place(model)
            trainer = self._trainer(PackedTrainer, model, steps, way, seen, gate, padding_free=True)
            forward = base.forward
            add_supervised_head(base)
            with packed_attention(base):
                trainer.train()
            base.forward = forward
        if hook:
            hook.remove()
        return seen

    def _trainer(self, kind: Any, model: Any, steps: int, way: str, seen: Seen, gate: bool, padding_free: bool) -> Any:
        datasets.disable_progress_bars()
        trainer = kind(
            model=model,
            args=SFTConfig(
                **settings(steps, self.passes[way], self.folder, self.checkpointed), padding_free=padding_free
            ),
            train_dataset=datasets.Dataset.from_list(self.rows),
            processing_class=self.tokenizer,
            callbacks=[Watch(seen, gate)],
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _bare(self, model: Any, steps: int, seen: Seen, gate: bool) -> None:
        """What one writes by hand: padded rows, the model's own loss, AdamW."""
        collate = DataCollatorForLanguageModeling(pad_token_id=0)
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=0.0, fused=True)
        order = self.order or list(range(len(self.rows)))
        model.train()
        seen.tick()
        for step in range(steps):
            rows = [self.rows[i] for i in order[step * BATCH : (step + 1) * BATCH]]
            learnt = torch.tensor(sum(sum(label >= 0 for label in row["labels"][1:]) for row in rows), device=DEVICE)
            total = 0.0
            for start in range(0, BATCH, self.passes["bare loop"]):
                batch = {k: v.to(DEVICE) for k, v in collate(rows[start : start + self.passes["bare loop"]]).items()}
                with torch.autocast(DEVICE.type, torch.bfloat16, enabled=HALF):
                    loss = model(**batch, use_cache=False, num_items_in_batch=learnt).loss
                loss.backward()
                total += loss.item()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            if gate and not seen.gradients:
                seen.gradients = gradients(model)
            optimizer.step()
            optimizer.zero_grad()
            seen.losses.append(total)
            seen.tick()

    @staticmethod
    def _read(seen: Seen, inputs: dict[str, Any]) -> None:
        ids = inputs["input_ids"]
        if "cu_seq_lens_q" in inputs:
            seen.ids += [row.tolist() for row in ids[0].split(inputs["cu_seq_lens_q"].diff().tolist())]
        else:
            seen.ids += [row[mask.bool()].tolist() for row, mask in zip(ids, inputs["attention_mask"], strict=True)]


def gate(bench: Bench, steps: int = GATE) -> Gate:
    """Compare what the ways make of some steps with what TRL makes; ids and initial weights must be the same."""
    seen, models, before = {}, {}, set()
    for way in WAYS:
        models[way] = bench.case.model()
        before.add(digest(models[way]))
        seen[way] = bench.run(way, models[way], steps, gate=True)
        bench.order = bench.order or [[row["input_ids"] for row in bench.rows].index(ids) for ids in seen[way].ids]
    theirs = dict(models["TRL"].named_parameters())
    found = {"unequal ids": len({repr(s.ids) for s in seen.values()}) - 1, "unequal initial weights": len(before) - 1}
    apart: dict[str, list[float]] = {"loss": [], "gradients": [], "weights": []}
    for way in ("tunelab", "bare loop"):
        apart["loss"] += [abs(a - b) for a, b in zip(seen[way].losses, seen["TRL"].losses, strict=True)]
        apart["gradients"] += [
            relative(seen[way].gradients[n], g) for n, g in seen["TRL"].gradients.items() if float(g.norm())
        ]
        apart["weights"] += [float((w - theirs[n]).detach().abs().max()) for n, w in models[way].named_parameters()]
    largest = {**found, **{name: max(values) for name, values in apart.items()}}
    read = hashlib.sha256(repr(seen["TRL"].ids).encode()).hexdigest()[:12]
    return Gate(
        f"ids, initial weights, losses, first gradients (relative) and weights of {steps} steps",
        largest,
        {**dict.fromkeys(found, 0), "loss": LOSS, "gradients": SLOPE, "weights": WEIGHT},
        [f"sha256 of ids {read}, of initial weights {min(before)}"],
    )


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def digest(model: Any) -> str:
    found = hashlib.sha256()
    for name, weight in model.named_parameters():
        found.update(name.encode())
        found.update(weight.detach().cpu().numpy().tobytes())
    return found.hexdigest()[:12]


def tune(bench: Bench, models: Mapping[str, Any]) -> Took | None:
    """Give padded ways their fastest rows per pass; return what the loop takes with all in one, where it was tried."""
    return [tune_one(bench, models, way, choices(bench.case)) for way in PADDED][-1].get(BATCH)


def choices(case: Case) -> tuple[int, ...]:
    """Return the rows per pass that padded ways may choose from."""
    return PASSES[1:] if case.large else PASSES


def tune_one(bench: Bench, models: Mapping[str, Any], way: str, sizes: Sequence[int]) -> dict[int, Took]:
    """Give a padded way its fastest rows per pass; return what each took."""

    def run(passes: int) -> Took:
        bench.passes[way] = passes
        return bench.run(way, models[way], 1).took

    bench.passes[way], took = benching.fastest(way, sizes, run)
    return took


def as_it_comes(bench: Bench) -> Took:
    """Return what a step of TRL takes with all rows in a pass and activations computed again."""
    best, bench.passes["TRL"], bench.checkpointed = bench.passes["TRL"], BATCH, True
    took = bench.run("TRL", bench.case.model(), 1).took
    bench.passes["TRL"], bench.checkpointed = best, False
    return took


def measure(bench: Bench, results: Results, rounds: int, steps: int) -> None:
    """Tune the peers, compare results as they are tuned, let the ways take turns, and add a line for each peer."""
    models = {way: bench.case.model() for way in WAYS}
    padded, default = tune(bench, models), as_it_comes(bench)
    equal = gate(bench, FEW if bench.case.large else GATE)
    case = benching.Case("B1", bench.case.told, "a step", equal, needed(bench.case, bench.rows))
    if not case.gate.passed:
        results.refuse(case)
        return
    results.measure_peak()
    runs = {way: lambda way=way: bench.run(way, models[way], steps).took for way in WAYS}
    turns = benching.take_turns(runs["tunelab"], {way: runs[way] for way in PADDED}, rounds)
    for way, tier in zip(PADDED, ("P1", "P2"), strict=True):
        batch = f"{bench.passes[way]} of {', '.join(map(str, choices(bench.case)))} rows a pass"
        target = TARGETS[way] if bench.case.masked else None
        results.add(case, Peer(way, tier, batch, target), turns.ours, turns.peers[way])
    results.add(case, Peer("TRL, defaults", "P0", f"{BATCH} rows a pass, checkpointed"), turns.ours, [default])
    if padded:
        results.add(case, Peer("bare loop, padded", "P2", f"{BATCH} rows a pass"), turns.ours, [padded])
    for way in PADDED if faster() and not bench.case.large else ():
        multiply_faster(models[way])
        took = tune_one(bench, models, way, choices(bench.case)[-2:])
        name, batch = f"{way}, {OUR_PRODUCTS}", f"{bench.passes[way]} rows a pass"
        results.add(case, Peer(name, "P2", batch), turns.ours, [took[bench.passes[way]], runs[way](), runs[way]()])


def needed(case: Case, rows: list[dict[str, list[int]]]) -> float:
    """Return the FLOP of a step that nothing can leave out: layers of all tokens, the head of those that are learnt.

    2 a weight and token forwards, 2 for the gradient of what enters, and 2 for that of the weight where it is trained.
    """
    steps = len(rows) / BATCH
    tokens = sum(len(row["input_ids"]) for row in rows) / steps
    learnt = sum(sum(label >= 0 for label in row["labels"][1:]) for row in rows) / steps
    pairs = sum(causal(len(row["input_ids"])) for row in rows) / steps
    sizes = Sizes(HIDDEN, INNER, LAYERS, case.vocabulary)
    weights = sizes.layer_flop(tokens) + sizes.head_flop(learnt)
    adapters = 2 * LAYERS * RANK * (8 * HIDDEN + 3 * (HIDDEN + INNER)) * tokens if case.adapter else 0
    return (2 if case.adapter else 3) * weights + 3 * (adapters + sizes.attention_flop(pairs))


def padding(rows: list[dict[str, list[int]]]) -> str:
    lengths = [len(row["input_ids"]) for row in rows]
    padded = sum(BATCH * max(lengths[i : i + BATCH]) for i in range(0, len(lengths), BATCH))
    return (
        f"{sum(lengths)} tokens in {len(rows)} rows, {padded / sum(lengths):.2f} times as many when {BATCH} are padded"
    )


def main() -> int:
    """Measure the cases; 1 where results differ."""
    parser = benching.parser(__doc__, rounds=5)
    parser.add_argument("--only", default="*", help="cases, by glob: " + ", ".join(CASES))
    parser.add_argument("--steps", type=int, default=2, help="that are timed in a run")
    asked = parser.parse_args()
    if asked.quick:
        global LAYERS, PASSES
        LAYERS, PASSES = 2, (8, 1)
    chosen = [SMALLEST] if asked.quick else [CASES[name] for name in fnmatch.filter(CASES, asked.only)]
    warnings.simplefilter("ignore")
    benching.prepare()
    tokenizer, results = load_tokenizer(resolve("tiny")), Results(asked.quick)
    for case in chosen:
        steps = 1 if asked.quick or case.large else asked.steps
        rounds = 1 if asked.quick else asked.rounds if case.masked and not case.large else min(asked.rounds, FEW)
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(case, tokenizer, folder, case.rows(BATCH * GATE))
            print(f"{case.name}: {padding(bench.rows)}; load {os.getloadavg()[0]:.1f}", flush=True)
            measure(bench, results, rounds, steps)
    return results.finish(asked.json)


if __name__ == "__main__":
    sys.exit(main())
