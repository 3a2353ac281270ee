"""How fast is a whole study? Ten cells from a cold start to the table (B6), and again after one changed cell (B7).

    python scripts/bench_study.py [--rounds N] [--quick] [--json FILE] [--answer-with lm-eval|plain]

A Llama of a few million random weights, under the bundled tokenizer, is trained four ways (full, LoRA of rank 4, 16,
64); these and the base write answers to word problems behind many worked examples and choose letters. tunelab runs the
study file in a fresh store. Its peer is a folder of scripts (``by_hand/``): a process for each training and for each
evaluation, and one for the table, none of which imports tunelab. They get rows that are token ids already, the batch
size for text that is fastest for them, no activation checkpoints, merged adapters, and the same allocator and threads.
Evaluations go through lm-eval where ``python`` can import it, else through ``generate`` (``by_hand/answer.py``).

For B7 one recipe gets another learning rate. tunelab is run again in the store of B6. A careful person runs again one
training, its two evaluations and the table; scripts that remember nothing run as a whole, which is B6's time.

The gate: losses of all steps within 1e-5, the same texts (or another from where the two likeliest tokens are within
1e-4) and the same choices with log-probabilities within 1e-4, all of the first round's runs. tunelab runs twice in a
round, before and after its peer. What counts is the CPU time of all processes of a run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

import benching
from benching import CLOSE, LOSS, Case, Gate, Peer, Results, Sizes, Took, causal, timed_processes

BY_HAND = Path(__file__).parent / "by_hand"
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**35), "MALLOC_TRIM_THRESHOLD_": str(2**35), "MALLOC_TOP_PAD_": str(2**28)}
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **ALLOCATOR}
TUNELAB = (sys.executable, "-c", "from tunelab.cli import main; main()")
SEED, LR, OTHER_LR, BATCH, BUDGET = 0, 1e-3, 5e-4, 16, 48
CHANGED = "lora_16"
INNER = 3
"""Times as wide as the model are its feed-forward layers."""
BATCHES = (1, 24)


@dataclass(frozen=True)
class Size:
    """How much is trained and asked."""

    hidden: int
    layers: int
    rows: int
    questions: int
    shots: int
    ranks: Mapping[str, int]
    """Of the adapters, by variant; 0 is full weights."""
    evaluations: Sequence[str]

    @property
    def cells(self) -> int:
        return (1 + len(self.ranks)) * len(self.evaluations)


WHOLE = Size(256, 4, 96, 24, 16, {"full": 0, "lora_4": 4, CHANGED: 16, "lora_64": 64}, ("text", "choice"))
QUICK = Size(64, 2, 32, 4, 6, {CHANGED: 16}, ("text",))


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
        intermediate_size=INNER * size.hidden,
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
    evaluations: dict[str, dict[str, Any]] = {
        "text": {"format": "shots", "by": "generate", "rows": size.questions, "max_new_tokens": BUDGET},
        "choice": {"task": "mmlu", "format": "letters", "by": "choose"},
    }
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
            for name, rank in size.ranks.items()
        },
        "evaluate": {name: evaluations[name] for name in size.evaluations},
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

    def __init__(self, study: Path, home: Path, folder: Path, size: Size, answer_with: str) -> None:
        self.model, self.folder, self.answer_with = study.parent / "model", folder, answer_with
        self.ranks, self.evaluations = size.ranks, size.evaluations
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
        for name in self.evaluations:
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
        rank = self.ranks[variant]
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
        for variant in self.ranks:
            self.train(variant)
        for variant in ("base", *self.ranks):
            self.cells(variant)
        self.table()

    def changed(self) -> None:
        """What the changed recipe decides, and nothing else."""
        self.train(CHANGED, OTHER_LR)
        self.cells(CHANGED)
        self.table()

    def cells(self, variant: str) -> None:
        for evaluation in self.evaluations:
            self.answer(variant, evaluation)

    def table(self) -> None:
        process(sys.executable, BY_HAND / "table.py", self.folder / "answers")

    def tune(self) -> None:
        """Find the batch size of text that costs the least CPU time; the others' cost is that of starting a program."""

        def answer(size: int) -> Took:
            self.batches["text"] = size
            return timed_processes(lambda: self.answer("base", "text"))

        self.batches["text"], _ = benching.fastest("scripts, text", BATCHES, answer)


def gate(home: Path, scripts: Scripts) -> Gate:
    """Compare losses, texts and choices; a text that parts where two tokens are as likely is told and passes."""
    losses, logprobs, differing, notes = list[float](), [0.0], 0, list[str]()
    for variant in scripts.ranks:
        ours = [row["loss"] for row in lines_of(home / "results" / "bench-study" / "training" / f"{variant}.jsonl")]
        theirs = json.loads((scripts.folder / variant / "losses.json").read_text())
        losses += [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    for variant in ("base", *scripts.ranks):
        for evaluation in scripts.evaluations:
            found = {row["id"]: row for row in outputs(home, variant, evaluation)}
            for row in json.loads((scripts.folder / "answers" / f"{variant}-{evaluation}.json").read_text()):
                mine = found[row["id"]]
                logprobs += [abs(mine["logprobs"][label] - v) for label, v in row.get("logprobs", {}).items()]
                if mine["output"].strip() != row["output"]:
                    gap = CLOSE + 1 if "logprobs" in row else gap_at_parting(mine, row["output"], scripts, variant)
                    differing += gap > CLOSE
                    notes.append(f"{variant}/{evaluation}, {row['id']} parts, the two largest logits {gap:.1e} apart")
    largest = {"loss": max(losses), "log-probabilities": max(logprobs), "texts and choices that differ": differing}
    allowed = dict(zip(largest, (LOSS, CLOSE, 0), strict=True))
    return Gate("losses of all steps, texts, choices and log-probabilities of all cells", largest, allowed, notes)


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


@dataclass
class Rounds:
    """What each took: pairs of tunelab before and after its peers, from nothing and after a change."""

    ours: list[tuple[Took, Took]]
    theirs: list[Took]
    ours_again: list[tuple[Took, Took]]
    theirs_again: list[Took]


def one_round(study: Path, scripts: Scripts, homes: Sequence[Path], before: Took, rounds: Rounds, check: Any) -> None:
    """The scripts, tunelab again from a cold start, and each of them after a change; ``before`` is tunelab's first."""
    rounds.theirs.append(timed_processes(scripts.whole))
    check()
    rounds.ours.append((before, timed_processes(lambda: tunelab(("run",), study, homes[1]))))
    first, last = (lambda home=home: tunelab(("run",), study, home, f"train.{CHANGED}.lr={OTHER_LR}") for home in homes)
    again = timed_processes(first)
    rounds.theirs_again.append(timed_processes(scripts.changed))
    rounds.ours_again.append((again, timed_processes(last)))
    for home in homes:
        shutil.rmtree(home)


def flop(scripts: Scripts, home: Path, size: Size, variants: Sequence[str]) -> float:
    """Return the FLOP of training and evaluating some variants, adapters left out; what prompts share is read once."""
    from transformers import AutoTokenizer

    from tunelab.generation.engine.model import shared_ids

    tokenizer: Any = AutoTokenizer.from_pretrained(scripts.model)
    sizes, found = Sizes(size.hidden, INNER * size.hidden, size.layers, len(tokenizer)), 0.0
    rows = json.loads((scripts.folder / "rows.json").read_text())
    tokens, learnt = (sum(map(len, (r["input_ids"] for r in rows))), sum(x >= 0 for r in rows for x in r["labels"]))
    attended = sum(causal(len(r["input_ids"])) for r in rows)
    for variant in variants:
        if variant != "base":
            weights = sizes.layer_flop(tokens) + sizes.head_flop(learnt)
            found += (2 if size.ranks[variant] else 3) * weights + 3 * sizes.attention_flop(attended)
        for evaluation in size.evaluations:
            asked = outputs(home, variant, evaluation)
            ids = [tokenizer.encode(row["prompt"], add_special_tokens=False) for row in asked]
            shared = len(shared_ids(ids))
            made = [row["output_tokens"] if evaluation == "text" else 1 for row in asked]
            new = [len(each) - shared + max(0, m - 1) for each, m in zip(ids, made, strict=True)]
            pairs = causal(shared) + sum(causal(each, shared) for each in new)
            found += sizes.forward(shared + sum(new), sum(made), pairs)
    return found


def report(results: Results, rounds: Rounds, equal: Gate, cells: int, needed: tuple[float, float]) -> None:
    """Add a line for each question."""
    whole = Case("B6", f"{cells} cells, cold start to table", "in all", equal, needed[0])
    part = Case("B7", "one recipe changed", "in all", equal, needed[1])
    results.add(whole, Peer("scripts", "P1", target=10.0), rounds.ours, rounds.theirs)
    results.add(part, Peer("its scripts alone", "P1"), rounds.ours_again, rounds.theirs_again)
    results.add(part, Peer("all scripts again", "P0", target=50.0), rounds.ours_again, rounds.theirs)


def main() -> int:
    """Compare; 1 where results differ."""
    parser = benching.parser(__doc__, rounds=5)
    peer = "lm-eval" if find_spec("lm_eval") else "plain"
    parser.add_argument("--answer-with", choices=("lm-eval", "plain"), default=peer)
    asked = parser.parse_args()
    size, count = (QUICK, 1) if asked.quick else (WHOLE, asked.rounds)
    results, rounds = Results(asked.quick), Rounds([], [], [], [])
    print(f"load {os.getloadavg()[0]:.1f}; the scripts answer with {asked.answer_with}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        study, homes = study_of(folder, size), (folder / "first", folder / "second")
        results.measure_peak()
        before = timed_processes(lambda: tunelab(("run",), study, homes[0]))
        scripts = Scripts(study, homes[0], folder / "scripts", size, asked.answer_with)
        if not asked.quick:
            scripts.tune()
        gates: list[Gate] = []
        needed = tuple(flop(scripts, homes[0], size, variants) for variants in (("base", *size.ranks), (CHANGED,)))
        for turn in range(count):
            if turn:
                before = timed_processes(lambda: tunelab(("run",), study, homes[0]))
            one_round(study, scripts, homes, before, rounds, lambda: gates.append(gate(homes[0], scripts)))
            if not gates[-1].passed:
                results.refuse(Case("B6", "whole study", "in all", gates[-1]))
                return results.finish(asked.json)
    report(results, rounds, gates[0], size.cells, needed)
    return results.finish(asked.json)


if __name__ == "__main__":
    sys.exit(main())
