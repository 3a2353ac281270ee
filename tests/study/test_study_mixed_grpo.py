"""The bundled study of mixed rewards: its splits and shares with real rows, and a run of it from end to end."""

import json
import os
from pathlib import Path

import pytest

from tunelab.data.readers import read_rows
from tunelab.data.sources import MIRROR_VARIABLE
from tunelab.engine.runner import Runner
from tunelab.study.api import SilentReporter
from tunelab.study.layout import link_mixtures, link_results
from tunelab.study.open import only_data, open_points
from tunelab.study.read import read_study
from tunelab.study.smoke import smoke

real = pytest.mark.skipif(MIRROR_VARIABLE not in os.environ, reason=f"{MIRROR_VARIABLE} is unset: no real rows")
SIZES = {"gsm8k": (6228, 1245), "math": (3750, 750), "squad_v2": (3708, 741), "hotpotqa": (417, 83),
         "humaneval": (137, 27), "mbpp": (356, 71)}  # fmt: skip
SHARES = {"math": 0.4, "qa": 0.3, "code": 0.3}
WITH_ROWS = ("model=./nowhere", "data.splits.hotpotqa.from=validation")
"""HotpotQA's validation rows are there in full, of its training rows there are a few."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The data of both readings of the ratio, from real rows: infos and folders by variant."""
    root = tmp_path_factory.mktemp("mixed")
    points = read_study("mixed-grpo", [*WITH_ROWS, "train=grpo_mixed*"])
    found = only_data(open_points(points, Path.cwd(), root / "store"))
    outcome = Runner(found.store, SilentReporter()).run(found.targets())
    folders = link_mixtures(found, outcome, root)
    return {
        name: (json.loads((folder / "mixed" / "info.json").read_text()), folder) for name, folder in folders.items()
    }


@real
def test_every_data_set_is_parted_five_to_one(prepared):
    info, folder = prepared["grpo_mixed"]
    assert {name: (s["rows"]["train"], s["rows"]["test"]) for name, s in info["splits"].items()} == SIZES
    for train, test in SIZES.values():
        assert test / (train + test) == pytest.approx(1 / 6, abs=0.006)
    index = json.loads((folder / "test" / "test_index.json").read_text())
    assert {entry["dataset"]: (entry["rows"], entry["domain"]) for entry in index} == {
        name: (test, "math" if name in ("gsm8k", "math") else "code" if name in ("humaneval", "mbpp") else "qa")
        for name, (_, test) in SIZES.items()
    }


@real
def test_the_smallest_reading_repeats_nothing_beyond_what_is_declared_and_the_total_one_says_what_it_repeats(prepared):
    [(smallest, _), (total, _)] = prepared["grpo_mixed"], prepared["grpo_mixed_total"]
    assert smallest["train"]["rows"] == 2374
    repeats = {
        name: source["repeats"] for name, source in smallest["train"]["sources"].items() if source["repeats"] > 1
    }
    assert repeats == {"humaneval": pytest.approx(356 / 137), "mbpp": pytest.approx(356 / 352)}
    available = sum(source["available"] for source in total["train"]["sources"].values())
    assert total["train"]["rows"] == available == 14482
    assert {n for n, s in total["train"]["sources"].items() if "warning" in s} == {"hotpotqa", "humaneval", "mbpp"}


@real
@pytest.mark.parametrize("reading", ["grpo_mixed", "grpo_mixed_total"])
def test_domains_have_their_shares_and_the_receipt_adds_up(prepared, reading):
    info, folder = prepared[reading]
    rows = read_rows(folder / "mixed" / "train_mixed.jsonl")
    assert len(rows) == info["train"]["rows"] == sum(s["rows"] for s in info["train"]["sources"].values())
    for part in ("train", "test"):
        for domain, share in SHARES.items():
            assert info[part]["domains"][domain]["share"] == pytest.approx(share, abs=0.01)
    for domain in SHARES:
        one, other = (s["rows"] for s in info["train"]["sources"].values() if s["domain"] == domain)
        assert abs(one - other) <= 1
        assert one + other == info["train"]["domains"][domain]["rows"]
    assert len({row["id"].partition("~")[0] for row in rows}) == info["train"]["unique"]


@real
def test_no_test_row_and_no_near_duplicate_of_one_is_trained_on(prepared):
    info, folder = prepared["grpo_mixed_total"]
    for check in info["leaks"]:
        assert (check["exact"], check["same_cluster"], check["near"], check["overlapping"]) == (0, 0, 0, 0)
    trained = {row["question"] for row in read_rows(folder / "mixed" / "train_mixed.jsonl")}
    for name in SIZES:
        assert not trained & {row["question"] for row in read_rows(folder / "test" / f"{name}_test.jsonl")}


def test_the_study_runs_from_end_to_end_on_the_bundled_model(tmp_path, sandboxed):
    [(label, study)] = read_study("mixed-grpo", ["data.source=builtin"])
    small = smoke(study)
    brief = {name: entry.model_copy(update={"max_steps": 2}) for name, entry in small.train.items()}
    found = open_points([(label, small.model_copy(update={"train": brief}))], Path.cwd(), tmp_path / "store")
    outcome = Runner(found.store, SilentReporter()).run(found.targets())
    assert outcome.ok, outcome.messages
    root = link_results(found, outcome, tmp_path)
    assert sorted(path.name for path in (root / "evaluation").iterdir()) == [
        "qwen25-7b_base_results.json", "qwen25-7b_results.json",
    ]  # fmt: skip
    written = json.loads((root / "evaluation" / "qwen25-7b_results.json").read_text())
    headlines = {entry["dataset"]: entry["headline"] for entry in written["datasets"]}
    assert headlines == {"gsm8k": "numeric", "math": "equivalent", "squad_v2": "f1", "hotpotqa": "f1",
                         "humaneval": "pass_at_1", "mbpp": "pass_at_1", "mixed": "mean"}  # fmt: skip
    assert all(entry["metrics"][entry["headline"]] is not None for entry in written["datasets"])
    assert "judged_by_grader" in next(e for e in written["datasets"] if e["dataset"] == "hotpotqa")["metrics"]
    page = (root / "report" / "index.html").read_text()
    assert "What each task rewarded" in page
    assert "tasks counting gsm8k 20.0%, math 20.0%, squad_v2 15.0%" in page
    assert [path.name for path in (root / "checkpoints" / "grpo_mixed").iterdir()]
