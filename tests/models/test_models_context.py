"""A text that is longer than the model's context is refused before anything is computed with it."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import GPT2Config, MambaConfig, Qwen3Config

from tunelab.errors import DataError, StepError
from tunelab.models.context import context_length, refuse_long_prompts, refuse_long_rows
from tunelab.models.load import load_config, load_tokenizer
from tunelab.models.spec import resolve
from tunelab.study.api import run
from tunelab.study.smoke import LENGTH
from tunelab.study.spec import Study
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples

STUDY = {
    "study": "short",
    "question": "Does it fit?",
    "task": "arithmetic",
    "formats": {"raw": {"template": "raw"}},
    "evaluate": {"raw": {"format": "raw", "rows": 6, "max_new_tokens": 40}},
}
RECIPE = {"method": "sft", "adaptation": "full", "lr": 1e-3, "epochs": 1, "batch_size": 4, "rows": 8, "loss": "all"}


def with_context(folder, positions):
    """The tiny model, made for fewer positions."""
    made = folder / "model"
    shutil.copytree(Path(resolve("tiny").location), made)
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps(config | {"max_position_embeddings": positions}))
    return str(made)


def prompt_tokens(rows):
    """Prompt lengths of a raw format, by the tokenizer alone."""
    tokenizer, task = load_tokenizer(resolve("tiny")), find_task("arithmetic")
    texts = [f"Question: {task.messages(sample)[0].content}\nAnswer:" for sample in rows]
    return [len(tokenizer(text)["input_ids"]) for text in texts]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Qwen3Config(max_position_embeddings=4096), 4096),
        (GPT2Config(n_positions=1024), 1024),
        (MambaConfig(), None),
        (
            Qwen3Config(
                max_position_embeddings=40960,
                rope_parameters={
                    "rope_type": "yarn",
                    "rope_theta": 1e6,
                    "factor": 4.0,
                    "original_max_position_embeddings": 32768,
                },
            ),
            131072,
        ),
    ],
)
def test_the_context_is_what_the_configuration_declares(config, expected):
    assert context_length(config) == expected


def test_a_prompt_fits_to_the_last_token_and_no_further():
    config = Qwen3Config(max_position_embeddings=100)
    refuse_long_prompts({"a": 60, "b": 10}, 40, config)
    with pytest.raises(DataError, match=r"1 of 2 prompts .* a has 60 tokens .* max_new_tokens = 41, .* at most 100"):
        refuse_long_prompts({"a": 60, "b": 10}, 41, config)
    refuse_long_rows(100, config)
    with pytest.raises(DataError, match=r"longest training row has 101 tokens, expected at most 100"):
        refuse_long_rows(101, config)
    refuse_long_prompts({"a": 10**6}, 1, MambaConfig())


def test_prompts_beyond_the_context_stop_before_generating(tmp_path):
    longest = max(prompt_tokens(load_samples(find_task("arithmetic"), "test", None)))
    study = STUDY | {"model": with_context(tmp_path, longest + 39)}
    study["evaluate"] = {"raw": {"format": "raw", "max_new_tokens": 40}}
    with pytest.raises(StepError, match=rf"{longest} tokens and its budget is max_new_tokens = 40") as refused:
        run(Study.model_validate(study), store=tmp_path / "store", results=tmp_path / "results")
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.glob("store/generate/*/outputs.jsonl"))


def test_training_rows_beyond_the_context_stop_before_training(tmp_path):
    study = STUDY | {"model": with_context(tmp_path, 45), "train": {"sft": {"format": "raw", **RECIPE}}}
    study["evaluate"] = {"raw": {"format": "raw", "rows": 6, "max_new_tokens": 1}}
    compared = run(Study.model_validate(study), store=tmp_path / "store", results=tmp_path / "results")
    assert compared["holes"] == ["sft/raw"]
    [failed] = tmp_path.glob("store/train/*/failed.json")
    assert "expected at most 45, the model's context; set max_length to 45" in failed.read_text()


def test_smoke_keeps_rows_to_the_context_of_the_bundled_model():
    assert context_length(load_config(resolve("tiny"))) == LENGTH
