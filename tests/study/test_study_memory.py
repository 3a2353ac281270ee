"""What a plan says of memory: before a run, of steps still to run, with the setting that makes them fit."""

import json
from dataclasses import replace

import pytest
from judged_task import JUDGED, write_task
from study_files import ECHO_TASK, changed, compiled, put

from tunelab.engine.plan import Status
from tunelab.engine.runner import Runner
from tunelab.engine.store import Store
from tunelab.models.architecture import architecture
from tunelab.models.available import left_of
from tunelab.models.load import load_renderer
from tunelab.models.spec import resolve
from tunelab.study.api import SilentReporter
from tunelab.study.fitting import lines, needs
from tunelab.study.footprints import PROMPT, Footprint, footprint
from tunelab.study.longest import AROUND, Longest
from tunelab.study.open import Opened
from tunelab.study.remedies import remedy
from tunelab.study.steps.rows import read_samples
from tunelab.tasks.find import find_task
from tunelab.training.rollouts import GENERATED_TOGETHER
from tunelab.training.sizes import DRAWN_TOGETHER

GIB = 1 << 30
SEVEN_BILLION = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
}  # fmt: skip
SFT = {"format": "chat", "loss": "all"}
GRPO = {"format": "chat", "method": "grpo", "batch_size": 8, "grpo": {"num_generations": 8}}


def folder_of(folder, config=SEVEN_BILLION):
    """A model's folder as a plan needs it: a configuration, and no weights. Nothing counts tokens there."""
    made = folder / "model"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(config))
    return str(made)


def planned(folder, entry, model=None, hardware=None, **fields):
    """A study of one trained variant and its base, over an empty store."""
    fields |= {"model": model or folder_of(folder), "hardware": {"device": "cpu", **(hardware or {})}}
    raw = changed(**{"train": {"one": entry}, "evaluate": {"chat": {"format": "chat"}}, **fields})
    return Opened(compiled(folder, raw), Store(folder / "store"))


def needed(opened, room=None):
    """Needs by kind and readable name."""
    return {f"{n.step.kind}/{n.step.slug}": n for n in needs(opened, opened.plan(), room).values()}


def trained(folder, entry, room=None, **fields):
    return needed(planned(folder, entry, **fields), room)["train/one"]


def test_every_step_that_loads_a_model_has_an_estimate_and_no_other_step(tmp_path):
    opened = planned(tmp_path, SFT)
    found = needs(opened, opened.plan(), None)
    assert {n.step.kind for n in found.values()} == {"train", "generate"}
    loading = [p.step for p in opened.plan().steps if p.step.kind in ("train", "generate")]
    assert len(loading) == len(found) == 3
    assert all(isinstance(need.found, Footprint) and need.fits is None for need in found.values())


def test_weights_gradients_and_moments_take_sixteen_bytes_a_parameter(tmp_path):
    parts = trained(tmp_path, SFT | {"max_length": 16, "batch_size": 64}).found.parts
    parameters = architecture(SEVEN_BILLION).parameters
    assert parts["weights"] == parts["gradients"] == 4 * parameters
    assert parts["optimizer"] == 8 * parameters


def test_adapters_leave_the_optimizer_little_to_keep(tmp_path):
    entry, model = SFT | {"adaptation": "lora"}, folder_of(tmp_path)
    half, four = (trained(tmp_path, entry | {"precision": "bf16", "adaptation": a}, model=model).found.parts
                  for a in ("lora", "qlora"))  # fmt: skip
    assert half["weights"] == 2 * architecture(SEVEN_BILLION).parameters
    assert four["weights"] < 2 * half["weights"] / 3  # the embeddings stay fp32
    assert half["optimizer"] == four["optimizer"] == 2 * half["adapter"]
    assert half["optimizer"] < GIB


@pytest.mark.parametrize(("more", "compared"), [
    (GRPO, False),
    (GRPO | {"grpo": {"num_generations": 8, "beta": 0.1}}, True),
    (SFT | {"method": "dpo", "dpo": {"pairs": "target"}}, True),
    (SFT | {"method": "dpo", "dpo": {"pairs": "target"}, "adaptation": "lora"}, False),
])  # fmt: skip
def test_untouched_weights_are_held_beside_where_the_loss_compares_with_them(tmp_path, more, compared):
    work = trained(tmp_path, more).found.work
    assert all(parts["reference"] > 0 for parts in work.phases()) is compared


def test_half_the_rows_of_a_pass_take_half_the_activations(tmp_path):
    model = folder_of(tmp_path)
    two, one = (trained(tmp_path, SFT, model=model, hardware={"micro_batch_size": n}).found.parts for n in (2, 1))
    assert two["activations"] == 2 * one["activations"]
    assert two["weights"] == one["weights"]


LORA = SFT | {"adaptation": "lora"}
LONG = GRPO | {"adaptation": "lora", "grpo": {"num_generations": 8, "max_new_tokens": 8192}}
SMALL = {"gradient_checkpointing": True, "micro_batch_size": 1}


@pytest.mark.parametrize(("entry", "hardware", "room", "key"), [
    (LORA, {}, 100, "hardware.micro_batch_size"),
    (SFT, {}, 180, "hardware.micro_batch_size"),
    (SFT, {}, 130, "hardware.gradient_checkpointing"),
    (LORA | {"max_length": 4096}, SMALL, 38, "train.one.max_length"),
    (SFT, {"gradient_checkpointing": True}, 60, "train.one.adaptation"),
    (LORA, SMALL, 20, "train.one.adaptation"),
    (LONG, SMALL, 100, "train.one.grpo.max_new_tokens"),
])  # fmt: skip
def test_the_setting_that_is_named_makes_the_step_fit_by_the_same_estimate(tmp_path, entry, hardware, room, key):
    model = folder_of(tmp_path)
    need = trained(tmp_path, entry, room * GIB, model=model, hardware=hardware)
    assert need.fits is False
    assert need.remedy.key == key
    section, *path = key.split(".")
    if section == "hardware":
        hardware = hardware | {path[0]: need.remedy.value}
    else:
        entry = put(entry, ".".join(path[1:]), need.remedy.value)
    turned = trained(tmp_path, entry, room * GIB, model=model, hardware=hardware)
    assert turned.fits is True
    assert turned.found.total == need.remedy.total


def test_the_largest_value_that_fits_is_named(tmp_path):
    model, room = folder_of(tmp_path), 100 * GIB
    rows = trained(tmp_path, LORA, room, model=model).remedy.value
    fits = [trained(tmp_path, LORA, room, model=model, hardware={"micro_batch_size": n}).fits for n in (1, 2, 4, 8)]
    assert rows == max(n for n, enough in zip((1, 2, 4, 8), fits, strict=True) if enough)


def test_a_step_that_fits_gets_no_advice(tmp_path):
    need = trained(tmp_path, SFT, 10_000 * GIB)
    assert need.fits is True
    assert need.remedy is None


def test_where_no_single_setting_is_enough_that_is_said(tmp_path):
    opened = planned(tmp_path, SFT)
    found = needs(opened, opened.plan(), GIB)
    assert all(need.remedy is None for need in found.values())
    assert all("no single setting makes it fit" in line for line in lines(found, "cpu")[1:])


def test_a_line_names_step_need_largest_part_and_what_to_turn(tmp_path):
    opened = planned(tmp_path, LORA)
    found = needs(opened, opened.plan(), 60 * GIB)
    need = next(n for n in found.values() if n.step.kind == "train")
    first, line = lines(found, "cpu")
    assert first.startswith("memory is an estimate, and stops nothing; cpu has 60 GiB")
    assert line.startswith(f"train/one would need about {need.found.total / GIB:.0f} GiB of the 60 GiB of cpu")
    largest = next(iter(need.found.parts))
    assert f"{need.found.parts[largest] / GIB:.0f} GiB of it {largest}" in line
    assert line.endswith(f"set {need.remedy.key} to {need.remedy.value}")


def test_steps_that_need_the_same_share_a_line(tmp_path):
    opened = planned(tmp_path, SFT, seeds=[0, 1, 2, 3, 4])
    [line] = [line for line in lines(needs(opened, opened.plan(), 100 * GIB), "cpu") if line.startswith("train/")]
    assert line.startswith("train/one-0, train/one-1, train/one-2 and 2 more would need")


@pytest.mark.parametrize("config", [{"model_type": "gpt2"}, SEVEN_BILLION | {"model_type": "qwen2_moe"}])
def test_a_model_that_is_not_described_has_no_estimate_and_says_why(tmp_path, config):
    opened = planned(tmp_path, SFT, model=folder_of(tmp_path, config))
    found = needs(opened, opened.plan(), GIB)
    assert {need.found for need in found.values()} == {
        f"{tmp_path / 'model'} is of a type that is not described here, {config['model_type']}"
    }
    [line] = lines(found, "cpu")
    assert line.startswith("generate/base-chat, train/one, generate/one-chat is not known to fit")
    assert all("unknown" in need.as_data() for need in found.values())


def test_a_configuration_that_is_not_on_this_machine_is_said_to_be_missing(tmp_path):
    opened = planned(tmp_path, SFT, model="tiny")
    step = opened.compiled.train["one"]
    elsewhere = {"name": "owner/name", "location": "owner/name", "revision": "f" * 40, "identity": {}}
    moved = replace(step, circumstance={**step.circumstance, "model": elsewhere})
    found = footprint(moved, Longest(opened.store))
    assert found == "the configuration of owner/name is not on this machine"


def test_targets_that_are_not_known_are_said_and_not_guessed(tmp_path):
    found = trained(tmp_path, SFT | {"adaptation": "lora", "lora": {"targets": ["query"]}}).found
    assert found == "lora.targets names modules that are not known here, query"


def echoed(folder):
    """A study of a user's task, whose rows no plan makes; two in a hundred of them are long, and their answers too."""
    task = ECHO_TASK.replace(
        'f"{split} {i}"}, (f"{i}",)', 'f"{split} {i} " * (1 + i % 50 // 49 * 30)}, (f"{i} " * 30,)'
    )
    (folder / "task.py").write_text(task)
    return planned(folder, SFT | {"rows": 200}, model="tiny", task="task.py:Echo")


def test_rows_that_are_not_prepared_are_taken_to_be_as_long_as_they_may(tmp_path):
    found = needed(echoed(tmp_path))
    assert found["train/one"].found.work.lengths.row == 1024
    assert found["train/one"].found.assumed == "rows of 1024 tokens, the max_length"
    assert found["generate/base-chat"].found.work.lengths.prompt == PROMPT
    [said] = lines(needs(opened := echoed(tmp_path), opened.plan(), GIB * 1000), "cpu")
    assert said.endswith(
        "until rows are prepared it takes prompts of 1024 tokens and rows of 1024 tokens, the max_length"
    )


def test_prepared_rows_are_counted_by_the_model_s_own_tokenizer(tmp_path):
    opened = echoed(tmp_path)
    step = opened.compiled.train["one"]
    Runner(opened.store, SilentReporter()).run(step.needs)
    found = needed(opened)["train/one"].found
    task = find_task("task.py:Echo", tmp_path)
    renderer = load_renderer(resolve("tiny"), opened.compiled.cells[1].variant.format)
    samples = read_samples(opened.store.find(step.inputs["rows"]))
    real = max(len(renderer.example(task.messages(s), task.target(s)).ids) for s in samples)
    assert found.assumed == ""
    assert real <= found.work.lengths.row <= real + AROUND["chat"]


def test_rows_that_a_bundled_task_makes_itself_are_known_before_they_are_prepared(tmp_path):
    found = trained(tmp_path, SFT, model="tiny").found
    assert found.assumed == ""
    assert found.work.lengths.row < 200


def test_a_tokenizer_that_cannot_be_read_leaves_rows_as_long_as_they_may_be(tmp_path):
    model = folder_of(tmp_path)
    (tmp_path / "model" / "tokenizer.json").write_text("{")
    assert trained(tmp_path, SFT, model=model).found.assumed == "rows of 1024 tokens, the max_length"


def test_a_classifier_computes_no_logits_over_words(tmp_path):
    entry = {"format": "chat", "head": "classifier", "task": "sst2"}
    opened = planned(tmp_path, entry, task="sst2", data={"source": "builtin"})
    found = needed(opened)
    assert [parts.get("logits", 0) for parts in found["train/one"].found.work.phases()] == [0, 0]
    assert (
        found["generate/one-chat"].found.work.model.parameters == architecture(SEVEN_BILLION).parameters - 152064 * 3584
    )


def test_an_encoder_decoder_is_estimated_by_what_it_reads_and_what_it_writes(tmp_path):
    raw = {"formats": {"raw": {"template": "raw"}}, "evaluate": {"raw": {"format": "raw"}}}
    entry = {"format": "raw", "method": "seq2seq", "batch_size": 4}
    work = trained(tmp_path, entry, model="tiny-t5", **raw).found.work
    assert work.lengths.prompt + work.lengths.answer > work.lengths.row
    longer = replace(work, lengths=replace(work.lengths, answer=2 * work.lengths.answer))
    assert longer.phases()[0]["logits"] == 2 * work.phases()[0]["logits"]


def test_untouched_models_in_4_bits_are_estimated_in_4_bits(tmp_path):
    model = folder_of(tmp_path)
    full, four = (needed(planned(tmp_path, LORA, model=model, base_weights=w))["generate/base-chat"].found.parts
                  for w in ("full", "nf4"))  # fmt: skip
    assert four["weights"] < full["weights"] / 3


def test_judges_that_are_models_of_this_process_are_estimated_and_others_are_not(tmp_path):
    write_task(tmp_path)
    opened = Opened(compiled(tmp_path, JUDGED | {"hardware": {"device": "cpu"}}), Store(tmp_path / "store"))
    found = needed(opened)
    assert {name for name in found if name.startswith("judge/")} == {"judge/base-harm-tiny_judge"}
    assert found["judge/base-harm-tiny_judge"].found.assumed == f"exchanges of {PROMPT} tokens"


def test_what_is_done_needs_nothing(tmp_path):
    opened = planned(tmp_path, SFT | {"max_steps": 1}, model="tiny")
    Runner(opened.store, SilentReporter()).run([opened.compiled.train["one"]])
    plan = opened.plan()
    assert {p.step.kind for p in plan.steps if p.status is Status.CACHED} >= {"train"}
    assert {need.step.kind for need in needs(opened, plan, None).values()} == {"generate"}


def test_completions_drawn_together_are_those_of_the_training():
    assert DRAWN_TOGETHER == GENERATED_TOGETHER


def test_fewer_completions_together_are_proposed_where_the_study_can_say_so(tmp_path):
    need = trained(tmp_path, LONG, 60 * GIB, hardware=SMALL)
    settable = {**need.step.circumstance["hardware"], "rollout_batch_size": 64}
    found = remedy(need.found.work, 60 * GIB, "train.one", settable)
    assert found.key == "hardware.rollout_batch_size"
    again = replace(need.found.work, drawn_together=found.value)
    assert replace(need.found, work=again).total == found.total <= 60 * GIB


def test_a_container_s_limit_leaves_what_it_has_not_used(tmp_path):
    (tmp_path / "memory.current").write_text("600\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 40\n")
    for limit, left in (("1000", 440), ("500", 0), ("max", None)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert left_of(tmp_path) == left
    assert left_of(tmp_path / "none") is None
