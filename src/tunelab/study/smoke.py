"""``--smoke``: the same study at the size of a minute, on the bundled model, without a network.

Models keep their names, by which variants are named and paired, so that the cells are those of the whole study; what is
loaded in their place is ``stand_ins``. What names another model's parts or sizes is fitted to the bundled one: adapters
go to all linear layers, and rows beyond its context are left out. ``CHANGES`` says so where the results are read.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from tunelab.data.downloads import is_url
from tunelab.data.mixtures import OFTEN
from tunelab.data.splits import Splits
from tunelab.formats.format import Format
from tunelab.models.spec import BUNDLED, TINY, TINY_T5, is_local
from tunelab.scoring.judges.exchange import CORRECTNESS
from tunelab.scoring.judges.judge import MODELLESS, Judge
from tunelab.study.endpoint_model import AnyModel, EndpointModel
from tunelab.study.entries import CheckpointSearch, Evaluate, LrSearch, Size, Train
from tunelab.study.smoke_server import MODEL, identity
from tunelab.study.spec import Data, Study
from tunelab.training.recipe import Grpo

TRAIN_ROWS = 96
EVALUATE_ROWS = 32
STEPS = 12
SHOTS, SHOTS_OF = 2, 4
TOKENS = 64
REFUSALS, GRADES = "refusals", "contains"
LENGTH = 4096
"""The bundled model's context."""
QUESTION = LENGTH * 3 // 4
"""Bytes that a row's words may have: never fewer than their tokens, so that prompt, template and answer fit."""
CHANGES = (
    f"the bundled model everywhere, under the names of those that it stands for, but {TINY_T5}, which has learnt "
    "nothing, where the method is seq2seq, and behind a server of this machine where --smoke-endpoint asks for "
    f"it; at most {TRAIN_ROWS} training and {EVALUATE_ROWS} evaluation rows, none in a mixture more than {OFTEN} "
    f"times on average; {STEPS} steps of 8 rows; at most {TOKENS} new tokens and {SHOTS} drawn worked examples, of"
    f" {SHOTS_OF}; rows of more than {LENGTH} tokens, or of {QUESTION} bytes before a template, left out; adapters"
    " on all linear layers; entries with a checkpoint on the hub are trained; DPO prefers targets where it would "
    "sample; leaks are listed and stop nothing; the tasks' own rows in place of a variant's file and of files "
    "behind URLs; the bundled model in place of every judge's, behind patterns of refusing, which give the "
    "headline; instead of graders, and of judges that reward, the rule that an accepted answer occurs; the "
    "bundled tokenizer in place of every other that says which rows are too long to be parted into splits, whose "
    "shares are equal; the bundled model in place of outputs from files"
)


def smoke(study: Study, folder: Path | None = None, server: str | None = None) -> Study:
    """Return the study with a tiny model in place of every model, few rows and few steps. Its name says so.

    ``folder`` is where its paths start: checkpoints in a folder are adopted, and have to fit the tiny model.
    ``server`` is the address of the bundled model, for models that are behind a server; without it they are loaded.
    """
    start = folder or Path.cwd()
    judges = _small_judges(study.judges, {name for e in study.train.values() for name in e.grpo.rewards.judges})
    small: dict[str, Any] = {
        "study": f"{study.study}-smoke",
        "model": _served_by(server, study.model),
        "models": {name: _served_by(server, model) for name, model in study.models.items()},
        "smoke": True,
        "stand_ins": _stand_ins(study, server),
        "hardware": study.hardware.model_copy(update={"rollouts": "local", "gradient_checkpointing": False}),
        "formats": {name: _small_format(fmt) for name, fmt in study.formats.items()},
        "train": {name: _small_train(entry, start) for name, entry in study.train.items()},
        "judges": judges,
        "evaluate": {name: _small_evaluate(entry, judges) for name, entry in study.evaluate.items()},
        "data": _small_data(study.data),
    }
    return study.model_copy(update=small)


def _stand_ins(study: Study, server: str | None) -> dict[str, str]:
    """Return what is loaded in place of each model: of the kind that is trained, and nothing in place of a server."""
    untouched = [study.model, *study.models.values()]
    trained = {entry.model or study.model: _kind(entry) for entry in study.train.values()}
    found = {**dict.fromkeys(untouched, TINY), **trained}
    loaded = {model: kind for model, kind in found.items() if isinstance(model, str) and model not in BUNDLED}
    served = [model.name for model in untouched if isinstance(model, EndpointModel) and server is None]
    return loaded | dict.fromkeys([*served, *study.outputs], TINY)


def _kind(entry: Train) -> str:
    return TINY_T5 if entry.method == "seq2seq" else TINY


def _served_by(server: str | None, model: AnyModel) -> AnyModel:
    """Ask the bundled model at ``server`` instead of a model behind another."""
    if isinstance(model, str) or server is None:
        return model
    return model.model_copy(update={"endpoint": server, "name": MODEL, "server": identity()})


def _small_data(data: Data) -> Data:
    """List leaks only, and take no rows of a task from files where one of them is behind a URL."""
    files = {key: value for key, value in data.files.items() if not _behind_urls(value)}
    if any(isinstance(value, str) and is_url(value) for value in data.files.values()):
        files = {}
    splits = {task: _small_splits(found) for task, found in data.splits.items()}
    leaks = "report" if data.leaks == "refuse" else data.leaks
    return data.model_copy(update={"files": files, "leaks": leaks, "splits": splits})


def _small_splits(splits: Splits) -> Splits:
    """Count by the bundled tokenizer, and share alike: of a few rows, a tenth is one."""
    longest = splits.longest and splits.longest.model_copy(update={"tokenizer": TINY})
    return splits.model_copy(
        update={"longest": longest, "shares": dict.fromkeys(splits.shares, 1 / len(splits.shares))}
    )


def _behind_urls(files: str | dict[str, str]) -> bool:
    return isinstance(files, dict) and any(map(is_url, files.values()))


def _small_format(fmt: Format) -> Format:
    """Draw fewer worked examples: the rows that a task ships are few. A file is used as it is."""
    shots = fmt.few_shots
    if shots.file is not None:
        return fmt
    cut = {"k": min(shots.k, SHOTS), "of": shots.of and min(shots.of, SHOTS_OF)}
    return fmt.model_copy(update={"few_shots": shots.model_copy(update=cut)})


def _small_train(entry: Train, folder: Path) -> Train:
    there = entry.from_checkpoint is not None and is_local(entry.from_checkpoint, folder)
    rows = _at_most(entry.rows, TRAIN_ROWS)
    dpo = entry.dpo.model_copy(update={"max_new_tokens": _budget(entry.dpo.max_new_tokens), **_target_pairs(entry)})
    lora = entry.lora.model_copy(update={"targets": "all-linear"})
    repeats = min(entry.mixture.max_repeats, OFTEN)
    mixture = entry.mixture.model_copy(update={"size": "smallest", "max_repeats": repeats})
    changes = {
        "dpo": dpo,
        "file": None,
        "from_checkpoint": entry.from_checkpoint if there else None,
        "grpo": _small_grpo(entry.grpo),
        "lora": lora,
        "rows": rows,
        "batch_size": 8,
        "epochs": max(entry.epochs, STEPS),  # a task may ship fewer rows than a batch has
        "max_steps": STEPS,
    }
    lengths = {"max_length": min(entry.max_length, LENGTH), "max_too_long": 1.0}
    several = {"mixture": mixture, **_small_search(entry)}
    return entry.model_copy(update=changes | lengths | several)


def _small_grpo(grpo: Grpo) -> Grpo:
    """Cut the budget, and the buffer of a length penalty where it would be longer."""
    budget, declared = _budget(grpo.max_new_tokens), grpo.rewards.length_buffer
    rewards = grpo.rewards.model_copy(update={"length_buffer": declared and min(declared, budget)})
    return grpo.model_copy(update={"max_new_tokens": budget, "rewards": rewards})


def _small_judges(judges: dict[str, Judge], rewarding: Collection[str]) -> dict[str, Judge]:
    """Ask the bundled model instead of every other, and have one judge whose verdicts can be read.

    A judge that rewards a training must tell right from wrong, which the bundled model does not.
    """
    small = {name: Judge(kind=GRADES) if name in rewarding else _small_judge(j) for name, j in judges.items()}
    name = REFUSALS if REFUSALS not in judges else f"{REFUSALS}-smoke"
    readable = _modelless(small) or all(judge.kind == GRADES for judge in small.values())
    return small if readable else {name: Judge(kind="refusals"), **small}


def _small_judge(judge: Judge) -> Judge:
    if judge.kind in MODELLESS:
        return judge
    if judge.asks_for == CORRECTNESS:
        return Judge(kind=GRADES)
    kind = "causal" if judge.kind == "endpoint" else judge.kind
    # Greedy replies do not repeat, and a smoke run of an endpoint must not ask one.
    changes = {"kind": kind, "model": TINY, "endpoint": None, "max_new_tokens": _budget(judge.max_new_tokens)}
    return judge.model_copy(update=changes | ({"repeats": 1} if judge.temperature == 0 else {}))


def _modelless(judges: dict[str, Judge]) -> str | None:
    return next((name for name, judge in judges.items() if judge.kind == "refusals"), None)


def _judges_of(entry: Evaluate, judges: dict[str, Judge]) -> tuple[str, ...]:
    """Put the judge that needs no model in front, so that there is a headline."""
    first = _modelless(judges)
    if not entry.judges or first is None or judges[entry.judges[0]].kind == GRADES:
        return entry.judges
    return (first, *(name for name in entry.judges if name != first))


def _small_evaluate(entry: Evaluate, judges: dict[str, Judge]) -> Evaluate:
    changes = {
        "judges": _judges_of(entry, judges),
        "rows": _at_most(entry.size, EVALUATE_ROWS),
        "sample": None,
        "expected": None,
        "max_new_tokens": _budget(entry.max_new_tokens),
    }
    return entry.model_copy(update=changes)


def _target_pairs(entry: Train) -> dict[str, str]:
    """The tiny model may never be right on a real task: prefer the target to what it says."""
    return {"pairs": "target"} if entry.dpo.pairs == "sampled" else {}


def _small_search(entry: Train) -> dict[str, LrSearch | CheckpointSearch]:
    """Cut the held-out rows of whatever chooses."""
    found = {"lr_search": entry.lr_search, "checkpoint_search": entry.checkpoint_search}
    cut = {"rows": EVALUATE_ROWS}
    return {name: s.model_copy(update=cut) for name, s in found.items() if s and s.rows > EVALUATE_ROWS}


def _budget(tokens: int | None) -> int:
    return min(tokens or TOKENS, TOKENS)


def _at_most(rows: Size, limit: int) -> int:
    return min(rows, limit) if isinstance(rows, int) else limit
