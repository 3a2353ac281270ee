"""``tunelab data prepare``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from tunelab.cli.options import RESULTS, STORE, Overrides, Quiet, ResultsDir, Smoke, StoreDir, StudyName
from tunelab.cli.progress import reporter
from tunelab.cli.say import say
from tunelab.cli.tables import console
from tunelab.engine.runner import Runner
from tunelab.files import read_json
from tunelab.study.layout import link_data, link_mixtures
from tunelab.study.open import Opened, only_data, open_study, unified_sets
from tunelab.study.tokenise_plan import RECEIPT, TOKENS
from tunelab.study.unified_plan import INFO

MIXED = ("task", "domain", "available", "rows", "unique", "repeats", "share", "scored rows")
COLUMNS = ("variant", "method", "rows", "left out", "tokens", "supervised tokens")


def prepare(
    study: StudyName,
    overrides: Overrides = None,
    smoke: Smoke = False,
    quiet: Quiet = False,
    store: StoreDir = STORE,
    results: ResultsDir = RESULTS,
) -> None:
    """Write the training rows of every variant as token ids, and mixtures as plain files; nothing is trained."""
    opened = only_data(open_study(study, overrides or [], store, smoke))
    opened.refuse_blocked(("judge", "tokenise") if unified_sets(opened) else ("judge",))
    with reporter(console(), opened.plan(), quiet, as_json=False) as report:
        outcome = Runner(opened.store, report).run(opened.targets())
    folders = link_data(opened, outcome, results)
    if folders:
        console().print(_table(opened, folders))
    mixtures = link_mixtures(opened, outcome, results)
    for name, folder in mixtures.items():
        console().print(_mixture(name, read_json(folder / INFO)))
    for path in (*(folder / TOKENS for folder in folders.values()), *(folder / INFO for folder in mixtures.values())):
        say(path)
    if not outcome.ok:
        sys.exit(1)


def _table(opened: Opened, folders: Mapping[str, Path]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("variant", "method") else "right")
    for variant, folder in folders.items():
        method = opened.compiled.train[variant].settings["recipe"]["method"]
        table.add_row(escape(variant), method, *_counts(read_json(folder / RECEIPT)))
    return table


def _mixture(variant: str, info: Mapping[str, Any]) -> Table:
    """Rows of a mixture by task, and how often each is used."""
    rule = info["rule"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=escape(f"{variant}: size {rule['size']}"))
    for name in MIXED:
        table.add_column(name, justify="left" if name in MIXED[:2] else "right")
    test = info["test"].get("sources", {})
    for task, found in info["train"]["sources"].items():
        numbers = [f"{found[key]:,}" for key in ("available", "rows", "unique")]
        scored = f"{test[task]['available']:,}" if task in test else "—"
        used = f"{found['repeats']:.1f}" + (" !" if "warning" in found else "")
        table.add_row(escape(task), found["domain"], *numbers, used, f"{found['share']:.1%}", scored)
    return table


def _counts(receipt: Mapping[str, Any]) -> list[str]:
    """Rows, rows left out after the split was chosen, tokens and learnt tokens."""
    tokenised, prepared = receipt["tokenised"], receipt["prepared"]
    left_out = tokenised["too_long"] + len(prepared.get("dropped_as_leaks", []))
    learnt = tokenised.get("supervised_tokens")
    return [*(f"{n:,}" for n in (tokenised["rows"], left_out, tokenised["tokens"])), f"{learnt:,}" if learnt else "—"]
