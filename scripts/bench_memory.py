"""How good is the memory estimate of `tunelab plan`? Runs trainings and generations, each in a process of its own.

    python scripts/bench_memory.py [--only GLOB] [--threads 1]

Models are initialised at random, of 7 to 100 million parameters, and learn made-up rows of equal length on the CPU.
What is measured is the peak of a process (VmHWM) while its step runs, less what it held with all libraries imported,
and less mapped pages of files, which the kernel takes back when it needs them, but for those of weights that nothing
changes: they are the weights. The estimate is that of
the plan, without its part for the process itself. The exit code is 0 when every ratio of the two lies between 0.8 and
1.5. Ten minutes and more; other work on the machine costs time and changes no figure.
"""

import argparse
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunelab.engine.runner import Runner
from tunelab.errors import StepError
from tunelab.files import read_json
from tunelab.models.spec import resolve
from tunelab.study.api import SilentReporter
from tunelab.study.footprints import Footprint, footprint
from tunelab.study.longest import Longest
from tunelab.study.open import open_points
from tunelab.study.spec import Study

LOWEST, HIGHEST = 0.8, 1.5
MIB = 1 << 20
ROW = "{:26} {:>9} {:>9} {:>6}  {}"


def decoder(kind: str, hidden: int, inner: int, layers: int, heads: int, kv_heads: int, **more: Any) -> dict[str, Any]:
    """Return a causal model's configuration."""
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers}
    attention = {"num_attention_heads": heads, "num_key_value_heads": kv_heads}
    return {"model_type": kind, **sizes, **attention, "tie_word_embeddings": kind in ("qwen3", "gemma2"), **more}


MODELS: dict[str, dict[str, Any]] = {
    "qwen3-7M": decoder("qwen3", 256, 768, 6, 4, 2, head_dim=64, vocab_size=8192),
    "llama-100M": decoder("llama", 768, 2048, 12, 12, 4, vocab_size=16384),
    "gemma2-27M": decoder("gemma2", 384, 1152, 8, 6, 3, head_dim=64, vocab_size=32768),
    "phi3-46M": decoder("phi3", 512, 1024, 8, 8, 8, vocab_size=24000),
    "t5-23M": {
        "model_type": "t5",
        "d_model": 384,
        "d_ff": 1024,
        "d_kv": 64,
        "num_layers": 4,
        "num_decoder_layers": 4,
        "num_heads": 6,
        "feed_forward_proj": "gated-gelu",
        "vocab_size": 16384,
        "decoder_start_token_id": 0,
    },
}

TASK = '''
"""Made-up rows of equal length; about every second completion is right, so GRPO learns of all."""
from zlib import crc32
from tunelab.data.sample import Message, Sample
from tunelab.scoring.score import Metric, judged


class Rows:
    name = "rows"
    version = 1
    scorer_version = 1
    dataset = None
    train_split = "train"
    test_split = "test"
    metrics = (Metric("same"),)
    stop = ()
    max_new_tokens = 64

    def load(self, split, source):
        for i in range(64):
            words = " ".join(str((i * 7919 + j * 104729 + len(split)) % 100000) for j in range({words}))
            yield Sample(f"{{split}}-{{i}}", {{"question": words}}, (f"{{i}} " * 16,), {{"rejected": "no " * 16}})

    def messages(self, sample):
        return [Message("user", sample.fields["question"])]

    def target(self, sample):
        return sample.targets[0]

    def score(self, sample, output):
        right = output == sample.targets[0] or (len(output) > 20 and crc32(output.encode()) % 2)
        return judged(right, output, {{"same": float(right)}})
'''


@dataclass(frozen=True)
class Case:
    """A step that is measured: training by a recipe, or the untouched model's answers where there is none."""

    model: str
    recipe: Mapping[str, Any] | None = None
    hardware: Mapping[str, Any] = field(default_factory=dict[str, Any])
    words: int = 40
    evaluation: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def changes_all(self) -> bool:
        """Whether the step writes the weights that it has read, or reads none from a file of its own."""
        return self.model not in MODELS or (self.recipe is not None and self.recipe["adaptation"] == "full")

    def study(self, folder: Path) -> Study:
        """Return a study that has the step."""
        shared = {"lr": 1e-4, "epochs": 1, "batch_size": 16, "rows": 32, "max_steps": 2, "max_length": 4096}
        entry = {"format": "raw", "loss": "all", **shared, **(self.recipe or {})}
        return Study.model_validate(
            {
                "study": "bench-memory",
                "question": "How much memory does it take?",
                "model": str(folder / "model") if self.model in MODELS else self.model,
                "task": f"{folder / 'task.py'}:Rows",
                "formats": {"raw": {"template": "raw"}},
                "train": {"trained": entry} if self.recipe else {},
                "evaluate": {"raw": {"format": "raw", "rows": 32, **self.evaluation}},
                "hardware": {"device": "cpu", **self.hardware},
            }
        )


FULL = {"method": "sft", "adaptation": "full"}
LORA = {"method": "sft", "adaptation": "lora"}
GRPO = {"method": "grpo", "adaptation": "full"}
CHECKPOINTS = {"micro_batch_size": 16, "gradient_checkpointing": True}


def rows(number: int) -> dict[str, Any]:
    """Return the hardware settings of so many rows a forward pass."""
    return {"micro_batch_size": number}


CASES = {
    "tiny-full-64": Case("tiny", FULL | {"batch_size": 64, "rows": 64}, rows(64), words=8),
    "tiny-grpo-128": Case("tiny", GRPO | {"grpo": {"max_new_tokens": 48}}, rows(128), words=8),
    "sft-full-16": Case("qwen3-7M", FULL, rows(16)),
    "sft-full-4": Case("qwen3-7M", FULL, rows(4)),
    "sft-full-16-checkpoints": Case("qwen3-7M", FULL, CHECKPOINTS),
    "sft-lora-16": Case("qwen3-7M", LORA, rows(16)),
    "sft-lora-16-checkpoints": Case("qwen3-7M", LORA, CHECKPOINTS),
    "sft-lora-16-checkpoints-dropout": Case("qwen3-7M", LORA | {"lora": {"dropout": 0.1}}, CHECKPOINTS),
    "large-full-4": Case("llama-100M", FULL, rows(4)),
    "large-full-16": Case("llama-100M", FULL, rows(16)),
    "large-full-16-checkpoints": Case("llama-100M", FULL, CHECKPOINTS),
    "large-full-4-bf16": Case("llama-100M", FULL | {"precision": "bf16"}, rows(4)),
    "large-lora-4": Case("llama-100M", LORA, rows(4)),
    "large-lora-16": Case("llama-100M", LORA, rows(16)),
    "large-lora-16-checkpoints": Case("llama-100M", LORA, CHECKPOINTS),
    "large-lora-16-dropout": Case("llama-100M", LORA | {"lora": {"dropout": 0.1}}, rows(16)),
    "large-qlora-4": Case("llama-100M", LORA | {"adaptation": "qlora"}, rows(4)),
    "gemma2-full-8": Case("gemma2-27M", FULL, rows(8)),
    "dpo-full-4": Case("qwen3-7M", FULL | {"method": "dpo", "dpo": {"pairs": "dataset"}}, rows(4)),
    "grpo-full-16": Case("qwen3-7M", GRPO | {"grpo": {"max_new_tokens": 64}}, rows(16)),
    "grpo-full-64-beta": Case("qwen3-7M", GRPO | {"grpo": {"max_new_tokens": 64, "beta": 0.1}}, rows(64)),
    "grpo-lora-4": Case(
        "llama-100M", GRPO | {"adaptation": "lora", "batch_size": 2, "grpo": {"max_new_tokens": 32}}, rows(4)
    ),
    "phi3-lora-4-long": Case("phi3-46M", LORA, rows(4), words=120),
    "phi3-full-2-long": Case("phi3-46M", FULL | {"batch_size": 4}, rows(2), words=120),
    "seq2seq-full-8": Case("t5-23M", FULL | {"method": "seq2seq"}, rows(8)),
    "generate-32": Case("qwen3-7M", evaluation={"max_new_tokens": 128}),
    "generate-large-32": Case("llama-100M", evaluation={"max_new_tokens": 64}),
}


def write_model(name: str, folder: Path) -> None:
    """Write a model that has learnt nothing, with the bundled tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    settings = dict(MODELS[name])
    config = AutoConfig.for_model(settings.pop("model_type"), pad_token_id=0, eos_token_id=2, **settings)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    kind.from_config(config).save_pretrained(folder)
    for file in Path(resolve("tiny").location).glob("tokenizer*"):
        shutil.copy(file, folder)


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Run a case's step in this process; return the bytes it took at its peak, and the parts that were estimated."""
    import tunelab.study.steps.generate
    import tunelab.study.steps.train  # noqa: F401

    opened = open_points([("", CASES[name].study(folder))], folder, folder / "store")
    step = opened.compiled.train.get("trained") or opened.compiled.scores["base/raw"].inputs["outputs"]
    runner = Runner(opened.store, SilentReporter())
    runner.run(step.needs)
    found = footprint(step, Longest(opened.store))
    assert isinstance(found, Footprint)
    before, files = _forget_peak(), _status("RssFile")
    outcome = runner.run([step])
    if not outcome.ok:
        raise StepError("; ".join(outcome.messages.values()))
    mapped = _status("RssFile") - files
    unchanged = 0 if CASES[name].changes_all else (folder / "model" / "model.safetensors").stat().st_size
    return {"measured": _status("VmHWM") - before - max(0, mapped - unchanged), "parts": found.parts}


def _forget_peak() -> int:
    """Let the kernel count this process's peak from now on; return what it holds now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def in_own_process(name: str, folder: Path, threads: int) -> dict[str, Any]:
    """Prepare a case's files, then measure it; neither leaves anything behind in this process."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
    (folder / "task.py").write_text(TASK.format(words=CASES[name].words))
    for stage in ("prepare", "measure"):
        command = [sys.executable, __file__, "--stage", stage, "--only", name, "--folder", str(folder)]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return read_json(folder / "measured.json")


def line(name: str, found: Mapping[str, Any]) -> tuple[str, float]:
    """Return a case's line of the table, and its ratio of estimate to measurement."""
    parts = {part: size for part, size in found["parts"].items() if part != "runtime"}
    estimated, measured = sum(parts.values()), found["measured"]
    shown = ", ".join(f"{part} {size / MIB:.0f}" for part, size in parts.items())
    return ROW.format(name, f"{estimated / MIB:.0f}", f"{measured / MIB:.0f}", f"{estimated / measured:.2f}", shown), (
        estimated / measured
    )


def main() -> int:
    """Measure the cases and print a line for each."""
    parser = argparse.ArgumentParser(description="Compare estimated with measured memory.")
    parser.add_argument("--only", default="*", help="cases, by glob")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stage", choices=("prepare", "measure"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stage == "prepare":
        if (model := CASES[asked.only].model) in MODELS:
            write_model(model, asked.folder / "model")
        return 0
    if asked.stage == "measure":
        (asked.folder / "measured.json").write_text(json.dumps(measure(asked.only, asked.folder)))
        return 0
    print(ROW.format("case", "estimated", "measured", "ratio", "parts in MiB"))
    ratios: list[float] = []
    for name in fnmatch.filter(CASES, asked.only):
        with tempfile.TemporaryDirectory() as temporary:
            shown, ratio = line(name, in_own_process(name, Path(temporary), asked.threads))
        print(shown, flush=True)
        ratios.append(ratio)
    return 0 if all(LOWEST <= ratio <= HIGHEST for ratio in ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
