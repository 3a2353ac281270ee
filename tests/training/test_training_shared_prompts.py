"""GRPO on trees against TRL's padded rows: the same completions and rewards give the same gradients."""

import json

import pytest
import torch

from tunelab.formats.renderer import Renderer
from tunelab.models.load import load_model
from tunelab.models.packed_attention import NAME
from tunelab.models.spec import resolve
from tunelab.tasks.find import find_task
from tunelab.training import shared_prompts
from tunelab.training.grpo import train_grpo
from tunelab.training.job import Hardware, Job
from tunelab.training.packing import EXACT
from tunelab.training.recipe import Grpo, Lora, Recipe
from tunelab.training.shared_prompts import by_prompt, grow, unsharable

GROUP = 4


def train(bench, name, *, packing, micro=8, checkpointing=False, **settings):
    """Train in the folder ``name``; return the facts, the trained weights and the gradients of the last step."""
    shared = {"method": "grpo", "adaptation": "full", "lr": 1e-5, "epochs": 1, "batch_size": 2, "max_steps": 3}
    shared |= {"grpo": Grpo(num_generations=GROUP, max_new_tokens=16), "lora": Lora(rank=4, alpha=8)}
    asked = Job(
        recipe=Recipe(**shared | settings),
        precision="fp32",
        seed=0,
        hardware=Hardware("cpu", micro, checkpointing, (), packing=packing),
        directory=bench.root / name,
        scratch=bench.root / name / "scratch",
        progress=lambda *_: None,
    )
    asked.scratch.mkdir(parents=True)
    model, gradients = load_model(resolve("tiny"), "cpu", "fp32"), {}
    for key, weight in model.named_parameters():
        weight.register_post_accumulate_grad_hook(lambda w, key=key: gradients.update({key: w.grad.clone()}))
    task, renderer = find_task("arithmetic"), bench.renderer
    assert isinstance(renderer, Renderer)
    facts = train_grpo(asked, bench.samples[:8], task, renderer, model, renderer.tokenizer)
    assert model.config._attn_implementation != NAME
    return facts, dict(model.named_parameters()), gradients


def lines(bench, name, file):
    return [json.loads(line) for line in (bench.root / name / file).read_text().splitlines()]


CASES = {
    "dapo": {},
    "small passes": {"micro": 2},
    "lora": {"adaptation": "lora"},
    "grpo's own loss": {"grpo": Grpo(num_generations=GROUP, max_new_tokens=16, loss_type="grpo", temperature=0.7)},
    "means by pass": {"micro": 4, "grpo": Grpo(num_generations=GROUP, max_new_tokens=16, loss_type="bnpo")},
}


@pytest.mark.parametrize("case", CASES)
def test_shared_prompts_teach_what_padded_rows_do(bench, case):
    facts, weights, gradients = train(bench, "tree", packing="auto", **CASES[case])
    padded, others, expected = train(bench, "rows", packing="off", **CASES[case])
    assert facts["padded"] is None
    assert padded["padded"] == "hardware.packing is off"
    assert lines(bench, "tree", "rollouts.jsonl") == lines(bench, "rows", "rollouts.jsonl")
    for ours, theirs in zip(lines(bench, "tree", "metrics.jsonl"), lines(bench, "rows", "metrics.jsonl"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        timeless = {key: value for key, value in theirs.items() if "time" not in key and value is not None}
        if case == "small passes":  # TRL logs the mean of the passes' means, and other rows stand together
            assert ours["entropy"] == pytest.approx(timeless.pop("entropy"), rel=0.5)
        assert {key: ours[key] for key in timeless} == {
            key: pytest.approx(value, rel=1e-3, abs=1e-5) for key, value in timeless.items()
        }
    assert gradients.keys() == expected.keys()
    for name, slope in expected.items():
        assert float((gradients[name] - slope).norm()) <= 1e-4 * float(slope.norm()) + 1e-7, name
    assert all(float((weights[n] - others[n]).detach().abs().max()) < 1e-4 for n in others)


def test_a_group_without_differences_moves_nothing_and_is_still_measured(bench):
    train(bench, "tree", packing="auto", micro=8)
    rewards = [row["rewards"] for row in lines(bench, "tree", "rollouts.jsonl")]
    assert {len(set(earned)) == 1 for earned in rewards} == {True, False}  # else the comparison above shows nothing


@pytest.fixture
def passes(monkeypatch):
    """What trees were grown of in training: the rows, and whether they were learnt from."""
    seen, grows = [], shared_prompts.grow

    def watched(rows):
        seen.append((rows, torch.is_grad_enabled()))
        return grows(rows)

    monkeypatch.setattr(shared_prompts, "grow", watched)
    return seen


@pytest.mark.parametrize(("loss", "alone"), [("dapo", True), ("dr_grpo", True), ("bnpo", False)])
def test_completions_of_a_prompt_meet_in_a_pass_unless_the_loss_goes_by_passes(bench, passes, loss, alone):
    grpo = Grpo(num_generations=GROUP, max_new_tokens=16, loss_type=loss)
    train(bench, "tree", packing="auto", micro=GROUP, batch_size=4, grpo=grpo)
    in_training = [rows for rows, _ in passes[1:]]  # the first compares a tree with padded rows before
    assert sum(map(len, in_training)) == len(bench.samples[:8]) * GROUP
    assert ({len({tuple(prompt) for prompt, _ in rows}) for rows in in_training} == {1}) is alone


@pytest.mark.parametrize(("micro", "dealt"), [(4 * GROUP, 0), (GROUP, 2)])
def test_the_rows_of_a_step_are_dealt_anew_once_and_those_of_a_single_pass_never(bench, monkeypatch, micro, dealt):
    seen = []
    monkeypatch.setattr(shared_prompts, "by_prompt", lambda rows: seen.append(len(rows)) or by_prompt(rows))
    train(bench, "tree", packing="auto", micro=micro, batch_size=4)
    assert seen == [4] * dealt


def test_a_pass_that_moves_nothing_goes_back_through_its_shortest_completion_alone(bench, passes):
    train(bench, "tree", packing="auto", micro=GROUP, batch_size=4)
    rewards = [row["rewards"] for row in lines(bench, "tree", "rollouts.jsonl")]
    still = sum(len(set(earned)) == 1 for earned in rewards)
    assert 0 < still < len(rewards)
    assert sum(learnt for _, learnt in passes[1:]) == len(rewards)
    beside = [(rows, passes[at + 1]) for at, (rows, learnt) in enumerate(passes) if not learnt]
    assert [len(rows) for rows, _ in beside] == [GROUP - 1] * still
    assert any(len({len(completion) for _, completion in rows}) > 1 for rows, _ in beside)
    for rows, ([(_, shortest)], learnt) in beside:
        assert learnt
        assert len(shortest) <= min(len(completion) for _, completion in rows)


def test_rows_of_passes_are_dealt_anew_with_all_that_is_known_of_them():
    prompts = torch.tensor([[0, 5], [7, 5], [0, 5], [7, 5]])
    whole = {
        "prompt_ids": prompts,
        "prompt_mask": (prompts > 0).long(),
        "advantages": torch.tensor([1.0, 2.0, 3.0, 4.0]),
        "num_items_in_batch": torch.tensor(40),
        "images": ["a", "b", "c", "d"],
        "nothing": None,
    }
    halves = [{k: v[at] if isinstance(v, list) or (v is not None and v.ndim) else v for k, v in whole.items()}
              for at in (slice(0, 2), slice(2, 4))]  # fmt: skip
    one, other = by_prompt(halves)
    assert one["advantages"].tolist() == [1.0, 3.0]
    assert other["advantages"].tolist() == [2.0, 4.0]
    assert (one["images"], other["images"]) == (["a", "c"], ["b", "d"])
    assert one["prompt_ids"].tolist() == [[0, 5], [0, 5]]
    assert other["prompt_mask"].tolist() == [[1, 1], [1, 1]]
    assert (int(one["num_items_in_batch"]), int(other["num_items_in_batch"]), one["nothing"]) == (40, 40, None)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"checkpointing": True}, "activations are computed again in the backward pass"),
        (
            {"grpo": Grpo(num_generations=GROUP, max_new_tokens=16, beta=0.1)},
            "grpo.beta compares with a reference, to the last bit",
        ),
    ],
)
def test_rows_are_padded_where_a_tree_would_not_do(bench, settings, reason):
    facts, _, _ = train(bench, "one", packing="auto", max_steps=1, **settings)
    assert facts["padded"] == reason


def test_a_tree_holds_every_prompt_once_and_every_completion_in_the_order_of_the_rows():
    tree = grow([([5, 6], [1, 2]), ([7], [3]), ([5, 6], [4]), ([7], [])])
    assert tree.ids == [5, 6, 1, 2, 4, 7, 3]
    assert tree.positions == [0, 1, 2, 3, 2, 0, 1]
    assert tree.branches == [(2, [2, 1]), (1, [1, 0])]
    assert tree.targets == [1, 2, 3, 4]
    assert tree.places == [1, 2, 5, 1]


def test_a_tree_that_says_something_else_is_not_used(bench):
    model = load_model(resolve("tiny"), "cpu", "fp32")
    prompts = [[1, 313, 201, 59], [1, 313, 201, 59, 299, 87, 72, 327, 376]]
    assert unsharable(model, prompts, exact=True) is None
    torch.manual_seed(0)
    reads = model.base_model.forward

    def forgetful(*args, **kwargs):
        if "branches" in kwargs:
            kwargs["position_ids"] = torch.arange(kwargs["input_ids"].shape[1])[None]
        return reads(*args, **kwargs)

    model.base_model.forward = forgetful
    assert unsharable(model, prompts, exact=True).startswith("completions have a loss of ")
    assert EXACT < 1e-3
