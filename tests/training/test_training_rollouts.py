"""Completions of GRPO from the engine: those of transformers' generate, a prompt read once for its group."""

import copy
import warnings
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tunelab.generation.decoding import Request
from tunelab.generation.engine.model import LEAST_SHARED, PackedModel
from tunelab.generation.sampling import uniform
from tunelab.models.load import load_model
from tunelab.models.spec import resolve
from tunelab.tasks.find import find_task
from tunelab.training.grpo import train_grpo
from tunelab.training.job import Hardware, Job
from tunelab.training.recipe import Grpo, Lora, Recipe
from tunelab.training.rollouts import Rollouts, questions

GROUP = 4


@pytest.fixture
def tiny():
    return load_model(resolve("tiny"), "cpu", "fp32")


def drawing(bench, generation="auto", *, adaptation="full", precision="fp32", checkpointing=False, **grpo):
    """A job in a folder of its own, and the rollouts of it."""
    folder = bench.root / f"{generation} {len(list(bench.root.iterdir()))}"
    (folder / "scratch").mkdir(parents=True)
    settings = {"method": "grpo", "adaptation": adaptation, "lr": 1e-3, "epochs": 1, "batch_size": 2}
    settings |= {"lora": Lora(rank=4, alpha=8, dropout=0.5), "grpo": Grpo(num_generations=GROUP, **grpo)}
    hardware = Hardware("cpu", 8, checkpointing, (), generation=generation)
    job = Job(Recipe(**settings), precision, 0, hardware, folder, folder / "scratch", lambda *_: None)
    task = find_task("arithmetic")
    return job, Rollouts(job, questions(bench.samples, task, bench.renderer), task, bench.renderer)


def step(found, model, prompts, number=0):
    """What the rollouts give for the prompts of a step."""
    state = SimpleNamespace(global_step=number)
    accelerator = SimpleNamespace(unwrap_model=lambda model: model)
    return found.generate(prompts, SimpleNamespace(model=model, accelerator=accelerator, state=state))


def asked(bench, n=6):
    return [sample.id for sample in bench.samples[:n] for _ in range(GROUP)]


def adapted(model):
    """A model with an adapter that changes its output, and drops out half of what it reads in training."""
    wrapped = get_peft_model(model, LoraConfig(target_modules=["q_proj", "v_proj"], r=2, lora_dropout=0.5))
    draws = torch.Generator().manual_seed(0)
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=draws) * 0.3
    return wrapped


def gaps(model, prompts, packed, plain):
    """How far a row's random number is from the border between two tokens, where the rows of the two ways part."""
    found = []
    for place, (one, other) in enumerate(zip(packed["completion_ids"], plain["completion_ids"], strict=True)):
        if one == other:
            continue
        at = next(i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])
        with torch.no_grad():
            logits = model.eval()(torch.tensor([packed["prompt_ids"][place] + one[:at]])).logits[0, -1]
        borders = torch.softmax(logits.double(), -1).cumsum(-1)
        number = uniform(0, Request(prompts[place], place % GROUP, "", []), at)
        found.append(float((borders[min(one[at], other[at]) : max(one[at], other[at])] - number).abs().max()))
    return found


@pytest.mark.parametrize("top_p", [1.0, 0.8])
@pytest.mark.parametrize("made", [lambda model: model, adapted], ids=["full", "lora"])
def test_the_engine_draws_what_generate_draws_by_the_same_numbers(bench, tiny, made, top_p):
    torch.manual_seed(0)
    base, model = step(drawing(bench, top_p=top_p)[1], tiny, asked(bench)), made(tiny).train()
    packed, plain = (step(drawing(bench, how, top_p=top_p)[1], model, asked(bench)) for how in ("auto", "plain"))
    assert model.training
    apart = gaps(model, asked(bench), packed, plain)
    assert max(apart, default=0) < 1e-5
    assert len(apart) <= 1
    assert len({tuple(ids) for ids in packed["completion_ids"]}) > GROUP
    assert (packed["completion_ids"] != base["completion_ids"]) is (made is adapted)


def test_a_prompt_is_read_once_for_its_group_and_anew_when_weights_have_changed(bench, tiny, monkeypatch):
    read, logits = [], PackedModel.logits

    def counting(self, reading, wanted):
        read.append(sum(len(new.ids) for new in reading.new))
        return logits(self, reading, wanted)

    _, found = drawing(bench)
    other = drawing(bench, "plain")[1]
    monkeypatch.setattr(PackedModel, "logits", counting)
    step(found, tiny, asked(bench, 1), 0)
    read.clear()
    with torch.no_grad():
        tiny.lm_head.weight.neg_()
        tiny.model.layers[0].self_attn.v_proj.weight.neg_()
    prompts = asked(bench, 1)
    output = step(found, tiny, prompts, 1)
    length = len(output["prompt_ids"][0])
    assert sum(read) <= length
    assert length > LEAST_SHARED
    assert output == step(other, tiny, prompts, 1)


def test_generate_draws_for_a_model_that_the_engine_refuses_and_says_so_once(bench, tiny):
    other = copy.deepcopy(tiny)
    other.generation_config.no_repeat_ngram_size = 1
    _, found = drawing(bench)
    with pytest.warns(UserWarning, match="which is slower: its generation settings say no_repeat_ngram_size = 1"):
        given_way = step(found, other, asked(bench))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(found, other, asked(bench), 1)
        chosen = drawing(bench, "plain")[1]
        assert given_way == step(chosen, other, asked(bench)) != step(drawing(bench)[1], tiny, asked(bench))
    assert found.drawn_by == {"engine": "plain", "why": "its generation settings say no_repeat_ngram_size = 1"}
    assert chosen.drawn_by == {"engine": "plain", "why": "hardware.generation is plain, as auto is on mps"}


@pytest.mark.parametrize(
    "settings",
    [{}, {"checkpointing": True}, {"precision": "bf16"}, {"precision": "bf16", "adaptation": "lora"},
     {"generation": "plain"}],
)  # fmt: skip
def test_a_training_says_what_drew_its_completions(bench, settings):
    job, _ = drawing(bench, max_new_tokens=8, **settings)
    weights = "bf16" if settings.get("precision") == "bf16" and settings.get("adaptation") else "fp32"
    model, task, renderer = load_model(resolve("tiny"), "cpu", weights), find_task("arithmetic"), bench.renderer
    facts = train_grpo(job, bench.samples[:4], task, renderer, model, renderer.tokenizer)
    plain = {"engine": "plain", "why": "hardware.generation is plain, as auto is on mps"}
    assert facts["generation"] == (plain if "generation" in settings else {"engine": "packed"})
