"""Supervised training of the tiny model, against plain PyTorch and against itself after a kill."""

import json

import pytest
import torch
from torch.nn.functional import cross_entropy

from tunelab.data.sample import Message
from tunelab.errors import StudyError
from tunelab.formats.renderer import Renderer
from tunelab.generation.decoding import Decoding, Request
from tunelab.generation.local import LocalGenerator
from tunelab.models.load import load_model
from tunelab.models.spec import resolve
from tunelab.training.checkpoints import MARKER, save_steps
from tunelab.training.recipe import Lora, Recipe
from tunelab.training.rows import IGNORED
from tunelab.training.sft import total_steps
from tunelab.training.sizes import largest_divisor


class Killed(Exception):
    """What a kill looks like from inside."""


def kill_at(step):
    def progress(done, total, unit):
        if done == step:
            raise Killed

    return progress


def metrics(bench, name):
    return [json.loads(line) for line in (bench.root / name / "metrics.jsonl").read_text().splitlines()]


def plain_loss(rows):
    """Mean negative log-likelihood per supervised token, a row at a time, without TRL."""
    model = load_model(resolve("tiny"), "cpu", "fp32")
    total, count = 0.0, 0
    for row in rows:
        ids, wanted = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"])[1:]
        with torch.no_grad():
            logits = model(ids).logits[0, :-1]
        total += float(cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum"))
        count += int((wanted != IGNORED).sum())
    return total / count


@pytest.mark.parametrize("loss", ["all", "completion"])
@pytest.mark.parametrize("micro", [8, 2])
def test_the_loss_of_a_step_is_the_cross_entropy_of_the_rendered_ids(bench, loss, micro):
    bench.train("one", n=8, loss=loss, micro=micro)
    assert metrics(bench, "one")[0]["loss"] == pytest.approx(plain_loss(bench.rows(loss, 8).rows), rel=1e-4)


@pytest.mark.parametrize("loss", ["all", "completion"])
def test_one_batch_of_eight_equals_eight_batches_of_one(bench, same, loss):
    assert len({len(row["input_ids"]) for row in bench.rows().rows}) > 4
    for micro in (8, 1):
        bench.train(f"micro{micro}", n=16, loss=loss, micro=micro, lr=2e-5)
    for one, other in zip(metrics(bench, "micro8"), metrics(bench, "micro1"), strict=True):
        assert (one["loss"], one["grad_norm"]) == pytest.approx((other["loss"], other["grad_norm"]), rel=1e-3)
    assert same(bench.weights("micro8"), bench.weights("micro1")) < 1e-5


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_killed_and_resumed_equals_uninterrupted(bench, same, adaptation):
    recipe = {"adaptation": adaptation, "epochs": 3, "batch_size": 4, "schedule": "linear", "warmup": 0.2}
    whole = bench.train("whole", **recipe)
    with pytest.raises(Killed):
        bench.train("torn", progress=kill_at(8), **recipe)
    steps = []
    again = bench.train("torn", progress=lambda done, *_: steps.append(done), **recipe)
    assert steps == list(range(6, 19))
    assert whole["steps"] == again["steps"] == 18
    lora = adaptation == "lora"
    assert same(bench.weights("whole", lora), bench.weights("torn", lora)) == 0
    assert again["final_loss"] == whole["final_loss"]


def test_after_a_resume_every_step_is_logged_once(bench):
    recipe = {"epochs": 3, "batch_size": 4}
    bench.train("whole", **recipe)
    with pytest.raises(Killed):
        bench.train("torn", progress=kill_at(8), **recipe)
    torn = [row["step"] for row in metrics(bench, "torn")]
    bench.train("torn", **recipe)
    assert torn == list(range(1, len(torn) + 1))
    assert [(r["step"], r["loss"], r["num_tokens"]) for r in metrics(bench, "torn")] == [
        (r["step"], r["loss"], r["num_tokens"]) for r in metrics(bench, "whole")
    ]
    assert [r["step"] for r in metrics(bench, "whole")] == list(range(1, 19))


def test_a_half_written_checkpoint_is_removed_and_not_resumed(bench, same):
    recipe = {"epochs": 2, "batch_size": 4}
    bench.train("whole", **recipe)
    half = bench.root / "torn" / "scratch" / "checkpoint-9"
    half.mkdir(parents=True)
    (half / "trainer_state.json").write_text('{"global_step": 9')
    bench.train("torn", **recipe)
    assert not (half / "trainer_state.json").exists() or (half / MARKER).exists()
    assert same(bench.weights("whole"), bench.weights("torn")) == 0


def test_equal_seeds_start_from_equal_adapters_and_other_seeds_from_others(bench):
    lora = {"adaptation": "lora", "n": 8}
    first, loss, other = (
        bench.train("a", **lora),
        bench.train("b", **lora, loss="all"),
        bench.train("c", **lora, seed=1),
    )
    assert first["initial_adapter_sha256"] == loss["initial_adapter_sha256"] != other["initial_adapter_sha256"]


def test_seeds_decide_the_order_of_the_rows(bench, same):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        bench.train(name, seed=seed)
    assert same(bench.weights("a"), bench.weights("b")) == 0
    assert same(bench.weights("a"), bench.weights("c")) > 0


def test_a_trained_adapter_is_saved_alone_and_moves_the_model(bench, same):
    facts = bench.train("lora", adaptation="lora", lr=1e-2)
    saved = {path.name for path in (bench.root / "lora" / "model").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json"} <= saved
    assert not any(name.startswith("model") for name in saved)
    assert "README.md" not in saved  # a template that says nothing; ours is written when a model is pushed
    base = dict(load_model(resolve("tiny"), "cpu", "fp32").named_parameters())
    trained = bench.weights("lora", adapter=True)
    kept = {
        k.removeprefix("base_model.model.").replace(".base_layer", ""): v
        for k, v in trained.items()
        if "lora_" not in k
    }
    assert same(kept, base) == 0
    assert all(float(v.detach().abs().max()) > 0 for k, v in trained.items() if "lora_B" in k)
    assert facts["steps"] == 3


def test_generation_hears_the_adapter(bench):
    bench.train("lora", adaptation="lora", lr=2e-2, epochs=3)
    ref, renderer = resolve("tiny"), bench.renderer
    prompts = [renderer.prompt([Message("user", s.fields["question"])]) for s in bench.samples[:8]]
    asked = [Request(str(i), 0, p.text, p.ids) for i, p in enumerate(prompts)]
    texts = {}
    for name, adapter in (("base", None), ("lora", bench.root / "lora" / "model")):
        model = load_model(ref, "cpu", "fp32", adapter)
        texts[name] = [o.output for o in LocalGenerator(model, renderer, Decoding(max_new_tokens=32)).run(asked)]
    assert texts["base"] != texts["lora"]


def test_kept_checkpoints_hold_weights_only_and_leave_the_scratch_fit_to_resume(bench, same):
    facts = bench.train("kept", checkpoints=3)
    folders = sorted((bench.root / "kept" / "checkpoints").iterdir())
    assert [folder.name for folder in folders] == ["step-000001", "step-000002", "step-000003"]
    for folder in folders:
        assert (folder / "model.safetensors").exists()
        assert {path.suffix for path in folder.iterdir()} <= {".safetensors", ".json"}
        assert not (folder / "trainer_state.json").exists()
    final = bench.weights("kept")
    assert bench.train("kept", checkpoints=3)["steps"] == facts["steps"]
    assert same(bench.weights("kept"), final) == 0


def test_training_lowers_the_loss_on_its_rows(bench):
    bench.train("learn", n=8, loss="all", epochs=10)
    losses = [row["loss"] for row in metrics(bench, "learn")]
    assert losses[-1] < 0.6 * losses[0]


def recipe(**settings):
    return Recipe(
        **{"method": "sft", "adaptation": "full", "loss": "all", "lr": 1, "epochs": 1, "batch_size": 8} | settings
    )


@pytest.mark.parametrize(
    ("settings", "rows", "expected"),
    [({}, 24, 3), ({}, 25, 4), ({"epochs": 2.5}, 24, 8), ({"max_steps": 2}, 24, 2), ({"max_steps": 9}, 24, 3)],
)
def test_the_number_of_steps_is_known_beforehand(settings, rows, expected):
    assert total_steps(recipe(**settings), rows) == expected


@pytest.mark.parametrize(
    ("epochs", "n", "most"), [(1, 20, None), (2.5, 20, None), (0.5, 24, None), (1, 16, 9), (2, 16, 3)]
)
def test_the_trainer_takes_the_steps_that_were_announced(bench, epochs, n, most):
    totals = set()
    settings = {"epochs": epochs, "max_steps": most}
    facts = bench.train("t", n=n, **settings, progress=lambda done, total, unit: totals.add(total))
    assert totals == {facts["steps"]} == {total_steps(recipe(**settings), n)}


@pytest.mark.parametrize(("batch", "limit", "expected"), [(16, 16, 16), (16, 6, 4), (12, 8, 6), (7, 4, 1), (3, 9, 3)])
def test_a_batch_is_split_evenly(batch, limit, expected):
    assert largest_divisor(batch, limit) == expected


def test_the_renderer_of_training_is_the_renderer_of_evaluation(bench):
    assert isinstance(bench.renderer, Renderer)
    row, sample = bench.rows().rows[0], bench.samples[0]
    prompt = bench.renderer.prompt([Message("user", sample.fields["question"])]).ids
    assert row["input_ids"][: len(prompt)] == prompt
    assert set(row["labels"][: len(prompt)]) == {IGNORED}


def test_checkpoints_are_evenly_spaced_and_end_with_the_last_step():
    assert save_steps(9, 4) == {3, 5, 7, 9}
    assert save_steps(20, 3) == {7, 14, 20}
    assert save_steps(2, 4) == {1, 2}


@pytest.mark.parametrize(
    "targets", [("c_attn",), ("q_proj", "c_attn"), ("mlp", "c_attn"), ("input_layernorm", "c_attn")]
)
def test_adapters_for_modules_of_another_architecture_are_refused_with_those_that_exist(bench, targets):
    wrong = ", ".join(target for target in targets if target != "q_proj")
    with pytest.raises(StudyError) as refused:
        bench.train("one", n=8, adaptation="lora", lora=Lora(targets=targets))
    expected = "down_proj, embed_tokens, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj"
    assert str(refused.value) == (
        f"lora.targets: got {wrong}, expected modules of this qwen3 model: {expected}; use these or all-linear"
    )


def test_adapters_go_to_the_declared_modules_and_no_others(bench):
    bench.train("one", n=8, adaptation="lora", lora=Lora(rank=2, targets=("0.self_attn.q_proj", "v_proj")))
    adapted = {name.partition(".lora_")[0] for name in bench.weights("one", adapter=True) if ".lora_" in name}
    ends = {name.rpartition("layers.")[2] for name in adapted}
    assert ends == {"0.self_attn.q_proj", *(f"{i}.self_attn.v_proj" for i in range(4))}


def test_an_adapters_configuration_is_the_same_in_every_process(bench):
    bench.train("one", n=8, adaptation="lora", lora=Lora(rank=2), checkpoints=1)
    configs = list((bench.root / "one").rglob("adapter_config.json"))
    assert len(configs) >= 2
    for config in configs:
        targets = json.loads(config.read_text())["target_modules"]
        assert len(targets) == 7
        assert targets == sorted(targets)
