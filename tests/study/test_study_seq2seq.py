"""A whole small study of method seq2seq on rows that exams ships, and how such studies are planned."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
from study_files import changed, compiled, only, opened, put

from tunelab.engine.runner import Runner
from tunelab.errors import StudyError
from tunelab.files import read_json, read_lines
from tunelab.study.api import SilentReporter
from tunelab.study.compile import compile_study
from tunelab.study.layout import link_results
from tunelab.study.open import only_data, open_points
from tunelab.study.smoke import smoke

STUDY = changed(
    study="t5",
    model="tiny-t5",
    task="exams",
    data={"source": "builtin", "leaks": "report"},
    formats={"raw": {"template": "raw", "user_prefix": "", "assistant_prefix": ""}},
    recipe={"method": "seq2seq", "adaptation": "full", "lr": 0.003, "epochs": 4, "batch_size": 2},
    train={"full": {"format": "raw"}, "lora": {"format": "raw", "adaptation": "lora"}},
    evaluation={},
    evaluate={"any": {"format": "raw"}, "text": {"format": "raw", "by": "generate", "max_new_tokens": 8}},
    hardware={"device": "cpu", "generation_batch_size": 4},
)
CELLS = [f"{variant}/{evaluation}" for variant in ("base", "full", "lora") for evaluation in ("any", "text")]


class Killed(Exception):
    """What a kill looks like from inside."""


class KillsAt(SilentReporter):
    """Ends a training at its fifth step and a generation after its first batch."""

    def progressed(self, step, done, total, unit):
        if (unit, done) in {("samples", 4), ("steps", 5)}:
            raise Killed


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNELAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def run(folder, reporter=None, raw=STUDY):
    folder.mkdir(exist_ok=True)
    found = open_points(opened(folder, raw), folder, folder / "store")
    outcome = Runner(found.store, reporter or SilentReporter()).run(found.targets())
    return link_results(found, outcome, folder / "results")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole") / "study")


def cell(results, name):
    return results / "eval" / name.replace("/", "_eval_")


def test_every_cell_is_scored_by_choice_and_by_text(results):
    for name in CELLS:
        rows = read_json(cell(results, name) / "results.json")
        assert len(rows) == 10
        finishes = {row["finish"] for row in rows}
        assert finishes == {"choice"} if name.endswith("any") else finishes <= {"stop", "stop_string", "length"}


def test_training_changes_what_is_answered(results):
    texts = {name: [row["output"] for row in read_lines(cell(results, name) / "outputs.jsonl")] for name in CELLS}
    assert texts["full/text"] != texts["base/text"]
    finishes = [row["finish"] for row in read_lines(cell(results, "full/text") / "outputs.jsonl")]
    assert finishes.count("stop") > 5  # the targets are letters and the end of an answer


def test_the_record_counts_both_sides(results):
    record = read_json((results / "models" / "full").resolve().parent / "record.json")
    receipt = record["facts"]["receipt"]
    assert receipt["supervised_tokens"] == 2 * receipt["rows"]
    assert receipt["longest_target"] == 2
    assert receipt["tokens"] > receipt["supervised_tokens"] + receipt["rows"] * 50
    assert not {"loss", "grpo", "dpo", "head"} & {*record["settings"]["recipe"]}


def test_killed_again_and_again_it_ends_as_an_undisturbed_run(results, tmp_path):
    folder = tmp_path / "study"
    for _ in range(2):
        run(folder, KillsAt())
    again = run(folder)
    for name in CELLS:
        for file in ("outputs.jsonl", "scores.jsonl"):
            assert (cell(again, name) / file).read_text() == (cell(results, name) / file).read_text()
    attempts = [json.loads(path.read_text())["attempts"] for path in folder.glob("store/train/*/record.json")]
    assert min(attempts) > 1


def test_tokenised_sets_hold_what_is_read_and_what_is_written(tmp_path):
    import pyarrow.parquet as pq

    found = open_points(opened(tmp_path, STUDY), tmp_path, tmp_path / "store")
    wanted = only_data(found)
    assert Runner(found.store, SilentReporter()).run(wanted.targets()).ok
    tables = [pq.read_table(path).to_pylist() for path in tmp_path.glob("store/tokenise/*/train.parquet")]
    assert tables
    for row in tables[0]:
        assert row["input_ids"][-1] == row["labels"][-1] == 2
        assert len(row["labels"]) == 2 < len(row["input_ids"])


@pytest.mark.parametrize("method", ["sft", "grpo", "dpo"])
def test_other_methods_on_an_encoder_decoder_model_are_refused_while_planning(tmp_path, method):
    raw = put(put(STUDY, "recipe.method", method), "recipe.loss", "completion")
    with pytest.raises(StudyError) as refused:
        compiled(tmp_path, raw)
    assert str(refused.value) == (
        f"train.full.method: got {method!r} for tiny-t5, which is an encoder-decoder model, expected seq2seq"
    )


def test_seq2seq_on_a_causal_model_is_refused_while_planning(tmp_path):
    with pytest.raises(StudyError) as refused:
        compiled(tmp_path, put(STUDY, "model", "tiny"))
    assert str(refused.value) == (
        "train.full.method: got 'seq2seq' for tiny, which is a causal model, expected sft or grpo or dpo"
    )


def test_a_model_whose_configuration_is_not_here_is_refused_by_nobody_yet(tmp_path):
    assert compiled(tmp_path, put(STUDY, "model", "google/flan-t5-nowhere")).train["full"].blocked


def test_dropout_of_the_model_makes_the_micro_batch_count(tmp_path):
    steps = [compiled(tmp_path, put(STUDY, "hardware.micro_batch_size", size)).train["full"] for size in (1, 2)]
    assert steps[0].fingerprint != steps[1].fingerprint


BOTH = {
    "t5": {"format": "raw"},
    "gemma": {"format": "raw", "method": "sft", "loss": "completion", "model": "google/gemma-2-2b"},
}


@pytest.mark.parametrize(
    ("model", "train", "expected"),
    [
        ("google/flan-t5-base", BOTH, {"google/flan-t5-base": "tiny-t5", "google/gemma-2-2b": "tiny"}),
        (
            "google/gemma-2-2b",
            BOTH | {"t5": {"format": "raw", "model": "google/flan-t5-base"}},
            {"google/flan-t5-base": "tiny-t5", "google/gemma-2-2b": "tiny"},
        ),
        ("tiny", {"t5": {"format": "raw", "model": "tiny-t5"}}, {}),
    ],
)
def test_smoke_puts_a_model_of_the_same_kind_in_place_of_each(tmp_path, model, train, expected):
    raw = copy.deepcopy(STUDY) | {"model": model, "train": train}
    small = smoke(only(tmp_path, raw))
    assert small.stand_ins == expected
    found = compile_study([("", small)], tmp_path)
    assert {name: step.circumstance["model"]["name"] for name, step in found.train.items()} == {
        name: "tiny-t5" if name == "t5" else "tiny" for name in train
    }


def test_cards_say_how_such_a_model_is_loaded_and_what_its_rows_hold(results):
    folder = results.parents[1]
    found = open_points(opened(folder, STUDY), folder, folder / "store")
    assert Runner(found.store, SilentReporter()).run(only_data(found).targets()).ok
    command = [Path(sys.executable).with_name("tunelab"), "push", folder / "study.yaml", "--to", "me/x", "--dry-run"]
    places = ["--data", "--store", folder / "store", "--results", folder / "results"]
    done = subprocess.run([*command, *places], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model, rows = ((results / "cards" / name).read_text() for name in ("full.md", "full-data.md"))
    assert "AutoModelForSeq2SeqLM.from_pretrained" in model
    assert "pipeline_tag: text2text-generation" in model
    assert "| labels | the answer, which the decoder is to write |" in rows
