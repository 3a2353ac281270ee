"""Steps that write what the real ones write, at the size of a test: the engine runs them like any other."""

from __future__ import annotations

from pathlib import Path

from tunelab.engine.context import StepContext
from tunelab.engine.record import Artifact
from tunelab.engine.runner import Runner
from tunelab.engine.step import Step
from tunelab.engine.store import Store
from tunelab.files import write_json, write_lines
from tunelab.formats.format import Format
from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Metric, judged
from tunelab.study.cells import Cell, Evaluation, Variant, describe_cell
from tunelab.study.entries import Evaluate, Train
from tunelab.study.spec import Study
from tunelab.study.steps.score import read_scores

METRICS = (Metric("numeric"), Metric("strict"))
FORMATS = {name: Format(template=name).identity() for name in ("raw", "chat")}
N = 60
NOBODY_SAID = {"declared": None, "place": "", "published": None, "size": None, "reserves": False}
KNOWN = {"headline": "numeric", "rows": NOBODY_SAID}
"""What a plan knows of a cell beside its factors."""
CROSSED = {
    "base/raw": 20,
    "base/chat": 10,
    "sft_raw/raw": 40,
    "sft_raw/chat": 11,
    "sft_chat/raw": 5,
    "sft_chat/chat": 45,
}
"""Right answers by cell, of N."""


def group(step: int, prompt: str, rewards: list, clipped=0, no_answer=0, **components: list) -> dict:
    """A line of rollouts; without components the reward is the task's."""
    earned = components or {"task": rewards}
    return {"step": step, "id": prompt, "rewards": rewards, "components": earned, "clipped": clipped,
            "no_answer": no_answer}  # fmt: skip


ROLLOUTS = [
    group(0, "a", [0.0, 0.0, 0.0, 0.0], clipped=4, no_answer=3),
    group(0, "b", [0.0, 1.0, 0.0, None], clipped=2, no_answer=1),
    group(1, "c", [None, 1.0, 1.0, 1.0], no_answer=1),
    group(1, "d", [0.0, 1.0, 1.0, 1.0]),
    group(2, "a", [1.0, 1.0, 1.0, 1.0]),
    group(2, "c", [1.0, 1.0, 0.0, 1.0], clipped=2),
]
"""Three steps of two groups of four: what GRPO writes down."""


class Silent:
    """A reporter that says nothing."""

    def started(self, step):
        pass

    def progressed(self, step, done, total, unit):
        pass

    def ended(self, step, state, message):
        pass


def train(context: StepContext) -> None:
    write_lines(context.directory / "metrics.jsonl", [{"step": i, "loss": 2 / i} for i in range(1, 9)])
    if context.settings["recipe"]["method"] == "grpo":
        write_lines(context.directory / "rollouts.jsonl", ROLLOUTS)
    receipt = {"rows": 96, "too_long": 2, "tokens": 4000, "supervised_tokens": 900, "longest": 70}
    context.facts.update(steps=8, final_loss=0.25, receipt=receipt, initial_adapter_sha256="ab" * 32)


def check(context: StepContext) -> None:
    rows = [
        {"evaluation_id": f"test-{i}", "train_id": f"train-{i}", "kind": "13-gram", "text": f"<b>shared {i}</b>"}
        for i in range(25)
    ]
    write_json(
        context.directory / "leaks.json",
        {
            "train_rows": 96,
            "evaluation_rows": N,
            "exact": 0,
            "same_cluster": 0,
            "near": 0,
            "overlapping": 25,
            "rows": rows,
        },
    )


def generate(context: StepContext) -> None:
    if reason := context.circumstance["fails"]:
        raise RuntimeError(reason)
    finish = {"stop": N - 5, "stop_string": 0, "length": 5}
    context.facts.update(outputs=N, finish=finish, prompt_tokens=1000, output_tokens=700)


def score(context: StepContext) -> None:
    right = context.settings["right"]
    output = context.settings["output"]
    texts = dict(context.settings["texts"])
    asked = texts.pop("id", "q")
    rows = []
    for i in range(N):
        values = {"numeric": float(i < right), "strict": float(i < right // 2)}
        found = judged(i < right, None if i == N - 1 else "4", values)
        rows.append(
            {"id": f"{asked}{i:03d}", "sample": 0, "outcome": found.outcome.value, "values": dict(found.values)}
        )
    text = {"prompt": "2 + 2?", "output": output, "answer": "4", "targets": ["4"], "explanation": ""}
    text |= {"finish": "stop", "output_tokens": 4} | texts
    write_lines(context.directory / "scores.jsonl", rows)
    groups = context.settings["groups"]
    by_name = {name: {f"{asked}{i:03d}": of[i % len(of)] for i in range(N)} for name, of in groups.items()}
    told = [{"metadata": {name: of[row["id"]] for name, of in by_name.items()}} for row in rows]
    write_json(context.directory / "results.json", [row | text | more for row, more in zip(rows, told, strict=True)])
    summary = {"task": "arithmetic", **summarise(read_scores(rows), METRICS, groups=by_name), "unanswered": 0}
    if groups and not texts:
        summary["sensitive"] = True
    context.facts.update(summary)
    write_json(context.directory / "summary.json", summary)


def cell(name: str, at_least: dict[str, float]) -> dict:
    """What a plan says of a cell; a variant with ``chat`` in its name is trained under chat, others under raw."""
    variant, _, evaluation = name.rpartition("/")
    base = Variant("base", "tiny", None, None, "arithmetic", 0)
    settings = Evaluate(format=evaluation, at_least=at_least)
    asked = Evaluation(evaluation, settings, Format(template=evaluation), "arithmetic")
    if variant == "base":
        return describe_cell(Cell(base, asked, None, None)) | KNOWN
    fmt = "chat" if "chat" in variant else "raw"
    recipe = Train(method=_method(variant), adaptation="lora", loss="all", lr=1e-3, epochs=1, batch_size=8, format=fmt)
    trained = Variant(variant, "tiny", recipe, Format(template=fmt), "arithmetic", int(variant.partition("#")[2] or 0))
    return describe_cell(Cell(trained, asked, base, fmt == evaluation)) | KNOWN


def study(**changes) -> dict:
    """A study's plain JSON."""
    declared = Study(
        study="templates",
        question="Does it matter?",
        model="tiny",
        task="arithmetic",
        formats={"raw": Format(template="raw"), "chat": Format(template="chat")},
        evaluate={"raw": Evaluate(format="raw"), "chat": Evaluate(format="chat")},
    )
    return declared.model_copy(update=changes).model_dump(mode="json", exclude={"hardware"})


def report_step(
    right: dict[str, int],
    output="It is 4.",
    fails=(),
    why="out of memory",
    at_least=None,
    left_out=None,
    groups=None,
    contrasts=(),
    texts=None,
    **changes,
) -> Step:
    """A study's plan: ``right`` maps each cell to its number of right answers; cells in ``fails`` say ``why``.

    ``groups`` maps what items are grouped by to the groups, which take turns. ``texts`` takes the place of the texts
    of every result: prompt, answer, explanation; its ``id`` begins the ids.
    """
    cells = [cell(name, at_least or {}) for name in right]
    variants = dict.fromkeys(c["variant"] for c in cells if c["seed"] is not None)
    rows = Step("prepare", 1, "rows", f"{__name__}:nothing", {})
    trained = {v: _train(v, rows) for v in variants}
    generated = {c["cell"]: _generate(c, rows, trained, why if c["cell"] in fails else "") for c in cells}
    scores = {
        name: _score(name, n, (output, groups or {}, texts or {}), rows, generated[name]) for name, n in right.items()
    }
    settings = {"cells": cells, "alpha": 0.05, "tree": {}, "contrasts": contrasts}
    entry = "tunelab.study.steps.compare:run"
    compare = Step("compare", 1, "c", entry, settings, scores, {"folder": "."}, tolerant=True)
    checks = {"0": Step("check", 1, "leaks-rows", f"{__name__}:check", {"policy": "report"}, {"train": rows})}
    inputs = {"compare": compare}
    for kind, steps in {"score": scores, "generate": generated, "train": trained, "check": checks}.items():
        inputs |= {f"{kind}/{name}": step for name, step in steps.items()}
    return Step(
        "report",
        1,
        "r",
        "tunelab.report.build:run",
        {"study": study(**changes), "left_out": left_out or {}},
        inputs,
        tolerant=True,
    )


def nothing(context: StepContext) -> None:
    write_lines(context.directory / "rows.jsonl", [])


def leave(context: StepContext) -> None:
    """Finish with the receipt that the settings have, as a pairs step, or the tokens of no answer, as a draw."""
    context.facts.update(receipt=context.settings.get("receipt"), outputs=0, prompt_tokens=0, output_tokens=0)


def build(folder: Path, step: Step) -> Artifact:
    """Run the plan and return the finished report."""
    store = Store(folder)
    outcome = Runner(store, Silent()).run([step])
    return store.open(outcome.effective[step.fingerprint])


def _method(variant: str) -> str:
    start = variant.partition("_")[0]
    return start if start in ("grpo", "dpo") else "sft"


def _train(variant: str, rows: Step) -> Step:
    settings = {
        "model": {"bundled": "tiny"},
        "recipe": {"method": _method(variant), "lr": 1e-3, "grpo": {"beta": 0.0}},
        "format": FORMATS["chat" if "chat" in variant else "raw"],
        "variant": variant,
        "seed": 0,
    }
    return Step("train", 1, "t", f"{__name__}:train", settings, {"rows": rows})


def _generate(described: dict, rows: Step, trained: dict[str, Step], fails: str) -> Step:
    settings = {
        "decoding": {"temperature": 0.0},
        "format": FORMATS[described["evaluation"]],
        "variant": described["variant"],
    }
    inputs = {"rows": rows} | ({"trained": trained[described["variant"]]} if described["variant"] in trained else {})
    return Step("generate", 1, "g", f"{__name__}:generate", settings, inputs, {"fails": fails})


def _score(name: str, right: int, said: tuple[str, dict, dict], rows: Step, outputs: Step) -> Step:
    told = dict(zip(("output", "groups", "texts"), said, strict=True))
    settings = {"scorer": {"name": "arithmetic"}, "cell": name, "right": right, **told}
    return Step("score", 1, "s", f"{__name__}:score", settings, {"rows": rows, "outputs": outputs})
