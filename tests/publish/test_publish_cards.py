"""A card says what the records say, in the metadata that the hub reads and in words, and no more."""

import json
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from tunelab.errors import StudyError
from tunelab.files import read_json
from tunelab.publish.cards import dataset_card, model_card
from tunelab.publish.results import Origin, read_published
from tunelab.publish.uploads import repositories
from tunelab.study.api import run
from tunelab.study.open import open_study
from tunelab.study.read import read_study

REPO = "me/small-full"


@pytest.fixture
def published(results):
    """Reads variants of the finished study, with overrides."""

    def read(*names, overrides=()):
        opened = open_study(str(results / "small.yaml"), overrides, results / ".tunelab")
        return read_published(opened, names)

    return read


@pytest.fixture
def comparison(results):
    return read_json(results / "results" / "small" / "comparison.json")


def with_base(found, **model):
    """The variant as if another model had been trained."""
    record = found.trained.record
    changed = replace(record, circumstance={**record.circumstance, "model": {**found.base, **model}})
    return replace(found, trained=replace(found.trained, record=changed))


def test_the_metadata_holds_every_score_of_the_comparison(published, comparison):
    [found] = published("full")
    data = ModelCard(model_card(found, REPO)).data
    cells = [cell for cell in comparison["cells"] if cell["variant"] == "full"]
    wanted = {
        f"{name} under {cell['evaluation']}, 95 % [{m['low']:.3f}, {m['high']:.3f}], n = {cell['scored']}": m["value"]
        for cell in cells
        for name, m in cell["metrics"].items()
    }
    assert {result.metric_name: result.metric_value for result in data.eval_results} == wanted
    assert len(wanted) >= 2
    assert data.model_name == "small-full"
    assert data.library_name == "transformers"
    assert {"tunelab", "sft", "full"} <= set(data.tags)


def test_the_model_index_is_one_that_the_hub_reads_back(published):
    [found] = published("full")
    hub = Origin("gsm8k", "test", "openai/gsm8k", "740312a", "openai/gsm8k at 740312a", "main")
    found = replace(found, scored=[replace(scored, origin=hub) for scored in found.scored])
    card = ModelCard(model_card(found, REPO))
    index = yaml.safe_load(card.content.split("---")[1])["model-index"]
    name, results = model_index_to_eval_results(index)
    assert name == "small-full"
    assert results == card.data.eval_results
    [entry] = index[0]["results"]  # one data set: evaluations of it are metrics with names of their own
    assert entry["task"] == {"type": "text-generation", "name": "Text Generation"}
    assert entry["dataset"] == {
        "name": "gsm8k",
        "type": "openai/gsm8k",
        "config": "main",
        "split": "test",
        "revision": "740312a",
    }
    assert [set(metric) for metric in entry["metrics"]] == [{"type", "value", "name"}] * len(results)
    assert len({metric["name"] for metric in entry["metrics"]}) == len(results)


def test_the_metadata_names_no_base_and_no_data_set_that_is_not_on_the_hub(published):
    for found in published():
        data = ModelCard(model_card(found, REPO)).data
        assert data.base_model is None
        assert data.datasets is None


def test_a_base_and_a_data_set_on_the_hub_are_named(published):
    [found] = published("adapter")
    found = with_base(found, name="Qwen/Qwen3-4B", location="Qwen/Qwen3-4B", revision="1cfa9a7")
    found = replace(found, rows=[Origin("gsm8k", "train", "openai/gsm8k", "740312a", "openai/gsm8k at 740312a")])
    card = ModelCard(model_card(found, REPO))
    assert card.data.base_model == "Qwen/Qwen3-4B"
    assert card.data["base_model_relation"] == "adapter"
    assert card.data.library_name == "peft"
    assert card.data.datasets == ["openai/gsm8k"]
    assert 'from_pretrained("Qwen/Qwen3-4B", revision="1cfa9a7")' in card.text
    assert "openai/gsm8k at 740312a" in card.text


def test_a_score_stands_with_interval_and_number_and_a_difference_with_its_verdict(published, comparison):
    [found] = published("full")
    text = model_card(found, REPO)
    for cell in comparison["cells"]:
        if cell["variant"] == "full":
            metric = cell["metrics"]["numeric"]
            row = f"numeric | {metric['value']:.3f} | [{metric['low']:.3f}, {metric['high']:.3f}] | {cell['scored']} |"
            assert row in text
    for row in comparison["comparisons"]:
        if row["cell"].startswith("full/"):
            line = f"base | {row['difference']:+.3f} | [{row['low']:+.3f}, {row['high']:+.3f}] |"
            [found_line] = [ln for ln in text.splitlines() if ln.startswith(f"| {row['cell'][5:]} |") and line in ln]
            assert row["verdict"] in found_line


def test_a_card_tells_recipe_data_leaks_versions_and_how_to_run_it_again(published):
    [found] = published("full")
    text = model_card(found, REPO)
    for line in (
        "| lr | 0.0001 |",
        "| schedule | linear |",
        "24 of 4,000 available",
        "0 evaluation rows are in training word for word",
        "(policy: refuse)",
        f"| torch | {found.trained.record.versions['torch']} |",
        f"hf download {REPO} study.json --local-dir .",
        "tunelab run study.json",
    ):
        assert line in text


def test_text_of_a_study_does_not_become_markup(published):
    [found] = published("full")
    assert "Does it help \\| or &lt;b>not&lt;/b>?" in model_card(found, REPO)


def test_a_smoke_run_says_so_first_and_gives_the_hub_no_score(published):
    [found] = published("full")
    smoke = replace(found, study=found.study.model_copy(update={"smoke": True}))
    card = ModelCard(model_card(smoke, REPO))
    assert card.data.eval_results is None
    assert "model-index" not in card.content
    assert "smoke-run" in card.data.tags
    assert card.text.strip().splitlines()[2].startswith("> **Smoke run.**")


def test_an_evaluation_without_a_result_is_named(published):
    [found] = published("full", overrides=["evaluate.raw.max_new_tokens=8"])
    text = model_card(found, REPO)
    assert "Without a result: raw." in text
    assert "| chat | arithmetic, test | numeric |" in text
    assert "| raw" not in text


def test_files_that_a_study_needs_are_named(published):
    [found] = published("full")
    settings = json.loads(json.dumps(found.configuration))
    settings["data"]["files"] = {"train": "mine.jsonl"}
    settings["train"]["full"]["task"] = "my_task.py:Mine"
    text = model_card(replace(found, configuration=settings), REPO)
    assert "needs these beside the file: my_task.py, mine.jsonl." in text
    assert "needs these" not in model_card(found, REPO)


def test_a_data_sets_card_describes_its_columns(published):
    [found] = published("full")
    tokens = {"rows": 24, "too_long": 0, "tokens": 1300, "supervised_tokens": 500, "longest": 70}
    card = DatasetCard(dataset_card(found, REPO, {"tokenised": tokens}))
    assert card.data.size_categories == ["n<1K"]
    assert card.data["configs"][0]["data_files"] == [{"split": "train", "path": "train.parquet"}]
    assert "| labels | the same ids where they are learnt (completion tokens), -100 elsewhere |" in card.text
    prompts = {"rows": 20_000, "too_long": 0, "tokens": 1300, "longest": 70}
    card = DatasetCard(dataset_card(found, REPO, {"tokenised": prompts}))
    assert card.data.size_categories == ["10K<n<100K"]
    assert "| prompt_ids |" in card.text
    assert "labels" not in card.text


@given(st.lists(st.text(min_size=1, max_size=100), min_size=1, unique=True))
def test_every_repository_has_a_name_that_the_hub_takes_and_that_no_other_has(variants):
    try:
        found = repositories(variants, "me/study")
    except StudyError:
        found = {}
    assert set(found) in (set(), set(variants))
    assert len(set(found.values())) == len(found)
    for repo in found.values():
        validate_repo_id(repo)


@given(st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,30}[a-z0-9]", fullmatch=True), min_size=1, unique=True))
def test_plain_names_are_never_refused(variants):
    assert repositories(variants, "me/study") == {name: f"me/study-{name}" for name in variants}


def test_labels_of_sweeps_and_seeds_become_names(published):
    variants = ["sft@lr=1e-05,loss=all", "sft#2"]
    assert list(repositories(variants, "me/study").values()) == ["me/study-sft-lr-1e-05-loss-all", "me/study-sft-2"]
    assert repositories(["sft"], "me/{variant}-v1") == {"sft": "me/sft-v1"}
    with pytest.raises(StudyError, match="would hold 2 variants"):
        repositories(["sft@1", "sft#1"], "me/study")
    with pytest.raises(StudyError, match="expected OWNER/NAME"):
        repositories(["sft"], "study")


SEVERAL = {
    "study": "several",
    "question": "One for both?",
    "model": "tiny",
    "formats": {"raw": {"template": "raw"}},
    "recipe": {"method": "sft", "format": "raw", "adaptation": "full", "batch_size": 8, "epochs": 1,
               "task": ["sst2", "mnli"], "mixture": {"rule": "ratio", "weights": {"sst2": 1, "mnli": 3}}},
    "train": {
        "searched": {"loss": "completion", "lr": {"search": [1e-5, 1e-4], "on": "validation", "rows": 2}},
        "heads": {"head": "classifier", "lr": 1e-4},
    },
    "evaluation": {"format": "raw"},
    "evaluate": {"sst2": {"task": "sst2"}},
    "data": {"source": "builtin", "leaks": "drop"},
}  # fmt: skip


def test_a_mixture_its_search_and_its_heads_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "several.yaml").write_text(json.dumps(SEVERAL))
    opened = open_study("several.yaml", (), tmp_path / ".tunelab")
    run(read_study("several.yaml")[0][1])
    searched, heads = read_published(opened, ["searched", "heads"])
    card = model_card(searched, "me/several-searched")
    assert [(origin.task, origin.split) for origin in searched.rows] == [("sst2", "train"), ("mnli", "train")]
    assert "Rows of `mnli`, split `train`" in card
    assert "2 rows are held out: the learning rate was chosen on them." in card
    assert "| mnli | 4 | 4 | 80.0% |" in card
    assert "{'" not in card
    card = model_card(heads, "me/several-heads")
    assert "pipeline_tag: text-classification" in card
    assert "heads.safetensors" in card
    assert "AutoModelForCausalLM" not in card
