"""Preference optimisation of the tiny model, against the paper's formula and against itself after a kill."""

import dataclasses
import json
import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from tunelab.errors import DataError, FormatError
from tunelab.models.load import load_model
from tunelab.models.spec import resolve
from tunelab.tasks.find import find_task
from tunelab.training.dpo import preference_rows, train_dpo
from tunelab.training.job import Hardware, Job
from tunelab.training.recipe import Lora, Recipe

BETA = 0.3


class Killed(Exception):
    """What a kill looks like from inside."""


def kill_at(step):
    def progress(done, total, unit):
        if done == step:
            raise Killed

    return progress


def recipe(**settings):
    shared = {"method": "dpo", "adaptation": "full", "lr": 1e-3, "epochs": 1, "batch_size": 8, "schedule": "constant"}
    lora = Lora(rank=4, alpha=8, dropout=settings.pop("dropout", 0.0))
    return Recipe(**{**shared, "lora": lora, "max_length": 512, "max_too_long": 0.0, "dpo": {"beta": BETA}, **settings})


def pairs_of(bench, n):
    """The target against a wrong answer whose length differs from row to row."""
    return [
        {"id": s.id, "chosen": s.targets[0], "rejected": "Let me see. " * (i % 4) + f"#### {i + 1000}"}
        for i, s in enumerate(bench.samples[:n])
    ]


def rows_of(bench, n=24, **settings):
    task = find_task("arithmetic")
    return preference_rows(pairs_of(bench, n), bench.samples, task, bench.renderer, recipe(**settings))


def train(bench, name, *, n=24, micro=8, seed=0, progress=lambda *_: None, **settings):
    directory = bench.root / name
    hardware = Hardware("cpu", micro, False, ())
    job = Job(recipe(**settings), "fp32", seed, hardware, directory, directory / "scratch", progress)
    job.scratch.mkdir(parents=True, exist_ok=True)
    model = load_model(resolve("tiny"), "cpu", "fp32")
    return train_dpo(job, rows_of(bench, n, **settings), model, bench.renderer.tokenizer)


def metrics(bench, name):
    return [json.loads(line) for line in (bench.root / name / "metrics.jsonl").read_text().splitlines()]


def log_probability(model, prompt, completion):
    """Of a completion behind its prompt, without padding and without TRL."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits, -1)[range(len(completion)), completion].sum()


def paper_loss(policy, rows):
    """Equation 7 of Rafailov et al. (2023), a pair at a time; the reference is the untouched base."""
    base = load_model(resolve("tiny"), "cpu", "fp32")
    losses = []
    for row in rows:
        chosen, rejected = (
            log_probability(policy, row["prompt_ids"], row[side]) - log_probability(base, row["prompt_ids"], row[side])
            for side in ("chosen_ids", "rejected_ids")
        )
        losses.append(-logsigmoid(BETA * (chosen - rejected)))
    return float(torch.stack(losses).mean())


def test_both_completions_stand_behind_the_prompt_of_evaluation_and_end_the_turn(bench):
    tokenizer, found = bench.renderer.tokenizer, rows_of(bench).rows
    for pair, sample, row in zip(pairs_of(bench, 24), bench.samples, found, strict=True):
        assert row["prompt_ids"] == bench.renderer.prompt(find_task("arithmetic").messages(sample)).ids
        for side in ("chosen", "rejected"):
            assert tokenizer.decode(row[f"{side}_ids"]) == pair[side] + "<|im_end|>"
            assert row[f"{side}_ids"].count(bench.renderer.end_of_turn[1]) == 1
            assert row[f"{side}_ids"][-1] == bench.renderer.end_of_turn[1]


def test_the_receipt_of_training_counts_pairs_and_tokens(bench):
    found = rows_of(bench)
    assert found.receipt == {
        "rows": 24,
        "too_long": 0,
        "prompt_tokens": sum(len(row["prompt_ids"]) for row in found.rows),
        "chosen_tokens": sum(len(row["chosen_ids"]) for row in found.rows),
        "rejected_tokens": sum(len(row["rejected_ids"]) for row in found.rows),
        "longest": max(len(r["prompt_ids"] + max(r["chosen_ids"], r["rejected_ids"], key=len)) for r in found.rows),
    }
    assert found.preview.count("<|im_end|>⟧") == 2


def test_a_pair_is_too_long_when_its_longer_side_is_and_is_left_out_whole(bench):
    limit = rows_of(bench).receipt["longest"] - 1
    with pytest.raises(DataError, match=rf"preference pairs: .* set max_length to {limit + 1} to keep all"):
        rows_of(bench, max_length=limit)
    found = rows_of(bench, max_length=limit, max_too_long=1.0)
    assert found.receipt["too_long"] == 24 - len(found.rows) > 0
    assert found.receipt["longest"] <= limit
    assert all(row["rejected_ids"][-1] == bench.renderer.end_of_turn[1] for row in found.rows)


def test_a_completion_that_ends_its_turn_twice_is_refused(bench):
    pair = {"id": bench.samples[0].id, "chosen": "#### 1", "rejected": "#### 2<|im_end|>#### 3"}
    with pytest.raises(FormatError, match="end of turn"):
        preference_rows([pair], bench.samples, find_task("arithmetic"), bench.renderer, recipe())


@pytest.mark.parametrize("settings", [{"adaptation": "full"}, {"adaptation": "lora", "dropout": 0.1}])
def test_the_first_loss_is_log_2_because_the_policy_is_the_reference(bench, settings):
    train(bench, "one", n=8, **settings)
    assert metrics(bench, "one")[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert metrics(bench, "one")[0]["grad_norm"] > 0


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_the_next_loss_is_the_papers_formula_against_the_untouched_base(bench, adaptation):
    train(bench, "one", n=8, adaptation=adaptation)
    train(bench, "two", n=8, adaptation=adaptation, epochs=2)
    ref, folder = resolve("tiny"), bench.root / "one" / "model"
    where = (ref, folder) if adaptation == "lora" else (dataclasses.replace(ref, location=str(folder)), None)
    policy = load_model(where[0], "cpu", "fp32", where[1])
    expected = paper_loss(policy, rows_of(bench, 8).rows)
    assert abs(expected - math.log(2)) > 0.01
    assert metrics(bench, "two")[1]["loss"] == pytest.approx(expected, rel=1e-3)


def test_batches_of_four_equal_batches_of_one_also_where_an_epochs_last_batch_is_smaller(bench, same):
    for micro in (4, 1):
        train(bench, f"micro{micro}", n=13, micro=micro, lr=1e-4, epochs=2)
    for one, other in zip(metrics(bench, "micro4"), metrics(bench, "micro1"), strict=True):
        assert (one["loss"], one["grad_norm"]) == pytest.approx((other["loss"], other["grad_norm"]), rel=1e-3)
    assert same(bench.weights("micro4"), bench.weights("micro1")) < 1e-5


@pytest.mark.parametrize("settings", [{"adaptation": "full"}, {"adaptation": "lora", "dropout": 0.1}])
def test_killed_and_resumed_equals_uninterrupted(bench, same, settings):
    settings = {**settings, "n": 12, "epochs": 2, "batch_size": 3, "schedule": "linear"}
    whole = train(bench, "whole", **settings)
    with pytest.raises(Killed):
        train(bench, "torn", progress=kill_at(5), **settings)
    steps = []
    again = train(bench, "torn", progress=lambda done, *_: steps.append(done), **settings)
    assert steps == [5, 6, 7, 8]
    assert whole["steps"] == again["steps"] == 8
    lora = settings["adaptation"] == "lora"
    assert same(bench.weights("whole", lora), bench.weights("torn", lora)) == 0
    kept = ("step", "loss", "rewards/margins")
    curves = [[[row[k] for k in kept] for row in metrics(bench, name)] for name in ("whole", "torn")]
    assert curves[0] == curves[1]


def test_a_trained_adapter_is_saved_alone_without_a_copy_for_the_reference(bench):
    facts = train(bench, "lora", n=8, adaptation="lora")
    names = {path.name for path in (bench.root / "lora" / "model").iterdir()}
    assert "adapter_model.safetensors" in names
    assert not any(path.is_dir() for path in (bench.root / "lora" / "model").iterdir())
    assert facts["resolved"]["beta"] == BETA
    assert facts["receipt"]["rows"] == 8


def test_training_comes_to_prefer_what_was_chosen(bench):
    train(bench, "learn", n=8, epochs=6)
    found = metrics(bench, "learn")
    assert found[0]["rewards/margins"] == 0
    assert found[-1]["rewards/margins"] > 1
    assert found[-1]["rewards/accuracies"] == 1


def test_a_recipes_identity_holds_the_settings_of_its_own_method_only():
    dpo, sft = recipe(), recipe(method="sft", loss="all")
    assert {"dpo", "grpo", "loss"} & set(dpo.identity("fp32")) == {"dpo"}
    assert {"dpo", "grpo", "loss"} & set(sft.identity("fp32")) == {"loss"}
    assert dpo.identity("fp32") == recipe(loss="all", grpo={"beta": 1}).identity("fp32")
    assert dpo.identity("fp32") != recipe(dpo={"beta": 0.1}).identity("fp32")


def test_pairs_of_a_single_draw_are_refused_when_the_study_is_read():
    with pytest.raises(ValueError, match="samples: got 1, expected at least 2"):
        recipe(dpo={"samples": 1})
