"""GRPO of the tiny model: its prompts, draws and rewards are evaluation's, and a kill changes nothing."""

import json
import re
from types import SimpleNamespace

import pytest
import torch

from tunelab.data.sample import Message, Sample
from tunelab.data.sources import BuiltinSource
from tunelab.errors import DataError, StepError
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.generation.decoding import Decoding, Request
from tunelab.generation.engine.decode import Table
from tunelab.generation.local import LocalGenerator, stop_ids
from tunelab.generation.vllm import draw as draw_by_engine
from tunelab.models.load import load_model
from tunelab.models.spec import resolve
from tunelab.scoring.score import Metric, Outcome, Score, judged
from tunelab.study.steps.generate import make_requests
from tunelab.tasks.find import find_task, installed
from tunelab.tasks.samples import load_samples
from tunelab.tasks.sandboxed import runs_code
from tunelab.training import rollouts
from tunelab.training.gold import GARBAGE, check_reward
from tunelab.training.groups import differ
from tunelab.training.grpo import adapter_effect, grpo_config, total_steps, train_grpo, vllm_config
from tunelab.training.job import Hardware, Job
from tunelab.training.order import visits
from tunelab.training.recipe import Grpo, Lora, Recipe, Rewards
from tunelab.training.rewards import Completion, task_reward
from tunelab.training.rollouts import Rollouts, questions

GROUP = 4
SMALL = Grpo(num_generations=GROUP, max_new_tokens=16)


class Killed(Exception):
    """What a kill looks like from inside."""


class Copying:
    """A small task: repeat the word. ``score`` is what the tests vary."""

    name = "copying"
    version = 1
    dataset = None
    train_split = "train"
    test_split = "test"
    metrics = (Metric("exact"),)
    stop = ()
    max_new_tokens = 4

    def load(self, split, source):
        return [Sample(f"{split}-{i}", {"word": word}, (f"#### {word}",), {}) for i, word in enumerate("12345678")]

    def messages(self, sample):
        return [Message("user", sample.fields["word"])]

    def target(self, sample):
        return sample.targets[0]

    def score(self, sample, output):
        correct = output == sample.targets[0]
        return judged(correct, output, {"exact": float(correct)})


class RefusesGold(Copying):
    def score(self, sample, output):
        return super().score(sample, output.removeprefix("####"))


class AcceptsAll(Copying):
    def score(self, sample, output):
        return judged(True, output, {"exact": 1.0})


class OnlyGold(Copying):
    """No completion can be right: the model cannot write the target."""

    def target(self, sample):
        return f"{sample.targets[0]} is what the model will never write"

    def score(self, sample, output):
        correct = output == self.target(sample)
        return judged(correct, output, {"exact": float(correct)})


class Unscorable(Copying):
    """Whatever is neither gold nor garbage cannot be scored."""

    def score(self, sample, output):
        return super().score(sample, output) if output in (*sample.targets, GARBAGE) else Score(Outcome.UNSCORED)


class Percent(Copying):
    metrics = (Metric("exact", scale=100),)

    def score(self, sample, output):
        correct = output == sample.targets[0]
        return judged(correct, output, {"exact": 100.0 * correct})


def recipe(**settings):
    shared = {"method": "grpo", "adaptation": "full", "lr": 3e-4, "epochs": 1, "batch_size": 2, "grpo": SMALL}
    return Recipe(**shared | {"lora": Lora(rank=4, alpha=8)} | settings)


def job(bench, name, micro=8, seed=0, progress=lambda *_: None, generation="auto", **settings):
    folder = bench.root / name
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    hardware = Hardware("cpu", micro, False, (), generation=generation)
    return Job(recipe(**settings), "fp32", seed, hardware, folder, folder / "scratch", progress)


@pytest.fixture
def train(bench):
    """Train by GRPO in a folder, which may hold an interrupted attempt; return the facts."""

    def run(name, *, task=None, n=8, renderer=None, **settings):
        samples = task.load("train", None) if task else bench.samples
        model = load_model(resolve("tiny"), "cpu", "fp32")
        renderer = renderer or bench.renderer
        asked = task or find_task("arithmetic")
        return train_grpo(job(bench, name, **settings), samples[:n], asked, renderer, model, renderer.tokenizer)

    return run


def test_prompts_that_leave_no_room_for_their_completions_are_refused_before_any_rollout(bench):
    model = load_model(resolve("tiny"), "cpu", "fp32")
    model.config.max_position_embeddings = 30
    with pytest.raises(DataError, match=r"context: .* max_new_tokens = 16, expected at most 30 together"):
        train_grpo(
            job(bench, "short"),
            bench.samples[:4],
            find_task("arithmetic"),
            bench.renderer,
            model,
            bench.renderer.tokenizer,
        )
    assert not (bench.root / "short" / "rollouts.jsonl").exists()


def lines(bench, name, file="rollouts.jsonl"):
    return [json.loads(line) for line in (bench.root / name / file).read_text().splitlines()]


def kill_at(step):
    def progress(done, total, unit):
        if done == step:
            raise Killed

    return progress


def draws(model, renderer, samples, decoding, group=GROUP):
    """What evaluation would draw for these samples."""
    requests = make_requests(samples, find_task("arithmetic"), renderer, group)
    return [output.output for output in LocalGenerator(model, renderer, decoding).run(requests)]


def made(bench, model, prompts, step=0, renderer=None, task=None, **settings):
    """Completions of one step for the sample ids, without a trainer's loop around them."""
    renderer, task = renderer or bench.renderer, task or find_task("arithmetic")
    found = Rollouts(job(bench, "made", **settings), questions(bench.samples, task, renderer), task, renderer)
    trainer = SimpleNamespace(
        model=model, accelerator=SimpleNamespace(unwrap_model=lambda m: m), state=SimpleNamespace(global_step=step)
    )
    return found, found.generate(prompts, trainer)


def texts(output):
    """What the completions of a step say."""
    return [made.text for made in output["made"]]


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_killed_and_resumed_visits_the_same_prompts_for_the_same_rewards_and_weights(bench, train, same, adaptation):
    settings = {"n": 7, "epochs": 3, "adaptation": adaptation, "lora": Lora(rank=4, alpha=8, dropout=0.1)}
    whole = train("whole", **settings)
    with pytest.raises(Killed):
        train("torn", progress=kill_at(8), **settings)
    assert max(row["step"] for row in lines(bench, "torn")) == 7
    steps = []
    again = train("torn", progress=lambda done, *_: steps.append(done), **settings)
    assert steps == [8, 9]
    assert whole["steps"] == again["steps"] == 9
    assert lines(bench, "torn") == lines(bench, "whole")
    lora = adaptation == "lora"
    assert same(bench.weights("whole", lora), bench.weights("torn", lora)) == 0


def test_each_epoch_visits_whole_batches_of_prompts_in_an_order_of_its_own(bench, train):
    facts = train("a", n=7, epochs=2)
    steps = {}
    for row in lines(bench, "a"):
        steps.setdefault(row["step"], []).append(row["id"])
    assert [len(set(ids)) for ids in steps.values()] == [2] * 6
    first, second = ([i for s in span for i in steps[s]] for span in (range(3), range(3, 6)))
    assert len(set(first)) == len(set(second)) == 6
    assert first != second
    assert facts["receipt"] == {"prompts": 7, "rows": len({*first, *second}), "visits": 12, "drawn_together": 64,
                                "gold_refused": []}  # fmt: skip


def test_seeds_decide_the_order_and_steps_only_how_far_it_goes():
    ids = [str(i) for i in range(10)]
    assert visits(ids, 3, 6, 0)[:9] == visits(ids, 3, 3, 0)
    assert visits(ids, 3, 3, 0) != visits(ids, 3, 3, 1)


def test_prompts_are_the_ids_that_evaluation_renders(bench):
    samples, model = bench.samples[:3], load_model(resolve("tiny"), "cpu", "fp32")
    requests = make_requests(samples, find_task("arithmetic"), bench.renderer, GROUP)
    _, output = made(bench, model, [request.id for request in requests])
    assert output["prompt_ids"] == [request.ids for request in requests]
    assert len({tuple(ids) for ids in output["prompt_ids"]}) == 3


@pytest.mark.parametrize("template", ["chat", "raw"])
def test_rollouts_are_what_evaluation_draws_for_the_same_seed(bench, template):
    renderer = Renderer(bench.renderer.tokenizer, Format(template=template))
    samples, model = bench.samples[:3], load_model(resolve("tiny"), "cpu", "fp32")
    prompts = [sample.id for sample in samples for _ in range(GROUP)]
    _, output = made(bench, model, prompts, step=5, seed=2, renderer=renderer)
    decoding = Decoding(16, temperature=1.0, samples=GROUP, seed=2 * 1_000_003 + 5)
    assert texts(output) == draws(model, renderer, samples, decoding)
    assert len(set(texts(output))) > 3


def test_rewards_are_the_scorers_verdicts_on_the_texts_that_evaluation_reads(bench, train):
    train("one", n=2, max_steps=1)
    rows = {row["id"]: row["rewards"] for row in lines(bench, "one")}
    samples = {sample.id: sample for sample in bench.samples[:2]}
    model, task = load_model(resolve("tiny"), "cpu", "fp32"), find_task("arithmetic")
    asked = [sample for sample in (samples[i] for i in rows) for _ in range(GROUP)]
    texts = draws(model, bench.renderer, [samples[i] for i in rows], Decoding(16, temperature=1.0))
    scored = [task.score(sample, text).values["numeric"] for sample, text in zip(asked, texts, strict=True)]
    assert [reward for rewards in rows.values() for reward in rewards] == scored
    assert 0 < sum(scored) < len(scored)


def test_later_rollouts_come_from_the_trained_adapter_and_not_from_the_base(bench, train):
    settings = {"n": 4, "adaptation": "lora", "lr": 2e-2, "epochs": 2, "batch_size": 4, "schedule": "constant"}
    facts = train("lora", checkpoints=2, **settings)
    assert facts["adapter_effect"] > 0.01
    adapter = bench.root / "lora" / "checkpoints" / "step-000001"
    last = [row for row in lines(bench, "lora") if row["step"] == 1]
    samples = {sample.id: sample for sample in bench.samples}
    decoding, task = Decoding(16, temperature=1.0, samples=GROUP, seed=1), find_task("arithmetic")
    counts = {}
    for name, folder in (("base", None), ("adapter", adapter)):
        model = load_model(resolve("tiny"), "cpu", "fp32", folder)
        asked = [samples[row["id"]] for row in last]
        requests = make_requests(asked, task, bench.renderer, GROUP)
        outputs = LocalGenerator(model, bench.renderer, decoding).run(requests)
        found = [task.score(samples[o.id], o.output).values["numeric"] for o in outputs]
        clipped = sum(o.finish == "length" for o in outputs)
        counts[name] = (found, clipped, [o.output for o in outputs])
    assert counts["base"][2] != counts["adapter"][2]
    found = [reward for row in last for reward in row["rewards"]]
    assert (found, sum(row["clipped"] for row in last)) == counts["adapter"][:2]
    assert counts["base"][:2] != counts["adapter"][:2]


def test_an_adapter_that_moved_and_is_not_heard_is_an_error(bench):
    from peft import LoraConfig, get_peft_model

    wrapped = get_peft_model(load_model(resolve("tiny"), "cpu", "fp32"), LoraConfig(target_modules=["q_proj"], r=2))
    ids = questions(bench.samples[:1], find_task("arithmetic"), bench.renderer)[bench.samples[0].id].ids
    assert adapter_effect(wrapped, ids) == 0
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(weight)
    assert adapter_effect(wrapped, ids) > 0
    for module in wrapped.modules():
        if isinstance(getattr(module, "scaling", None), dict):
            module.scaling = dict.fromkeys(module.scaling, 0.0)
    with pytest.raises(StepError, match="does not change the output"):
        adapter_effect(wrapped, ids)


@pytest.mark.parametrize(("task", "got"), [(RefusesGold(), "got 0.0 for its own"), (AcceptsAll(), "1.0 for 'zxqv")])
def test_a_reward_that_refuses_gold_or_accepts_garbage_stops_before_training(bench, train, task, got):
    with pytest.raises(DataError, match=got):
        train("bad", task=task)
    assert not (bench.root / "bad" / "rollouts.jsonl").exists()


def test_a_reward_is_a_fraction_whatever_the_scale_of_the_metric():
    task = Percent()
    sample = task.load("train", None)[0]
    check_reward(task, [sample])
    assert task_reward(task, task.score(sample, sample.targets[0])) == 1


@pytest.mark.parametrize("name", [name for name in sorted(installed()) if find_task(name).train_split])
def test_gold_answers_of_every_task_earn_one_and_garbage_nothing(name, request):
    task = find_task(name)
    if runs_code(task):
        request.getfixturevalue("sandboxed")
    source = None if task.dataset is None else BuiltinSource(name)
    assert check_reward(task, load_samples(task, task.train_split, source)[:50]) == []


class RefusesSome(Copying):
    """Twenty words, of which some are refused."""

    some = ("5",)

    def load(self, split, source):
        return [Sample(f"{split}-{i}", {"word": f"{i}"}, (f"#### {i}",), {}) for i in range(20)]

    def score(self, sample, output):
        return super().score(sample, "refused" if sample.fields["word"] in self.some else output)


def test_a_task_may_have_one_gold_answer_in_ten_that_its_scorer_refuses_and_it_is_named():
    task = RefusesSome()
    assert check_reward(task, task.load("train", None)) == ["train-5"]
    task.some = ("1", "2", "3")
    with pytest.raises(DataError, match=r"copying on train-1: got 0\.0 .* \(3 of 20 targets earn less than 1"):
        check_reward(task, task.load("train", None))


@pytest.mark.parametrize("name", ["squad_v2", "hotpotqa", "cnn_dailymail", "code_text_to_code", "code_to_text"])
def test_a_graded_headline_rewards_half_an_answer_with_a_part(name):
    task = find_task(name)
    sample = next(
        s for s in load_samples(task, task.train_split, BuiltinSource(name)) if len(task.target(s).split()) > 1
    )
    words = task.target(sample).split()
    reward = task_reward(task, task.score(sample, " ".join(words[: len(words) // 2])))
    assert reward is not None
    assert 0 < reward < 1


def test_a_reward_that_never_differs_stops_the_run_with_the_reason(bench, train):
    with pytest.raises(StepError, match=f"in {rollouts.PATIENCE} steps no group of {GROUP} completions differed"):
        train("still", task=OnlyGold(), epochs=10)
    assert len(lines(bench, "still")) == 2 * rollouts.PATIENCE


def test_patience_counts_what_was_earned_before_a_kill(bench):
    task = find_task("arithmetic")
    asked = questions(bench.samples[:1], task, bench.renderer)
    path = bench.root / "again" / "rollouts.jsonl"
    state = SimpleNamespace(global_step=rollouts.PATIENCE)
    for earlier, raises in (([0.0, 1.0], False), ([0.0, 0.0], True)):
        found = Rollouts(job(bench, "again"), asked, task, bench.renderer)
        row = {"id": "x", "rewards": earlier, "components": {"task": earlier}}
        path.write_text("".join(json.dumps({"step": s, **row}) + "\n" for s in range(30)))
        found.on_train_begin(None, state, None)
        assert len(lines(bench, "again")) == rollouts.PATIENCE
        same_rewards = ([bench.samples[0].id] * 2, [Completion("?", 1, clipped=False)] * 2, state)
        if raises:
            with pytest.raises(StepError, match="nothing can be learnt"):
                found.reward(*same_rewards)
        else:
            assert found.reward(*same_rewards) == [0, 0]


def test_unscored_completions_have_no_reward_and_do_not_move_the_model(bench, train, same):
    train("none", task=Unscorable(), max_steps=2)
    assert all(row["rewards"] == [None] * GROUP and row["no_answer"] == GROUP for row in lines(bench, "none"))
    assert same(bench.weights("none"), dict(load_model(resolve("tiny"), "cpu", "fp32").named_parameters())) == 0
    assert not differ([None, 1.0, 1.0])
    assert differ([None, 1.0, 0.0])


def test_completions_that_the_budget_cuts_are_counted(bench, train):
    train("cut", n=2, max_steps=1, grpo=Grpo(num_generations=GROUP, max_new_tokens=2))
    assert [row["clipped"] for row in lines(bench, "cut")] == [GROUP, GROUP]
    train("free", n=2, max_steps=1, grpo=Grpo(num_generations=GROUP, max_new_tokens=64))
    assert [row["clipped"] for row in lines(bench, "free")] == [0, 0]


def test_stop_strings_end_rollouts_as_they_end_evaluation(bench, train):
    fmt = Format(template="raw", stop=("=",))
    renderer = Renderer(bench.renderer.tokenizer, fmt)
    model = load_model(resolve("tiny"), "cpu", "fp32")
    prompts = [sample.id for sample in bench.samples[:4] for _ in range(GROUP)]
    _, output = made(bench, model, prompts, renderer=renderer)
    ended = [renderer.parse(ids) for ids in output["completion_ids"]]
    assert any("=" in text for text in ended)
    assert not any("=" in answer for answer in texts(output))
    assert not any(made.clipped for made, text in zip(output["made"], ended, strict=True) if "=" in text)
    assert train("raw", n=2, max_steps=1, renderer=renderer)["steps"] == 1


@pytest.mark.parametrize(("loss_type", "equal"), [("grpo", True), ("dr_grpo", True), ("dapo", True), ("bnpo", False)])
def test_small_forward_passes_give_the_gradient_of_large_ones_but_for_bnpo(bench, train, loss_type, equal):
    grpo = Grpo(num_generations=GROUP, max_new_tokens=16, loss_type=loss_type)
    norms = []
    for micro in (8, 2):
        train(f"micro{micro}", n=2, micro=micro, max_steps=1, grpo=grpo)
        norms.append(lines(bench, f"micro{micro}", "metrics.jsonl")[0]["grad_norm"])
    assert lines(bench, "micro8") == lines(bench, "micro2")
    assert norms[0] > 0
    assert (norms[0] == pytest.approx(norms[1], rel=1e-3)) is equal


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_the_reference_of_the_divergence_is_the_base(bench, train, adaptation):
    grpo = Grpo(num_generations=GROUP, max_new_tokens=16, beta=0.05)
    train("kl", n=8, adaptation=adaptation, grpo=grpo, lr=3e-3)
    divergence = [row["kl"] for row in lines(bench, "kl", "metrics.jsonl")]
    assert divergence[0] == pytest.approx(0, abs=1e-6)
    assert divergence[-1] > 1e-5


def test_the_budget_of_a_completion_is_the_tasks_unless_the_recipe_says_otherwise(bench, train):
    grpo = Grpo(num_generations=GROUP, loss_type="dr_grpo")
    facts = train("dr", n=2, max_steps=1, grpo=grpo)
    assert facts["resolved"]["max_completion_length"] == find_task("arithmetic").max_new_tokens


def test_the_reference_is_loaded_at_the_revision_of_the_policy(bench):
    model = load_model(resolve("tiny"), "cpu", "fp32")
    model.config.name_or_path, model.config._commit_hash = "somebody/model", "ab" * 20
    asked = job(bench, "pinned", grpo=SMALL.model_copy(update={"beta": 0.1}))
    assert grpo_config(asked, 1, 16, model).model_init_kwargs == {"revision": "ab" * 20}


def test_fewer_prompts_than_a_batch_are_refused_with_what_to_do(bench, train):
    with pytest.raises(DataError, match="got 3 prompts, expected at least batch_size = 4; lower it"):
        train("few", n=3, batch_size=4)


@pytest.mark.parametrize(
    ("settings", "prompts", "expected"),
    [({}, 7, 3), ({"epochs": 3}, 7, 9), ({"epochs": 0.5}, 8, 2), ({"epochs": 1.1}, 20, 11), ({"max_steps": 2}, 8, 2),
     ({"max_steps": 9}, 8, 4), ({"epochs": 0.1}, 8, 1), ({"epochs": 0.29}, 200, 29)],
)  # fmt: skip
def test_the_number_of_steps_is_known_beforehand(settings, prompts, expected):
    assert total_steps(recipe(**settings), prompts) == expected


def test_a_completion_of_padding_alone_does_not_stop_a_step(bench):
    model, pad = load_model(resolve("tiny"), "cpu", "fp32"), bench.renderer.tokenizer.pad_token_id

    def only_padding(module, args, kwargs, output):
        output.logits[..., pad] = 1e9
        return output

    model.register_forward_hook(only_padding, with_kwargs=True)
    _, output = made(bench, model, [bench.samples[0].id] * GROUP)
    assert [set(ids) for ids in output["completion_ids"]] == [{pad}] * GROUP


def test_every_component_is_kept_and_the_reward_is_their_weighted_sum(bench, train):
    rewards = Rewards(task=2, format=0.2, length=0.5, length_buffer=12)
    train("one", n=8, batch_size=8, grpo=SMALL.model_copy(update={"rewards": rewards}))
    samples, task = {s.id: s for s in bench.samples}, find_task("arithmetic")
    model, rows = load_model(resolve("tiny"), "cpu", "fp32"), lines(bench, "one")
    asked = make_requests([samples[row["id"]] for row in rows], task, bench.renderer, GROUP)
    outputs = LocalGenerator(model, bench.renderer, Decoding(16, temperature=1.0)).run(asked)
    expected = {
        "task": [task.score(samples[o.id], o.output).values["numeric"] for o in outputs],
        "format": [float(o.finish == "stop" and bool(re.search("(####|answer is) [0-9]", o.output))) for o in outputs],
        "length": [0.0 if o.output_tokens <= 4 else -(o.output_tokens - 4) / 12 for o in outputs],
    }
    kept = {name: [value for row in rows for value in row["components"][name]] for name in rows[0]["components"]}
    assert list(kept) == ["task", "format", "length"]
    assert kept == {name: pytest.approx(values) for name, values in expected.items()}
    assert all(len(set(values)) > 1 for values in kept.values())
    sums = [2 * t + 0.2 * f + 0.5 * n for t, f, n in zip(*expected.values(), strict=True)]
    assert [reward for row in rows for reward in row["rewards"]] == pytest.approx(sums)
    logged = lines(bench, "one", "metrics.jsonl")[0]
    assert logged["reward"] == pytest.approx(sum(sums) / len(sums))


def test_extra_rewards_do_not_score_what_the_task_could_not(bench, train, same):
    extra = SMALL.model_copy(update={"rewards": Rewards(length=1.0)})
    train("none", task=Unscorable(), max_steps=1, grpo=extra)
    for row in lines(bench, "none"):
        assert row["rewards"] == row["components"]["task"] == [None] * GROUP
        assert all(-1 <= value <= 0 for value in row["components"]["length"])
    assert same(bench.weights("none"), dict(load_model(resolve("tiny"), "cpu", "fp32").named_parameters())) == 0


def test_lengths_that_differ_do_not_hide_a_task_that_never_teaches(bench, train):
    extra = SMALL.model_copy(update={"rewards": Rewards(length=1.0, length_buffer=16)})
    with pytest.raises(StepError, match=f"in {rollouts.PATIENCE} steps no group .* differed in the task's reward"):
        train("still", task=OnlyGold(), epochs=6, grpo=extra)


@pytest.mark.parametrize("generation", ["auto", "plain"])
def test_without_memory_fewer_completions_are_drawn_together_and_that_is_kept(bench, monkeypatch, generation):
    model, sizes = load_model(resolve("tiny"), "cpu", "fp32"), []
    drawer, name = {"auto": (Table, "run"), "plain": (LocalGenerator, "draw")}[generation]
    original = getattr(drawer, name)

    def little(self, *args):
        sizes.append(len(args[0]) if args else len(self._rows))
        if sizes[-1] > 5:
            raise torch.OutOfMemoryError("no room")
        return original(self, *args)

    prompts = [sample.id for sample in bench.samples[:4] for _ in range(GROUP)]
    _, roomy = made(bench, model, prompts)
    monkeypatch.setattr(drawer, name, little)
    with pytest.warns(UserWarning, match="drawn 4 at a time instead of 64"):
        found, output = made(bench, model, prompts, generation=generation)
    assert texts(output) == texts(roomy)
    assert sizes == [16, 8, 4] + [4] * (3 if generation == "plain" else 0)
    found.reward(prompts, output["made"], SimpleNamespace(global_step=0))
    assert [row["drawn_together"] for row in lines(bench, "made")] == [4] * 4
    again, _ = resumed(bench, model, prompts, sizes, generation)
    assert sizes == [4] * (4 if generation == "plain" else 1)
    assert rollouts.fewest_together(lines(bench, "made"), 64) == 4
    assert again is not found


def resumed(bench, model, prompts, sizes, generation):
    """Completions of step 1 after a kill; ``sizes`` then holds the batches of that step alone."""
    state = SimpleNamespace(global_step=1)
    task = find_task("arithmetic")
    asked = job(bench, "made", generation=generation)
    found = Rollouts(asked, questions(bench.samples, task, bench.renderer), task, bench.renderer)
    found.on_train_begin(None, state, None)
    sizes.clear()
    trainer = SimpleNamespace(model=model, accelerator=SimpleNamespace(unwrap_model=lambda m: m), state=state)
    return found, found.generate(prompts, trainer)


class Engine:
    """Draws what the local generator draws, and goes on after the stop as far as the budget, like nothing we use."""

    def __init__(self, generator, after):
        self.generator = generator
        self.after = after

    def generate(self, prompts, images, num_generations):
        assert images is None
        requests = [Request(str(i), 0, "", ids) for i, ids in enumerate(prompts)]
        rows = [tuple(ids + self.after) for ids in self.generator.draw(requests)]
        return prompts, rows, [[[-float(token), 0.0] for token in row] for row in rows], None


@pytest.mark.parametrize("stop", [(), ("=",)])
def test_an_engines_completions_end_where_local_ones_do(bench, stop):
    renderer = Renderer(bench.renderer.tokenizer, Format(template="raw", stop=stop))
    model, task = load_model(resolve("tiny"), "cpu", "fp32"), find_task("arithmetic")
    prompts = [renderer.prompt(task.messages(sample)) for sample in bench.samples[:8]]
    requests = [Request(str(i), 0, prompt.text, prompt.ids) for i, prompt in enumerate(prompts)]
    generator = LocalGenerator(model, renderer, Decoding(16, temperature=1.0))
    expected = generator.draw(requests)
    ended = [ids for ids in expected if generator.output(requests[0], ids).finish != "length"]
    after = renderer.tokenizer.encode(" = 5 #### 5", add_special_tokens=False)
    drawn = draw_by_engine(Engine(generator, after), requests, generator)
    assert [ids for ids, local in zip(drawn.ids, expected, strict=True) if local in ended] == ended
    assert len(ended) > 2
    assert drawn.logprobs == [[-float(token) for token in ids] for ids in drawn.ids]


def test_the_engine_is_asked_for_our_stop_ids_and_no_seed(bench):
    model = load_model(resolve("tiny"), "cpu", "fp32")
    stops = stop_ids(model, bench.renderer)
    config = grpo_config(job(bench, "vllm"), 1, 16, model, vllm_config(99, stops))
    assert (config.use_vllm, config.vllm_mode, config.vllm_max_model_length) == (True, "colocate", 99)
    assert config.generation_kwargs == {"stop_token_ids": sorted(bench.renderer.stop_ids | stops)}
    assert not grpo_config(job(bench, "local"), 1, 16, model).use_vllm


def test_the_recorded_entropy_is_that_of_the_policy_over_what_it_drew(bench, train):
    train("one", n=4, batch_size=4, micro=16, max_steps=1)
    model = load_model(resolve("tiny"), "cpu", "fp32")
    prompts = [row["id"] for row in lines(bench, "one") for _ in range(GROUP)]
    _, output = made(bench, model, prompts)
    found = []
    for prompt, drawn in zip(output["prompt_ids"], output["completion_ids"], strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + drawn])).logits[0, len(prompt) - 1 : -1]
        found += torch.distributions.Categorical(logits=logits).entropy().tolist()
    logged = lines(bench, "one", "metrics.jsonl")[0]
    assert logged["entropy"] == pytest.approx(sum(found) / len(found), rel=1e-4)
    assert "kl" not in logged
