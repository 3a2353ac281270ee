"""What a plan's steps would need of memory: by their recipe, by the longest of their rows, and before they run."""

from dataclasses import replace

import pytest
from judged_task import JUDGED, write_task
from memory_studies import GIB, GRPO, LORA, OFF, SEVEN_BILLION, SFT, folder_of, needed, planned, trained
from study_files import ECHO_TASK, compiled

from tunelab.engine.plan import Status
from tunelab.engine.runner import Runner
from tunelab.engine.store import Store
from tunelab.generation.footprint import SAMPLED, widened
from tunelab.models.architecture import architecture
from tunelab.models.load import load_renderer
from tunelab.models.spec import resolve
from tunelab.study.api import SilentReporter
from tunelab.study.fitting import lines, needs
from tunelab.study.footprints import PROMPT, Footprint
from tunelab.study.longest import AROUND
from tunelab.study.open import Opened
from tunelab.study.steps.rows import read_samples
from tunelab.tasks.find import find_task


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
    assert found["train/one"].found.assumed == "rows of 1024 tokens (max_length)"
    assert found["generate/base-chat"].found.work.lengths.prompt == PROMPT
    [said] = lines(needs(opened := echoed(tmp_path), opened.plan(), GIB * 1000), "cpu")
    assert said.endswith(
        "; prompts of 1024 tokens and rows of 1024 tokens (max_length) are assumed until rows are prepared"
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
    assert trained(tmp_path, SFT, model=model).found.assumed == "rows of 1024 tokens (max_length)"


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


MIXED = {"format": "chat", "method": "grpo", "task": ["arithmetic", "gsm8k"], "grpo": {"num_generations": 4}}
REWARDED = {"rewards": {"judges": {"grader": {"weight": 0.5}}}}


def test_of_several_tasks_the_longest_answers_decide(tmp_path):
    found = trained(tmp_path, MIXED, model="tiny", data={"source": "builtin"}).found
    assert found.work.lengths.answer == 512  # GSM8K's; arithmetic's are 48


def test_a_judge_that_rewards_a_training_is_loaded_beside_it(tmp_path):
    judges = {"grader": {"kind": "causal", "model": "tiny", "guideline": "correctness"}}
    grpo = {"grpo": MIXED["grpo"] | REWARDED}
    alone = trained(tmp_path, MIXED, model="tiny", data={"source": "builtin"}).found
    beside = trained(tmp_path, MIXED | grpo, model="tiny", data={"source": "builtin"}, judges=judges).found
    assert beside.total - alone.total == beside.parts["judges"] == alone.parts["weights"]
    by_rule = trained(
        tmp_path, MIXED | grpo, model="tiny", data={"source": "builtin"}, judges={"grader": {"kind": "contains"}}
    )
    assert "judges" not in by_rule.found.parts


@pytest.mark.parametrize("more", [{"gradient_checkpointing": True}, {"packing": "off"}])
def test_completions_share_their_prompt_unless_they_are_padded(tmp_path, more):
    model, one_pass = folder_of(tmp_path), {"micro_batch_size": 64, "gradient_checkpointing": False}
    shared, padded = (trained(tmp_path, GRPO, model=model, hardware=one_pass | change)
                      .found.work for change in ({}, more))  # fmt: skip
    (passed, copied) = (work._forward({}) for work in (shared, padded))
    budget = shared.lengths.answer
    assert passed._all == 8 * PROMPT + 64 * budget
    assert copied._all == 64 * (PROMPT + budget)


@pytest.mark.parametrize(
    ("adaptation", "precision", "size"), [("lora", "fp32", 1), ("lora", "bf16", 4), ("qlora", "fp32", 8)]
)
def test_dropout_keeps_a_byte_where_adapters_add_in_place_and_two_numbers_elsewhere(
    tmp_path, adaptation, precision, size
):
    model, entry = folder_of(tmp_path), SFT | {"adaptation": adaptation, "precision": precision}
    work, plain = (trained(tmp_path, entry | {"lora": {"dropout": rate}}, model=model, hardware=OFF).found.work
                   for rate in (0.1, 0))  # fmt: skip
    matrices = work._adapted()
    dropped, kept = (one._forward(matrices) for one in (work, plain))
    assert dropped.kept() - kept.kept() == kept._all * sum(width for _, width in matrices.values()) * size


@pytest.mark.parametrize(
    ("rows", "loss", "prompts"),
    [(64, "dapo", 8), (16, "dapo", 2), (8, "dapo", 1), (4, "dapo", 1), (32, "bnpo", 8), (2, "bnpo", 2)],
)
def test_prompts_of_a_pass_are_those_whose_completions_meet_in_it(tmp_path, rows, loss, prompts):
    entry = GRPO | {"grpo": GRPO["grpo"] | {"loss_type": loss}}
    hardware = {"micro_batch_size": rows, "gradient_checkpointing": False}
    assert trained(tmp_path, entry, hardware=hardware).found.work._forward({}).beginnings == prompts


def test_a_pass_that_begins_within_a_group_has_one_prompt_more(tmp_path):
    entry = GRPO | {"batch_size": 6, "grpo": GRPO["grpo"] | {"num_generations": 4}}
    hardware = {"micro_batch_size": 3, "gradient_checkpointing": False}
    assert trained(tmp_path, entry, hardware=hardware).found.work._forward({}).beginnings == 2


def test_logits_are_of_learnt_tokens_where_rows_are_packed(tmp_path):
    model = folder_of(tmp_path)
    opened = [planned(tmp_path, SFT | {"loss": loss}, model=model, task="arithmetic") for loss in ("all", "completion")]
    whole, learnt = (needed(one)["train/one"].found.work for one in opened)
    lengths = replace(whole.lengths, answer=whole.lengths.row // 4)
    whole, learnt = replace(whole, lengths=lengths), replace(learnt, lengths=lengths)
    assert learnt._learnt * 4 == whole._learnt
    assert learnt._head() < whole._head()


def test_what_prompts_share_is_kept_once_by_the_engine(tmp_path):
    opened = planned(tmp_path, SFT)
    work = needed(opened)["generate/base-chat"].found.work
    assert work.engine
    few = replace(work, lengths=replace(work.lengths, shared=1000))
    before, after = (made.phases()[-1]["cache"] for made in (work, few))
    each = 2 * work.model.kv_heads * work.model.head_dim * work.model.layers * 4
    room = {made: -(-(PROMPT - made + work.lengths.answer) // 64) * 64 for made in (0, 1000)}
    grown = 1 + 1 / work.model.layers
    own = each * (PROMPT - 1000 + work.lengths.answer) + work.model.vocabulary * SAMPLED
    rows = widened(work.batch_size, 1000 * each, own)
    assert work.batch_size < rows <= 8 * work.batch_size
    assert before == pytest.approx(each * room[0] * grown * work.batch_size, rel=1e-6)
    assert after == pytest.approx(each * (1000 + room[1000] * grown * rows), rel=1e-6)
    assert after < 1.1 * before, "more rows, in the room of whole texts"
    assert replace(work, engine=False).phases()[-1]["cache"] < before, "plain generation does not round its room up"


def test_the_engine_reads_a_bounded_number_of_prompt_tokens_at_a_time(tmp_path):
    work = needed(planned(tmp_path, SFT))["generate/base-chat"].found.work
    large, plain = (replace(work, batch_size=512, engine=engine).phases()[0]["activations"] for engine in (True, False))
    assert plain == large * 512 * PROMPT // 4096
