"""What a plan says where memory is not enough: in a line, with the one setting that makes it enough."""

from dataclasses import replace

import pytest
from memory_studies import GIB, LONG, LORA, SEVEN_BILLION, SFT, SMALL, folder_of, planned, trained
from study_files import put

from tunelab.study.fitting import lines, needs
from tunelab.study.footprints import footprint
from tunelab.study.longest import Longest
from tunelab.study.remedies import remedy


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
    assert line.startswith("generate/base-chat, train/one, generate/one-chat: memory is not known, ")
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


def test_fewer_completions_together_are_proposed_where_the_study_can_say_so(tmp_path):
    need = trained(tmp_path, LONG, 60 * GIB, hardware=SMALL)
    settable = {**need.step.circumstance["hardware"], "rollout_batch_size": 64}
    found = remedy(need.found.work, 60 * GIB, "train.one", settable)
    assert found.key == "hardware.rollout_batch_size"
    again = replace(need.found.work, drawn_together=found.value)
    assert replace(need.found, work=again).total == found.total <= 60 * GIB
