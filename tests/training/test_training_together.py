"""Adapters of the tiny model trained together against each trained by itself."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from tunelab.models.load import load_model
from tunelab.models.spec import resolve
from tunelab.training import together
from tunelab.training.checkpoints import common_checkpoint, forget_after, last_checkpoint
from tunelab.training.job import Hardware, Job
from tunelab.training.lockstep import in_lockstep
from tunelab.training.recipe import Lora, Recipe
from tunelab.training.together import TRIAL, Passes, train_together

ALWAYS, NEVER = float("inf"), 0.0
SWEEP = {
    "two": {"rank": 2, "lr": 1e-3},
    "four": {"rank": 4, "lr": 4e-3, "schedule": "cosine", "warmup": 0.3, "weight_decay": 0.1},
    "eight": {"rank": 8, "lr": 1e-3, "max_grad_norm": 0.05, "seed": 3, "checkpoints": 3},
}


def job(bench, name, *, rank, micro=4, seed=0, progress=lambda *_: None, **settings):
    """A training of 6 steps of two passes in a folder of its own."""
    recipe = {"method": "sft", "adaptation": "lora", "loss": "completion", "epochs": 2, "batch_size": 8, **settings}
    hardware, folder = Hardware("cpu", micro, False, ()), bench.root / name
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    return Job(
        Recipe(lora=Lora(rank=rank, alpha=8), **recipe), "fp32", seed, hardware, folder, folder / "scratch", progress
    )


def train(bench, jobs, gain=ALWAYS, base=None):
    base = base or load_model(resolve("tiny"), "cpu", "fp32")
    return train_together(jobs, bench.rows(jobs[0].recipe.loss), base, bench.renderer.tokenizer, gain)


def alone(bench, name, *, rank, micro=4, **settings):
    lora = Lora(rank=rank, alpha=8)
    settings = {"schedule": "linear", "epochs": 2, **settings}
    return bench.train(f"{name}-alone", micro=micro, adaptation="lora", lora=lora, **settings)


def logged(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def adapter(folder):
    return load_file(folder / "adapter_model.safetensors")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "scratch" not in path.parts)


@pytest.mark.parametrize("case", [{}, {"loss": "all", "batch_size": 7, "micro": 1, "epochs": 1}])
def test_each_adapter_is_what_its_own_training_makes(bench, same, case):
    found = train(bench, [job(bench, name, **settings, **case) for name, settings in SWEEP.items()])
    for (name, settings), facts in zip(SWEEP.items(), found, strict=True):
        expected = alone(bench, name, **settings, **case)
        ours, theirs = bench.root / name, bench.root / f"{name}-alone"
        assert facts["together"]["used"] == "together"
        assert facts["initial_adapter_sha256"] == expected["initial_adapter_sha256"]
        for key in ("steps", "receipt", "padded"):
            assert facts[key] == expected[key]
        for row, other in zip(logged(ours), logged(theirs), strict=True):
            assert row["loss"] == pytest.approx(other["loss"], abs=1e-5)
            assert row == {key: pytest.approx(value, rel=1e-3, abs=1e-6) for key, value in other.items()}
        assert same(adapter(ours / "model"), adapter(theirs / "model")) < 1e-4
        assert files(ours) == files(theirs)
    assert len(files(bench.root / "eight" / "checkpoints")) >= 6


def test_more_adapters_than_a_pass_takes_are_computed_in_several(bench, same, monkeypatch):
    monkeypatch.setattr(together, "MOST", 2)
    facts = train(bench, [job(bench, name, **settings) for name, settings in SWEEP.items()])
    assert {found["together"]["used"] for found in facts} == {"together"}
    for name, settings in list(SWEEP.items())[1:]:
        alone(bench, name, **settings)
        assert same(adapter(bench.root / name / "model"), adapter(bench.root / f"{name}-alone" / "model")) < 1e-4


def test_passes_that_do_not_pay_are_tried_in_turn_and_then_computed_one_after_the_other(bench, same):
    base, seen, names = load_model(resolve("tiny"), "cpu", "fp32"), [], ("two", "four")

    def see(module, args):
        if module is base.base_model:
            seen.append(torch.is_grad_enabled())

    base.base_model.register_forward_pre_hook(see)
    found = train(bench, [job(bench, name, **SWEEP[name]) for name in names], gain=NEVER, base=base)
    assert seen == [False, *[True] * TRIAL]
    for name, facts in zip(names, found, strict=True):
        alone(bench, name, **SWEEP[name])
        said = facts["together"]
        assert said["used"] == "alone"
        assert said["reason"] == "passes together are not faster"
        assert said["seconds_a_token_together"] > 0 < said["seconds_a_token_alone"]
        assert same(adapter(bench.root / name / "model"), adapter(bench.root / f"{name}-alone" / "model")) < 1e-4


def test_a_training_that_ends_before_its_trial_says_so():
    passes = Passes(base=None, seconds={"together": [1.0] * TRIAL, "alone": [1.0]})
    assert passes.facts() == {"used": "in turn", "reason": "the training ended before the trial did"}


@pytest.mark.parametrize(("seconds", "used"), [(0.94, "together"), (0.96, "alone")])
def test_the_faster_way_is_gone_on_with_if_it_is_faster_by_a_twentieth(seconds, used):
    first = [100.0]
    passes = Passes(base=None, seconds={"together": first + [seconds] * (TRIAL - 1), "alone": [1.0] * TRIAL})
    assert passes.facts()["used"] == used


def test_a_base_that_says_something_else_of_stacked_rows_is_not_used(bench):
    base = load_model(resolve("tiny"), "cpu", "fp32")
    base.get_submodule("model.layers.0").register_forward_hook(lambda module, args, output: output * 1.5)
    views = []
    base.__deepcopy__ = lambda memo: views.append(load_model(resolve("tiny"), "cpu", "fp32")) or views[-1]
    facts = train(bench, [job(bench, name, **SWEEP[name]) for name in ("two", "four")], base=base)
    assert facts[0]["together"]["used"] == "alone"
    assert "losses differ by" in facts[0]["together"]["reason"]


def test_interrupted_adapters_go_on_to_the_same_weights(bench, same):
    def stop(done, total, unit):
        if done == 5:
            raise KeyboardInterrupt

    names = ("two", "four")
    train(bench, [job(bench, name, **SWEEP[name]) for name in names])
    torn = [job(bench, f"{name}-torn", **SWEEP[name], progress=stop) for name in names]
    with pytest.raises(KeyboardInterrupt):
        train(bench, torn)
    scratches = [one.scratch for one in torn]
    assert common_checkpoint(scratches) == 3
    train(bench, [dataclasses.replace(one, progress=lambda *_: None) for one in torn])
    for name in names:
        assert same(adapter(bench.root / name / "model"), adapter(bench.root / f"{name}-torn" / "model")) < 1e-6
        whole_run, resumed = ([row["loss"] for row in logged(bench.root / each)] for each in (name, f"{name}-torn"))
        assert resumed == pytest.approx(whole_run, rel=1e-5)  # the trial is repeated, and its ways sum in two orders


def whole(folder, *steps):
    for step in steps:
        (folder / f"checkpoint-{step}").mkdir(parents=True)
        (folder / f"checkpoint-{step}" / "complete").touch()
    return folder


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [((), (), 0), ((3,), (), 0), ((3, 6), (3,), 3), ((3, 6), (), None), ((3, 6), (6, 9), 6), ((6, 9), (3,), None)],
)
def test_adapters_go_on_from_a_checkpoint_that_all_have_if_little_is_lost(tmp_path, one, other, common):
    scratches = [whole(tmp_path / "one", *one), whole(tmp_path / "other", *other)]
    assert common_checkpoint(scratches) == common
    if common:
        for scratch in scratches:
            forget_after(scratch, common)
            assert last_checkpoint(scratch).name == f"checkpoint-{common}"


def test_turns_have_the_random_draws_to_themselves():
    def drawing(seed):
        def draw(meet):
            torch.manual_seed(seed)
            return [meet(float(torch.rand(()))) for _ in range(3)]

        return draw

    def expected(seed):
        draws = torch.Generator().manual_seed(seed)
        return [float(torch.rand((), generator=draws)) for _ in range(3)]

    before = torch.get_rng_state()
    assert in_lockstep([drawing(1), drawing(2)], lambda asked: asked) == [expected(1), expected(2)]
    assert torch.equal(torch.get_rng_state(), before)


def test_an_error_in_one_turn_ends_all_and_is_raised():
    ended = []

    def turn(number):
        def go(meet):
            try:
                meet(number)
                if number:
                    raise OSError("disk full")
                meet(number)
            finally:
                ended.append(number)

        return go

    with pytest.raises(OSError, match="disk full"):
        in_lockstep([turn(0), turn(1)], lambda asked: asked)
    assert sorted(ended) == [0, 1]


def test_turns_that_do_not_meet_equally_often_are_an_error():
    with pytest.raises(RuntimeError, match="expected all to meet equally often"):
        in_lockstep([lambda meet: meet(1), lambda meet: 2], lambda asked: asked)
