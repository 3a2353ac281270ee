"""Does tunelab compute on this GPU what it computes on a CPU, and how fast? One command, under nine minutes.

    python scripts/gpu_check.py [--out gpu-check] [--device cuda|cpu] [--tiny]

Models are initialised at random or bundled; nothing is downloaded. Checked are greedy text and choices of the engine
against ``generate`` in fp32 (small models of six architectures, and one of 43 M), how far it is from fp32 in bf16
against how far ``generate`` is (words until texts part, log-probabilities), packed training against TRL and a bare
loop in fp32, and against TRL in bf16 at 0.5 billion, steps of GRPO against TRL's, one study with a GRPO and a QLoRA
training, the memory estimate of a full training against the peak, and energy. Times stand only beside results that are
equal, or as near. ``OUT.json`` and ``OUT.md`` say what was found so far, written after each part.
Exit codes: 0 all is well, 1 a check failed, 2 there is no such device. ``--device cpu --tiny`` tries the script out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any


@dataclass
class Check:
    """One line of the table: ``passed`` is None where something could not be checked."""

    name: str
    passed: bool | None
    found: str
    figures: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Asked:
    """Where and how much."""

    device: str
    tiny: bool


LARGER = {
    "0.5 billion": {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 10,
                    "num_attention_heads": 32, "num_key_value_heads": 8},
    "6 billion": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
                  "num_attention_heads": 32, "num_key_value_heads": 8},
}  # fmt: skip
"""Llamas that answer in bf16."""
FARTHER = 1.5
"""How many times as far from fp32 as plain ones log-probabilities may be."""


def clock(run: Callable[[], Any], device: str, rounds: int) -> tuple[Any, float]:
    """Return what is made, and the median of the seconds it takes after a first run."""
    import torch

    made, took = run(), []
    for _ in range(rounds):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - start)
    return made, statistics.median(took)


def architectures(asked: Asked) -> list[Check]:
    """Greedy text of small random models with windows and soft caps: the engine against ``generate``, in fp32."""
    import torch

    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "generation"))
    import random_models
    from test_generation_engine import LONGEST, requests, texts

    found: list[Check] = []
    for name in list(random_models.CONFIGS)[: 1 if asked.tiny else None]:
        model: Any = random_models.made(name).float().to(asked.device)
        prompts = requests(random_models.prompts(30, 20, longest=16))
        stops = {"eos_token_id": list(random_models.STOPS), "pad_token_id": 0, "do_sample": False}
        expected: list[list[int]] = []
        for request in prompts:
            ids = torch.tensor([request.ids], device=asked.device)
            made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=LONGEST, **stops)
            expected.append(made[0, ids.shape[1] :].tolist())
        apart = differing(texts(model, prompts, 8), expected)
        found.append(Check(f"texts of {name}, fp32", apart <= 1, f"{apart} of {len(prompts)} differ from generate's"))
    return found


def answering(asked: Asked) -> list[Check]:
    """B4 and B5: the engine against plain generation, in fp32 for equality and in bf16 for nearness and times."""
    import bench_generation as bench

    if asked.tiny:
        return equal_answers(asked, bench.model_of("llama-tiny")) + in_half(asked, "tiny", bench.model_of("llama-tiny"))
    found = equal_answers(asked, bench.model_of("llama-43M"))
    for name, sizes in LARGER.items():
        found += in_half(asked, name, random_llama(asked, sizes))
    return found


def random_llama(asked: Asked, sizes: dict[str, int]) -> Any:
    """Return a Llama in bf16 with random weights, made on the device."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import bench_generation as bench

    torch.manual_seed(0)
    special = {"eos_token_id": 1, "pad_token_id": 0, "max_position_embeddings": 2048}
    config = LlamaConfig(vocab_size=bench.VOCABULARY, **special, **sizes, **bench.LIVELY)
    with torch.device(asked.device):
        return LlamaForCausalLM._from_config(config, dtype=torch.bfloat16).eval()


def equal_answers(asked: Asked, model: Any) -> list[Check]:
    """Compare texts and choices in fp32; log-probabilities with what another batch changes of the peer's own, too."""
    import bench_generation as bench

    count = 2 if asked.tiny else 32
    found: list[Check] = []
    for one in bench.benches(model.to(asked.device), count):
        theirs = plain(one)(count)
        gate = one.gate(theirs, one.engine())
        said, passed = gate.told(), gate.passed
        if "log-probabilities" in gate.largest:
            itself = one.gate(theirs, plain(one)(count // 2)).largest["log-probabilities"]
            said += f" (the peer's own in another batch {itself:.1e})"
            allowed = max(bench.CLOSE, 2 * itself)
            passed = not gate.largest["choices that differ"] and gate.largest["log-probabilities"] <= allowed
        found.append(Check(f"{one.name}, fp32", passed, said))
    return found


def in_half(asked: Asked, size: str, model: Any) -> list[Check]:
    """Compare what is answered in bf16 with the same weights in fp32: the engine is to be as near as ``generate``.

    Both round, each in its own way, so their texts part from each other as from those in fp32.
    """
    import torch

    import bench_generation as bench

    count, rounds = (24, 1) if asked.tiny else (64, 2)
    half, whole = (bench.benches(model.to(asked.device, kind), count) for kind in (torch.bfloat16, torch.float32))
    found: list[Check] = []
    model.to(torch.float32)
    exact = [plain(one)(count) for one in whole]
    model.to(torch.bfloat16)
    for one, expected in zip(half, exact, strict=True):
        ours, seconds = clock(one.engine, asked.device, rounds)
        theirs, theirs_s = clock(lambda one=one: plain(one)(count), asked.device, rounds)
        times = f"{seconds:.2f} s, generate {theirs_s:.2f} s in one batch: {theirs_s / seconds:.1f} times"
        if one.name.startswith("B4"):
            ours_off, theirs_off = differing(ours, expected), differing(theirs, expected)
            kept, theirs_kept = alike(ours, expected), alike(theirs, expected)
            passed = kept * FARTHER**2 >= theirs_kept
            said = f"{ours_off} of {count} texts differ from fp32's, after {kept} words in all, "
            said += f"of generate's {theirs_off} after {theirs_kept}; from generate's "
            itself = differing(plain(one)(count // 2), theirs)
            said += f"{differing(ours, theirs)}, of its own in batches of {count // 2} {itself}"
        else:
            ours_off, theirs_off = off(ours, expected), off(theirs, expected)
            passed = ours_off <= FARTHER * theirs_off
            said = f"log-probabilities {ours_off:.1e} from fp32's in mean, plain ones {theirs_off:.1e}"
        figures: dict[str, Any] = {"engine_s": seconds, "plain_s": theirs_s, "off": ours_off, "plain_off": theirs_off}
        found.append(Check(f"{one.name}, {size}, bf16", passed, f"{said}; {times}", figures))
    return found


def alike(found: list[str], expected: list[str]) -> int:
    """Return how many words are those of other texts, up to the first that is not."""
    pairs = ((a.split(), b.split()) for a, b in zip(found, expected, strict=True))
    return sum(len(list(takewhile(lambda pair: pair[0] == pair[1], zip(*pair, strict=False)))) for pair in pairs)


def off(found: list[Any], expected: list[Any]) -> float:
    """Return the mean difference of log-probabilities."""
    return statistics.mean(
        abs(a.logprobs[k] - b.logprobs[k]) for a, b in zip(found, expected, strict=True) for k in a.logprobs
    )


def plain(bench: Any) -> Callable[[int], Any]:
    """Return transformers' own answerer of a bench: its last peer."""
    return list(bench.peers.values())[-1]


def differing(one: list[Any], other: list[Any]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def training(asked: Asked) -> list[Check]:
    """B1: packed steps against TRL's and a bare loop's, in fp32."""
    os.environ["BENCH_DEVICE"] = asked.device
    import bench_training as bench

    if asked.tiny:
        bench.HIDDEN, bench.INNER, bench.LAYERS = 32, 64, 2
    found: list[Check] = []
    for case in (bench.Case(500 if asked.tiny else 32_000, adapter, True) for adapter in (False, True)):
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = bench.load_tokenizer(bench.resolve("tiny"))
            one = bench.Bench(case, tokenizer, folder, case.rows(bench.BATCH * bench.GATE))
            equal = bench.gate(one).passed
            figures: dict[str, Any] = {}
            if equal:
                seen = {way: one.run(way, case.model(), 2 if asked.tiny else bench.GATE) for way in bench.WAYS}
                figures = {way: run.took.wall for way, run in seen.items()}
        said = ", ".join(f"{way} {wall:.3f} s a step" for way, wall in figures.items())
        found.append(Check(f"B1 {case.name}, fp32", equal, said or "results differ", figures))
    return found


def speeds(asked: Asked) -> list[Check]:
    """B1 at a GPU's size, a Llama of 0.5 billion in bf16: the same losses but for rounding, and times."""
    os.environ["BENCH_DEVICE"] = asked.device
    import bench_training as bench
    from tunelab.training.packing import ROUNDED

    steps, rounds = (2, 1) if asked.tiny else (4, 2)
    found: list[Check] = []
    with tempfile.TemporaryDirectory() as folder, large(bench, asked.tiny):
        tokenizer = bench.load_tokenizer(bench.resolve("tiny"))
        for case in (bench.Case(500 if asked.tiny else 32_000, adapter, True) for adapter in (False, True)):
            one = bench.Bench(case, tokenizer, folder, case.rows(bench.BATCH * steps))
            losses, took = dict[str, float](), dict[str, list[float]]()
            for way in ("tunelab", "TRL") * rounds:
                seen = one.run(way, case.model(), steps)
                losses.setdefault(way, seen.losses[0])
                ends = [wall for _, wall in seen.clock]
                took.setdefault(way, []).append((ends[-1] - ends[1]) / (steps - 1))
            times = {way: statistics.median(each) for way, each in took.items()}
            said = ", ".join(f"{way} {wall:.3f} s a step" for way, wall in times.items())
            apart = abs(losses["tunelab"] - losses["TRL"])
            name = f"B1 {case.name}, 0.5 billion, {bench.BATCH} rows, bf16"
            said = f"first losses {apart:.1e} apart; {said}: {times['TRL'] / times['tunelab']:.2f} times"
            found.append(Check(name, apart <= ROUNDED, said, times))
    return found


@contextmanager
def large(bench: Any, tiny: bool) -> Generator[None]:
    """Give the bench of training the size of a GPU, and its own afterwards."""
    names = ("HIDDEN", "INNER", "LAYERS", "BATCH", "HALF")
    before = [getattr(bench, name) for name in names]
    sizes = (32, 64, 2, 4, True) if tiny else (2048, 5632, 10, 32, True)
    try:
        for name, size in zip(names, sizes, strict=True):
            setattr(bench, name, size)
        yield
    finally:
        for name, size in zip(names, before, strict=True):
            setattr(bench, name, size)


def grpo(asked: Asked) -> list[Check]:
    """B3: steps of GRPO against TRL's, in fp32, TRL with all rows in a pass."""
    os.environ["BENCH_DEVICE"] = asked.device
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    import bench_grpo as bench
    from tunelab.formats.format import Format
    from tunelab.formats.renderer import Renderer

    sizes = replace(bench.SIZES, hidden=64, inner=128, layers=2) if asked.tiny else bench.SIZES
    renderer = Renderer(bench.load_tokenizer(bench.resolve("tiny")), Format(template="raw"))
    found: list[Check] = []
    for prompt in (60,) if asked.tiny else (60, 500):
        with tempfile.TemporaryDirectory() as folder:
            one = bench.Bench(Path(folder), renderer, bench.prompts(renderer, prompt), sizes)
            _, drawn = one.theirs()
            equal = bench.gate(one, drawn, bench.matched(one, drawn.tokens))
            said, times = equal.told(), dict[str, float]()
            if equal.passed:
                turns = [(one.ours().took.wall, one.theirs()[0].took.wall) for _ in range(1 if asked.tiny else 3)]
                times = dict(zip(("tunelab", "TRL"), map(statistics.median, zip(*turns, strict=True)), strict=True))
                said += f"; {times['tunelab']:.2f} s a step, TRL {times['TRL']:.2f}: "
                said += f"{times['TRL'] / times['tunelab']:.1f} times"
            found.append(Check(f"B3 prompts of {prompt}, fp32", equal.passed, said, times))
    return found


def study(asked: Asked) -> list[Check]:
    """A study with supervised training, GRPO and QLoRA of the bundled model, its memory and its energy."""
    import torch

    from tunelab.files import read_json
    from tunelab.study.api import SilentReporter
    from tunelab.study.api import run as run_study

    trained: dict[str, Any] = {
        "sft": {"adaptation": "lora", "method": "sft", "loss": "completion"},
        "grpo": {"adaptation": "full", "method": "grpo", "grpo": {"max_new_tokens": 16}},
    }
    if find_spec("bitsandbytes"):
        trained["qlora"] = {"adaptation": "qlora", "method": "sft", "loss": "completion"}
    with tempfile.TemporaryDirectory() as folder:
        if asked.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        comparison = run_study(
            described(asked, trained),
            store=Path(folder, "store"),
            results=Path(folder, "results"),
            reporter=SilentReporter(),
        )
        records = [read_json(path) for path in Path(folder, "store").glob("*/*/record.json")]
    holes = "; ".join(map(str, comparison["holes"]))
    made = [r["slug"] for r in records if r["kind"] == "train"]
    joules = sum(r.get("energy", {}).get("gpu", 0.0) for r in records)
    found = [
        Check(
            "study: " + ", ".join(trained),
            not holes and len(made) == len(trained),
            holes or f"{len(made)} trained and evaluated",
        )
    ]
    if asked.device == "cuda":
        found.append(Check("energy through NVML", joules > 0, f"{joules:.0f} J", {"joules": joules}))
    else:
        found.append(Check("energy through NVML", None, "no GPU"))
    return found


def described(asked: Asked, trained: dict[str, Any], **more: Any) -> Any:
    """Return a study of the bundled model, two steps a training."""
    from tunelab.study.spec import Study

    shared = {"format": "chat", "lr": 1e-5, "epochs": 1, "batch_size": 8, "rows": 16, "max_steps": 2}
    return Study.model_validate(
        {
            "study": "gpu-check",
            "question": "Does all of it run here?",
            "model": "tiny",
            "task": "arithmetic",
            "formats": {"chat": {"template": "chat"}},
            "train": {name: {**shared, **entry} for name, entry in trained.items()},
            "evaluate": {"chat": {"format": "chat", "rows": 8}},
            "hardware": {"device": asked.device, "generation": "engine"},
            **more,
        }
    )


def memory(asked: Asked) -> list[Check]:
    """The plan's estimate of a full training against the most that PyTorch had allocated."""
    import torch

    if asked.device == "cpu":
        return [Check("memory estimate", None, "no GPU")]
    from transformers import LlamaConfig, LlamaForCausalLM

    from tunelab.models.load import load_tokenizer
    from tunelab.models.spec import resolve
    from tunelab.study.api import SilentReporter
    from tunelab.study.api import run as run_study
    from tunelab.study.fitting import needs
    from tunelab.study.open import open_points

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tokenizer: Any = load_tokenizer(resolve("tiny"))
        config = LlamaConfig(
            hidden_size=1024,
            intermediate_size=2816,
            num_hidden_layers=12,
            num_attention_heads=16,
            vocab_size=len(tokenizer),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        LlamaForCausalLM(config).save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        full = {"full": {"adaptation": "full", "method": "sft", "loss": "completion"}}
        one = described(asked, full, model=str(folder / "model"))
        opened = open_points([("", one)], folder, folder / "store")
        estimates = [need.as_data() for need in needs(opened, opened.plan(), None).values()]
        expected = max(sum(v for k, v in e["parts"].items() if k != "runtime") for e in estimates if e.get("parts"))
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run_study(one, store=folder / "store", results=folder / "results", reporter=SilentReporter())
        peak = torch.cuda.max_memory_allocated() - before
    ratio = expected / peak
    said = f"estimate {expected / 2**30:.2f} GiB, peak {peak / 2**30:.2f} GiB"
    return [Check("memory estimate", 0.8 <= ratio <= 1.5, said, {"estimate": expected, "peak": peak})]


PARTS: tuple[Callable[[Asked], list[Check]], ...] = (architectures, answering, study, memory, training, speeds, grpo)


def checked(asked: Asked, keep: Callable[[list[Check]], None] = lambda found: None) -> list[Check]:
    """Run all parts and keep what each has found; one that raises is a failed check, and the others go on."""
    found: list[Check] = []
    for part in PARTS:
        start = time.perf_counter()
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always", UserWarning)
                found += part(asked)
            said = {str(one.message) for one in told if "recorded" in str(one.message) or "slower" in str(one.message)}
            found += [Check(f"{part.__name__}, warned", None, line) for line in sorted(said)]
        except Exception as error:  # noqa: BLE001 - the report of a machine that is lent for minutes must come
            traceback.print_exc()
            found.append(Check(part.__name__, False, f"{type(error).__name__}: {str(error)[:300]}"))
        print(f"{part.__name__}: {time.perf_counter() - start:.0f} s", flush=True)
        keep(found)
    return found


def device_name(device: str) -> str:
    """Return the name of the device, an empty text where there is none."""
    import torch

    if device == "cpu":
        return "CPU"
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def table(name: str, found: list[Check]) -> str:
    """Return the Markdown table."""
    words = {True: "yes", False: "NO", None: "not checked"}
    lines = [f"| {check.name} | {words[check.passed]} | {check.found} |" for check in found]
    return "\n".join([f"# {name}", "", "| check | passed | found |", "| --- | --- | --- |", *lines, ""])


def main() -> int:
    """Check and write what was found."""
    parser = argparse.ArgumentParser(description="Check results and speed on a GPU.")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to try the script out")
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="written with .json and .md")
    given = parser.parse_args()
    name = device_name(given.device)
    if not name:
        print("gpu-check: no CUDA GPU is visible, expected one; run it there, or try it out with --device cpu --tiny")
        return 2
    import torch
    import transformers

    from tunelab.models.load import quiet

    quiet()
    torch.backends.cuda.matmul.allow_tf32 = False
    given.out.parent.mkdir(parents=True, exist_ok=True)
    facts = {"device": name, "torch": torch.__version__, "transformers": transformers.__version__, "tiny": given.tiny}

    def keep(found: list[Check]) -> None:
        given.out.with_suffix(".md").write_text(table(name, found))
        content = {**facts, "checks": [asdict(check) for check in found]}
        given.out.with_suffix(".json").write_text(json.dumps(content, indent=2))

    found = checked(Asked(given.device, given.tiny), keep)
    print(table(name, found))
    return 1 if any(check.passed is False for check in found) else 0


if __name__ == "__main__":
    sys.exit(main())
