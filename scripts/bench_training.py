"""How fast is supervised fine-tuning here? Our packed steps against TRL's and against a bare loop, on equal results.

    python scripts/bench_training.py [--only GLOB] [--rounds 5] [--steps 2]

Llamas of 13 and 43 million parameters, initialised at random, learn rows of made-up tokens in fp32 on one thread.
Every way gets the same rows in the same batches, the same optimiser, allocator and threads, and no activation
checkpoints; the padded ways get the rows per forward pass that are fastest for them, found beforehand. Before any
ratio stands the gate: token ids, initial weights, losses, gradients and weights after some steps are equal, or there is
no ratio. Ways take turns, forwards and backwards, in every round; what counts is the process's CPU time, as other work
on the machine changes it least. A case is void where our own times differ by more than a tenth between the first and
the second half of the rounds' turns.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import os
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

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

from tunelab.models.load import load_tokenizer, quiet
from tunelab.models.memory import keep_freed_memory
from tunelab.models.packed_attention import packed_attention
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
"""Rows of a forward pass that padded ways may choose from."""
WAYS = ("tunelab", "TRL", "bare loop")
PADDED = WAYS[1:]
HIDDEN, INNER, LAYERS, RANK = 256, 768, 6, 16
LARGEST_SPREAD = 0.10
ROW = "| {:16} | {:>18} | {:>18} | {:>18} | {:>6} | {:>12} | {:>5} | {:>5} | {:>14} |"


@dataclass(frozen=True)
class Case:
    """A model, what of it is trained, and which tokens are learnt."""

    vocabulary: int
    adapter: bool
    masked: bool

    @property
    def name(self) -> str:
        return f"{'lora' if self.adapter else 'full'}-{self.vocabulary // 1000}k-{'masked' if self.masked else 'all'}"

    def model(self) -> Any:
        """Return the model as every way begins with it."""
        torch.manual_seed(0)
        config = LlamaConfig(
            hidden_size=HIDDEN,
            intermediate_size=INNER,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            num_key_value_heads=4,
            vocab_size=self.vocabulary,
            tie_word_embeddings=True,
            pad_token_id=0,
        )
        model = LlamaForCausalLM(config).to(DEVICE)
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


CASES = {c.name: c for c in (Case(v, a, m) for v in (32_000, 150_000) for a in (False, True) for m in (True, False))}


@dataclass
class Seen:
    """What a run of a few steps was made of, and what it took from the end of its first step to the end of its last."""

    ids: list[str] = field(default_factory=list[str])
    losses: list[float] = field(default_factory=list[float])
    gradients: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    clock: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def tick(self) -> None:
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        self.clock.append((time.process_time(), time.perf_counter()))

    @property
    def cpu(self) -> float:
        """CPU-seconds of a step."""
        return (self.clock[-1][0] - self.clock[0][0]) / (len(self.clock) - 1)

    @property
    def wall(self) -> float:
        """Seconds of a step."""
        return (self.clock[-1][1] - self.clock[0][1]) / (len(self.clock) - 1)


class Watch(TrainerCallback):
    """Keeps a trainer's times, and in a run for the gate its first gradients and its losses."""

    def __init__(self, seen: Seen, gate: bool) -> None:
        self.seen, self.gate = seen, gate

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if self.gate and not self.seen.gradients:
            self.seen.gradients = gradients(model)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seen.tick()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.seen.losses += [logs["loss"]] if "loss" in logs else []


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def settings(steps: int, passes: int, folder: str) -> dict[str, Any]:
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
        "bf16": False,
        "use_cpu": DEVICE.type == "cpu",
        "gradient_checkpointing": None,
        "activation_checkpointing": False,
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
            args=SFTConfig(**settings(steps, self.passes[way], self.folder), padding_free=padding_free),
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
        for step in range(steps):
            rows = [self.rows[i] for i in order[step * BATCH : (step + 1) * BATCH]]
            learnt = torch.tensor(sum(sum(label >= 0 for label in row["labels"][1:]) for row in rows), device=DEVICE)
            total = 0.0
            for start in range(0, BATCH, self.passes["bare loop"]):
                batch = {k: v.to(DEVICE) for k, v in collate(rows[start : start + self.passes["bare loop"]]).items()}
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


def gate(bench: Bench) -> bool:
    """Print how far the ways' results are from TRL's, and say whether they are equal."""
    seen, models = {}, {}
    for way in WAYS:
        models[way] = bench.case.model()
        before = digest(models[way])
        seen[way] = bench.run(way, models[way], GATE, gate=True)
        bench.order = bench.order or [[row["input_ids"] for row in bench.rows].index(ids) for ids in seen[way].ids]
        read = hashlib.sha256(repr(seen[way].ids).encode()).hexdigest()[:12]
        losses = " ".join(f"{loss:.5f}" for loss in seen[way].losses)
        print(f"  {way}: initial weights {before}, token ids {read}, losses {losses}")
    passed = len({repr(s.ids) for s in seen.values()}) == 1
    theirs = dict(models["TRL"].named_parameters())
    for way in ("tunelab", "bare loop"):
        losses = max(abs(a - b) for a, b in zip(seen[way].losses, seen["TRL"].losses, strict=True))
        slopes = max(relative(seen[way].gradients[n], g) for n, g in seen["TRL"].gradients.items() if float(g.norm()))
        weights = max(float((w - theirs[n]).detach().abs().max()) for n, w in models[way].named_parameters())
        passed = passed and losses <= 1e-5 and slopes <= 1e-5 and weights <= 1e-4
        print(
            f"  {way} against TRL: loss {losses:.1e}, gradients {slopes:.1e}, weights after {GATE} steps {weights:.1e}"
        )
    print(f"  equal results: {'yes' if passed else 'NO'}", flush=True)
    return passed


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def digest(model: Any) -> str:
    found = hashlib.sha256()
    for name, weight in model.named_parameters():
        found.update(name.encode())
        found.update(weight.detach().cpu().numpy().tobytes())
    return found.hexdigest()[:12]


def tune(bench: Bench, models: dict[str, Any]) -> None:
    """Give the padded ways the rows per forward pass that are fastest for them."""
    for way in PADDED:
        times: dict[int, float] = {}
        for passes in PASSES:
            bench.passes[way] = passes
            times[passes] = bench.run(way, models[way], 2).cpu
        bench.passes[way] = min(times, key=times.__getitem__)
        shown = ", ".join(f"{passes}: {seconds:.2f}" for passes, seconds in times.items())
        print(f"  {way}: CPU-seconds a step by rows a pass: {shown}", flush=True)


def measure(bench: Bench, rounds: int, steps: int) -> tuple[dict[str, list[Seen]], float]:
    """Let the ways take turns; return what each run took, and the median peak of a matrix product."""
    models = {way: bench.case.model() for way in WAYS}
    tune(bench, models)
    found: dict[str, list[Seen]] = {way: [] for way in WAYS}
    peaks: list[float] = []
    for _ in range(rounds):
        peaks.append(gemm_peak())
        for way in (*WAYS, *reversed(WAYS)):
            found[way].append(bench.run(way, models[way], steps + 1))
    return found, statistics.median(peaks)


def gemm_peak(size: int = 1536) -> float:
    """Return fp32 FLOP per CPU-second of a large matrix product."""
    one, other = torch.randn(size, size), torch.randn(size, size)
    best = 0.0
    for _ in range(3):
        start = time.process_time()
        one @ other
        best = max(best, 2 * size**3 / (time.process_time() - start))
    return best


def needed(case: Case, rows: list[dict[str, list[int]]]) -> float:
    """Return the FLOP of a step that nothing can leave out: layers of all tokens, the head of those that are learnt.

    2 a weight and token forwards, 2 for the gradient of what enters, and 2 for that of the weight where it is trained.
    """
    tokens = sum(len(row["input_ids"]) for row in rows) / len(rows) * BATCH
    learnt = sum(sum(label >= 0 for label in row["labels"][1:]) for row in rows) / len(rows) * BATCH
    layers = LAYERS * (4 * HIDDEN**2 + 3 * HIDDEN * INNER)
    adapters = LAYERS * RANK * (8 * HIDDEN + 3 * (HIDDEN + INNER)) if case.adapter else 0
    each = 4 if case.adapter else 6
    return each * (layers * tokens + HIDDEN * case.vocabulary * learnt) + 6 * adapters * tokens


def padding(rows: list[dict[str, list[int]]]) -> str:
    lengths = [len(row["input_ids"]) for row in rows]
    padded = sum(BATCH * max(lengths[i : i + BATCH]) for i in range(0, len(lengths), BATCH))
    return (
        f"{sum(lengths)} tokens in {len(rows)} rows, {padded / sum(lengths):.2f} times as many when {BATCH} are padded"
    )


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def line(bench: Bench, found: dict[str, list[Seen]], peak: float) -> str:
    """Return a case's line of the table: CPU-seconds a step, and ratios of medians, where our own times agree."""
    cpu = {way: [seen.cpu for seen in runs] for way, runs in found.items()}
    wall = {way: statistics.median(seen.wall for seen in runs) for way, runs in found.items()}
    median = {way: statistics.median(times) for way, times in cpu.items()}
    itself = statistics.median(cpu["tunelab"][::2]) / statistics.median(cpu["tunelab"][1::2])
    void = abs(itself - 1) > LARGEST_SPREAD
    ratios = ["void" if void else f"{median[way] / median['tunelab']:.2f}" for way in PADDED]
    share = needed(bench.case, bench.rows) / median["tunelab"] / peak
    times = [spread(cpu[way]) for way in WAYS]
    walls = "/".join(f"{wall[way]:.1f}" for way in WAYS)
    return ROW.format(bench.case.name, *times, *ratios, f"{itself:.2f}", f"{share:.0%}", walls)


def main() -> int:
    """Measure the cases and print a line for each; 1 where results differ."""
    parser = argparse.ArgumentParser(description="Compare training steps on equal results.")
    parser.add_argument("--only", default="*", help="cases, by glob: " + ", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="that are timed in a run, after one that is not")
    parser.add_argument("--quick", action="store_true", help="one round of one case")
    asked = parser.parse_args()
    if asked.quick:
        asked = argparse.Namespace(**vars(asked) | {"rounds": 1, "steps": 1, "only": "lora-32k-masked"})
    quiet()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    keep_freed_memory()
    tokenizer, lines, equal = load_tokenizer(resolve("tiny")), [], True
    for case in (CASES[name] for name in fnmatch.filter(CASES, asked.only)):
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(case, tokenizer, folder, case.rows(BATCH * max(GATE, asked.steps + 1)))
            print(f"{case.name}: {padding(bench.rows)}; load {os.getloadavg()[0]:.1f}", flush=True)
            if gate(bench):
                lines.append(line(bench, *measure(bench, asked.rounds, asked.steps)))
                print(lines[-1], flush=True)
            else:
                equal = False
    print(
        ROW.format(
            "case", *(f"{way}, CPU-s" for way in WAYS), *(f"vs {way}" for way in PADDED), "A/A", "peak", "wall s"
        )
    )
    print(*lines, sep="\n")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
