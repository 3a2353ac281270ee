"""How fast is a whole study? Ten cells from a cold start to the table (B6), and again after one changed cell (B7).

    python scripts/bench_study.py [--rounds 5] [--quick] [--json FILE] [--answer-with lm-eval|plain]

A Llama of a few million random weights, under the bundled tokenizer, is trained four ways (full, LoRA of rank 4, 16,
64); these and the base write answers to word problems behind many worked examples and choose letters. tunelab runs the
study file in a fresh store. Its peer is a folder of scripts (``by_hand/``): a process for each training and for each
evaluation, and one for the table, none of which imports tunelab. They get rows that are token ids already, the batch
sizes that are fastest for them, no activation checkpoints, merged adapters, and the same allocator and threads.
Evaluations go through lm-eval where ``python`` can import it, else through ``generate`` (``by_hand/answer.py``).

For B7 one recipe gets another learning rate. tunelab is run again in the store of B6. A careful person runs again one
training, its two evaluations and the table; scripts that remember nothing run as a whole, which is B6's time.

Before any ratio stands the gate: losses of all steps within 1e-5, the same texts (or another from where the two
likeliest tokens are within 1e-4) and the same choices with log-probabilities within 1e-4. tunelab runs twice in a
round, before and after its peer; where the two differ by over a tenth every ratio is void. What counts is the CPU time
of all processes of a run, as other work on the machine changes it least.
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

BY_HAND = Path(__file__).parent / "by_hand"
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**35), "MALLOC_TRIM_THRESHOLD_": str(2**35), "MALLOC_TOP_PAD_": str(2**28)}
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **ALLOCATOR}
TUNELAB = (sys.executable, "-c", "from tunelab.cli import main; main()")
SEED, LR, OTHER_LR, BATCH, BUDGET = 0, 1e-3, 5e-4, 16, 48
RANKS = {"full": 0, "lora_4": 4, "lora_16": 16, "lora_64": 64}
CHANGED = "lora_16"
EVALUATIONS = ("text", "choice")
LOSS, CLOSE, LARGEST_SPREAD = 1e-5, 1e-4, 0.10
BATCHES, PASSES = (1, 8, 24), (16, 4, 1)
ROW = "| {:34} | {:>20} | {:>20} | {:>6} |"


@dataclass(frozen=True)
class Size:
    """How much is trained and asked."""

    hidden: int
    layers: int
    rows: int
    questions: int
    shots: int


WHOLE, QUICK = Size(256, 4, 96, 24, 16), Size(64, 2, 32, 8, 6)


@dataclass(frozen=True)
class Took:
    """Seconds of a run and all its processes."""

    cpu: float
    wall: float


def process(*command: str | Path) -> None:
    """Run a program to its end. Raises RuntimeError with the end of what it said when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        env={k: v for k, v in os.environ.items() if k != "TUNELAB_DATA"} | ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr[-2000:]}")


def timed(run: Callable[[], None]) -> Took:
    """Run; return what it and all processes that it waited for took."""
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run()
    wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, wall)


def make_model(folder: Path, size: Size) -> None:
    """Write the base: a Llama with random weights that ends a turn as the bundled tokenizer says."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tunelab.models.load import load_tokenizer
    from tunelab.models.spec import resolve

    tokenizer: Any = load_tokenizer(resolve("tiny"))
    torch.manual_seed(SEED)
    config = LlamaConfig(
        hidden_size=size.hidden,
        intermediate_size=3 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=len(tokenizer),
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_questions(path: Path, count: int, seed: int) -> None:
    """Write questions with four numbers to choose from, in MMLU's columns."""
    rng, rows = random.Random(seed), []
    for _ in range(count):
        one, other = rng.sample(range(100, 1000), 2)
        options = [one + other, *rng.sample([n for n in range(200, 2000) if n != one + other], 3)]
        order = rng.sample(options, 4)
        question = f"A farm has {one} sheep and buys {other} more. How many sheep does the farm have then?"
        subject = "elementary_mathematics"
        rows.append(
            {"question": question, "subject": subject, "choices": [*map(str, order)], "answer": order.index(options[0])}
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def study_of(folder: Path, size: Size) -> Path:
    """Write the study file with its model and questions; return its path."""
    make_model(folder / "model", size)
    write_questions(folder / "dev.jsonl", 8, seed=1)
    write_questions(folder / "test.jsonl", size.questions, seed=2)
    raw = {"template": "raw", "stop": []}
    study = {
        "study": "bench-study",
        "question": "How does the rank change what is learnt?",
        "model": "./model",
        "task": "arithmetic",
        "mismatch": "allow",
        "formats": {
            "plain": raw,
            "shots": {**raw, "few_shots": {"k": size.shots}},
            "letters": {**raw, "few_shots": {"k": 5}},
        },
        "data": {"source": "builtin", "files": {"mmlu": {"dev": "dev.jsonl", "test": "test.jsonl"}}},
        "recipe": {
            "method": "sft",
            "loss": "completion",
            "format": "plain",
            "lr": LR,
            "epochs": 1,
            "batch_size": BATCH,
            "rows": size.rows,
        },
        "train": {
            name: {"adaptation": "lora", "lora": {"rank": rank, "alpha": 2 * rank, "dropout": 0.0}}
            if rank
            else {"adaptation": "full"}
            for name, rank in RANKS.items()
        },
        "evaluate": {
            "text": {"format": "shots", "by": "generate", "rows": size.questions, "max_new_tokens": BUDGET},
            "choice": {"task": "mmlu", "format": "letters", "by": "choose"},
        },
        "hardware": {"device": "cpu", "micro_batch_size": BATCH},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def tunelab(verb: Sequence[str], study: Path, home: Path, *overrides: str) -> None:
    """Run a command of tunelab on the study, in a store under ``home``."""
    process(*TUNELAB, *verb, study, *overrides, "--quiet", "--store", home / "store", "--results", home / "results")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def outputs(home: Path, variant: str, evaluation: str) -> list[dict[str, Any]]:
    """Return what a cell of tunelab's answered."""
    return lines_of(home / "results" / "bench-study" / "eval" / f"{variant}_eval_{evaluation}" / "outputs.jsonl")


class Scripts:
    """The folder of scripts: jobs over rows and prompts that tunelab rendered once, and where their results lie."""

    def __init__(self, study: Path, home: Path, folder: Path, answer_with: str) -> None:
        self.model, self.folder, self.answer_with = study.parent / "model", folder, answer_with
        self.batches = {"train": BATCH, "text": BATCHES[-1], "choice": BATCHES[-1]}
        folder.mkdir()
        tunelab(("data", "prepare"), study, home)
        self._write_rows(home)

    def _write_rows(self, home: Path) -> None:
        import pyarrow.parquet as pq

        table = next(home.joinpath("store", "tokenise").glob("*/train.parquet"))
        self._write("rows.json", pq.read_table(table, columns=["input_ids", "labels"]).to_pylist())
        targets = {
            row["id"]: row["targets"][0].rpartition("#### ")[2]
            for path in home.joinpath("store", "prepare").glob("*/rows.jsonl")
            for row in lines_of(path)
        }
        gold: dict[str, dict[str, str]] = {}
        for name in EVALUATIONS:
            rows = outputs(home, "base", name)
            labels = {"labels": {letter: f" {letter}" for letter in "ABCD"}} if name == "choice" else {}
            self._write(f"{name}.json", [{"id": row["id"], "prompt": row["prompt"], **labels} for row in rows])
            gold[name] = {row["id"]: targets[row["id"]] for row in rows}
        (self.folder / "answers").mkdir()
        self._write("answers/gold.json", gold)

    def _write(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.write_text(json.dumps(content))
        return path

    def train(self, variant: str, lr: float = LR) -> None:
        rank = RANKS[variant]
        recipe = {"seed": SEED, "lr": lr, "epochs": 1, "batch_size": BATCH, "rank": rank, "alpha": 2 * rank}
        out, rows = self.folder / variant, self.folder / "rows.json"
        shutil.rmtree(out, ignore_errors=True)
        self._job("train", model=self.model, rows=rows, out=out, recipe=recipe, micro=self.batches["train"])

    def answer(self, variant: str, evaluation: str) -> None:
        self._job(
            "answer",
            model=self.model,
            trained=self.model if variant == "base" else self.folder / variant,
            rows=self.folder / f"{evaluation}.json",
            out=self.folder / "answers" / f"{variant}-{evaluation}.json",
            how="choose" if evaluation == "choice" else "write",
            batch=self.batches[evaluation],
            budget=BUDGET,
            **{"with": self.answer_with},
        )

    def _job(self, script: str, **job: Any) -> None:
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in job.items()}
        process(sys.executable, BY_HAND / f"{script}.py", self._write("job.json", settings))

    def whole(self) -> None:
        """Everything, in the order in which one would."""
        for variant in RANKS:
            self.train(variant)
        for variant in ("base", *RANKS):
            self.cells(variant)
        self.table()

    def changed(self) -> None:
        """What the changed recipe decides, and nothing else."""
        self.train(CHANGED, OTHER_LR)
        self.cells(CHANGED)
        self.table()

    def cells(self, variant: str) -> None:
        for evaluation in EVALUATIONS:
            self.answer(variant, evaluation)

    def table(self) -> None:
        process(sys.executable, BY_HAND / "table.py", self.folder / "answers")

    def tune(self) -> None:
        """Find the batch sizes that cost the least CPU time."""
        self._fastest("train", PASSES, lambda: self.train(CHANGED))
        for evaluation in EVALUATIONS:
            self._fastest(evaluation, BATCHES, lambda name=evaluation: self.answer("base", name))

    def _fastest(self, what: str, sizes: Sequence[int], run: Callable[[], None]) -> None:
        took: dict[int, float] = {}
        for size in sizes:
            self.batches[what] = size
            took[size] = timed(run).cpu
        self.batches[what] = min(took, key=took.__getitem__)
        print(f"  scripts, {what}: CPU s by batch", ", ".join(f"{k}: {v:.1f}" for k, v in took.items()), flush=True)


def unlike(home: Path, scripts: Scripts) -> list[str]:
    """Return how the two differ beyond rounding; print texts that part where two tokens are as likely."""
    found: list[str] = []
    for variant in RANKS:
        ours = [row["loss"] for row in lines_of(home / "results" / "bench-study" / "training" / f"{variant}.jsonl")]
        theirs = json.loads((scripts.folder / variant / "losses.json").read_text())
        apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        print(f"  {variant}: losses of {len(ours)} steps within {apart:.1e}")
        found += [f"{variant}: losses differ by {apart:.1e}"] if apart > LOSS else []
    for variant in ("base", *RANKS):
        for evaluation in EVALUATIONS:
            ours = {row["id"]: row for row in outputs(home, variant, evaluation)}
            theirs = json.loads((scripts.folder / "answers" / f"{variant}-{evaluation}.json").read_text())
            for row in theirs:
                if reason := other_answer(ours[row["id"]], row, scripts, variant):
                    found.append(f"{variant}/{evaluation}, {row['id']}: {reason}")
    return found


def other_answer(ours: Mapping[str, Any], theirs: Mapping[str, Any], scripts: Scripts, variant: str) -> str:
    """Return how two answers differ beyond rounding, an empty text where they do not."""
    if "logprobs" in theirs:
        apart = max(abs(ours["logprobs"][label] - value) for label, value in theirs["logprobs"].items())
        same = ours["output"] == theirs["output"]
        return (
            "" if same and apart <= CLOSE else f"choices {'equal' if same else 'differ'}, log-probabilities {apart:.1e}"
        )
    if ours["output"].strip() == theirs["output"]:
        return ""
    gap = gap_at_parting(ours, theirs["output"], scripts, variant)
    print(f"  {variant}, {ours['id']}: texts part where the two largest logits are {gap:.1e} apart")
    return "" if gap <= CLOSE else "texts differ"


def gap_at_parting(ours: Mapping[str, Any], theirs: str, scripts: Scripts, variant: str) -> float:
    """Return how far the two likeliest tokens are apart where two texts part."""
    import torch
    from transformers import AutoTokenizer

    from by_hand.answer import encode, load

    tokenizer: Any = AutoTokenizer.from_pretrained(scripts.model)
    trained = scripts.model if variant == "base" else scripts.folder / variant
    model = load({"model": str(scripts.model), "trained": str(trained)})
    one, other = (encode(tokenizer, f" {text.strip()}") for text in (ours["output"], theirs))
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    with torch.inference_mode():
        logits = model(torch.tensor([encode(tokenizer, ours["prompt"]) + one[:at]])).logits[0, -1]
    first, second = logits.topk(2).values.tolist()
    return first - second


@dataclass(frozen=True)
class Round:
    """A turn of everyone."""

    ours: tuple[Took, Took]
    ours_again: Took
    theirs: Took
    theirs_again: Took


def one_round(study: Path, scripts: Scripts, folder: Path) -> Round:
    """tunelab from a cold start, the scripts, tunelab from a cold start; and each of them after a change."""
    homes = folder / "first", folder / "second"
    first = timed(lambda: tunelab(("run",), study, homes[0]))
    theirs = timed(scripts.whole)
    second = timed(lambda: tunelab(("run",), study, homes[1]))
    again = timed(lambda: tunelab(("run",), study, homes[1], f"train.{CHANGED}.lr={OTHER_LR}"))
    theirs_again = timed(scripts.changed)
    for home in homes:
        shutil.rmtree(home)
    return Round((first, second), again, theirs, theirs_again)


def spread(took: Sequence[Took]) -> str:
    """Return median CPU-seconds with the lowest and highest, and median wall seconds."""
    cpu = [t.cpu for t in took]
    wall = statistics.median(t.wall for t in took)
    return f"{statistics.median(cpu):.1f} ({min(cpu):.1f}-{max(cpu):.1f}), {wall:.0f}"


def compared(rounds: Sequence[Round]) -> dict[str, dict[str, Any]]:
    """Return what each question took, by who, and the ratio of the medians; none where our own times differ."""
    firsts, seconds = ([r.ours[i] for r in rounds] for i in (0, 1))
    itself = statistics.median(t.cpu for t in firsts) / statistics.median(t.cpu for t in seconds)
    ours, again = [*firsts, *seconds], [r.ours_again for r in rounds]
    whole, part = [r.theirs for r in rounds], [r.theirs_again for r in rounds]
    asked = {
        "B6: ten cells, cold start to table": (ours, whole),
        "B7: the changed recipe's scripts": (again, part),
        "B7: all scripts, as none remembers": (again, whole),
    }
    found: dict[str, dict[str, Any]] = {}
    for name, (one, other) in asked.items():
        ratio = statistics.median(t.cpu for t in other) / statistics.median(t.cpu for t in one)
        void = abs(itself - 1) > LARGEST_SPREAD
        found[name] = {
            "tunelab": spread(one),
            "scripts": spread(other),
            "ratio": None if void else ratio,
            "itself": itself,
        }
    return found


def versions() -> str:
    """Say what ran, and how busy the machine is."""
    names = ("torch", "transformers", "trl", "peft")
    found = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return f"{found}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def main() -> int:
    """Compare and print a table; 1 where results differ."""
    parser = argparse.ArgumentParser(description="Compare a whole study with the scripts that it replaces.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a small study, one round, batch sizes as they are")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    peer = "lm-eval" if find_spec("lm_eval") else "plain"
    parser.add_argument("--answer-with", choices=("lm-eval", "plain"), default=peer)
    asked = parser.parse_args()
    size = QUICK if asked.quick else WHOLE
    print(f"{versions()}; the scripts answer with {asked.answer_with}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        study = study_of(folder, size)
        home = folder / "home"
        tunelab(("run",), study, home)
        scripts = Scripts(study, home, folder / "scripts", asked.answer_with)
        scripts.whole()
        reasons = unlike(home, scripts)
        print(*(f"  {reason}" for reason in reasons[:20]), sep="\n")
        print(f"  equal results: {'NO' if reasons else 'yes'}", flush=True)
        if reasons:
            return 1
        if not asked.quick:
            scripts.tune()
        rounds: list[Round] = []
        for _ in range(1 if asked.quick else asked.rounds):
            rounds.append(one_round(study, scripts, folder))
            print(f"  {rounds[-1]}; load {os.getloadavg()[0]:.1f}", flush=True)
        found = compared(rounds)
    show(found)
    if asked.json:
        asked.json.write_text(json.dumps({"versions": versions(), "rounds": len(rounds), "ratios": found}, indent=2))
    return 0


def show(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the table."""
    print(ROW.format("", "tunelab, CPU s, wall", "scripts", "ratio"))
    for name, row in found.items():
        ratio = "void" if row["ratio"] is None else f"{row['ratio']:.1f}"
        print(ROW.format(name, row["tunelab"], row["scripts"], ratio))
    print(f"tunelab against itself: {next(iter(found.values()))['itself']:.2f}; {versions()}")


if __name__ == "__main__":
    sys.exit(main())
